"""Continuous LQR problems as discrete tasks: the same number as the integral along the held trajectory."""

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import jaxlqr
from jaxlqr import systems
from jaxlqr.lqr import continuous_task

A, B = np.array([[0.0, 1.0], [2.0, -0.3]]), np.array([[0.0], [1.0]])
Q, R, N = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[0.7]]), np.array([[0.2], [-0.1]])
DT = 0.3


def integral_cost(gain, x):
    """The integral of the cost along the trajectory, step by step by quadrature, with SciPy's exponential."""
    held = scipy.linalg.expm(np.block([[A, B], [np.zeros((1, 3))]]) * DT)
    f = np.block([[A, B], [np.zeros((1, 3))]])
    weights = np.block([[Q, N], [N.T, R]])
    total = 0.0
    for _ in range(300):
        u = -gain @ x
        z = np.concatenate([x, u])

        def rate(s, z=z):
            moved = scipy.linalg.expm(f * s) @ z
            return moved @ weights @ moved

        total += scipy.integrate.fixed_quad(np.vectorize(rate), 0, DT, n=8)[0]
        x = held[:2, :2] @ x + held[:2, 2:] @ u
    return total


def test_the_cost_is_the_integral():
    sampled = continuous_task(A, B, Q, R, N, dt=DT)
    optimum = jaxlqr.optimal_gain(sampled.task)
    for K in (optimum, optimum + jnp.array([[0.1, -0.05]])):
        columns = [integral_cost(np.asarray(sampled.gain(K)), x) for x in np.eye(2)]
        np.testing.assert_allclose(jaxlqr.cost(K, sampled.task), sum(columns), rtol=1e-9)  # eight nodes, 300 steps


def test_short_holds_approach_the_continuous_regulator():
    gain, cost, _ = control.lqr(A, B, Q, R, N)
    sampled = continuous_task(systems.ss(A, B), None, Q, R, N, dt=1e-4)
    mine = sampled.gain(jaxlqr.optimal_gain(sampled.task))
    np.testing.assert_allclose(mine, gain, rtol=1e-3)  # of the order of dt times a rate of ten
    np.testing.assert_allclose(jaxlqr.optimal_cost(sampled.task), np.trace(cost), rtol=1e-6)  # of second order in dt


def test_the_differentiable_parts_make_the_same_task():
    sampled = continuous_task(A, B, Q, R, N, dt=DT)
    weights = systems.sample_cost(A, B, Q, R, N, DT)
    a_d, b_d = jaxlqr.zero_order_hold(A, B, DT)
    shift = jnp.linalg.solve(weights.R, weights.N.T)
    np.testing.assert_allclose(sampled.shift, shift, rtol=1e-12)
    np.testing.assert_allclose(sampled.task.A, a_d - b_d @ shift, rtol=1e-12)
    assert "SampledTask(task=" in repr(sampled)
    assert jax.tree.leaves(sampled)[-1].shape == (1, 2)


REFUSED = {
    "discrete": (lambda: continuous_task(systems.ss(A, B, dt=0.1), dt=0.1), "must be in continuous time"),
    "no B": (lambda: continuous_task(A, dt=0.1), "B must be given"),
    "N": (lambda: continuous_task(A, B, N=np.zeros((1, 2)), dt=0.1), r"N must have shape \(2, 1\)"),
    "indefinite": (lambda: continuous_task(A, B, N=5 * N, R=[[0.1]], dt=0.1), r"\[\[Q, N\], \[N', R\]\] must be"),
    "overflow": (lambda: continuous_task(A, B, dt=1e6), "overflows"),
    "dt": (lambda: continuous_task(A, B, dt=0.0), "dt must be a positive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_get_one_sentence(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
