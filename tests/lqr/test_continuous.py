"""The continuous-time cost: against SciPy, its closed form and its optimum, and as the loss of every learner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

import jaxlqr
from jaxlqr.lqr import LQRTask, continuous_cost, spectral_abscissa, stack_tasks
from jaxlqr.matrix_equations import continuous_lqr
from jaxlqr.meta import landscape


def make(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    q, s = (x @ x.T + np.eye(3) for x in rng.normal(size=(2, 3, 3)))
    return LQRTask(*map(jnp.asarray, (a + shift * np.eye(3), b, q, np.eye(2), s)))


TASK = make(0)
OPTIMUM = continuous_lqr(TASK.A, TASK.B, TASK.Q, TASK.R).gain
K = OPTIMUM + 0.1
TASKS = stack_tasks([TASK, make(0, 0.05), make(0, -0.1)])


def test_value_is_that_of_scipy_and_the_optimum_is_stationary():
    a, b, q, r, s = map(np.asarray, (TASK.A, TASK.B, TASK.Q, TASK.R, TASK.Sigma0))
    gain = np.asarray(K)
    p = scipy.linalg.solve_continuous_lyapunov((a - b @ gain).T, -(q + gain.T @ r @ gain))
    assert float(continuous_cost(K, TASK)) == pytest.approx(np.trace(p @ s), rel=1e-12)  # some hundred roundings
    best = np.trace(scipy.linalg.solve_continuous_are(a, b, q, r) @ s)
    assert float(continuous_cost(OPTIMUM, TASK)) == pytest.approx(best, rel=1e-12)
    slope = jax.grad(continuous_cost)(OPTIMUM, TASK)
    assert float(jnp.max(jnp.abs(slope))) < 1e-9 * best  # stationary to rounding
    assert float(spectral_abscissa(K, TASK)) == pytest.approx(np.max(np.linalg.eigvals(a - b @ gain).real))


@pytest.mark.slow
def test_derivatives_in_the_gain_and_the_task():
    check_grads(continuous_cost, (K, TASK), order=2, rtol=1e-4, atol=1e-3)  # finite differences of step 1e-4
    gradients = jax.grad(continuous_cost, (0, 1))(K, TASK)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradients))


def test_small_sampling_times_tend_to_it():
    # Euler's discrete system of step h with costs per step: the discrete cost tends to this one in proportion to h.
    def euler(h):
        task = LQRTask(jnp.eye(3) + h * TASK.A, h * TASK.B, h * TASK.Q, h * TASK.R, TASK.Sigma0)
        return float(jaxlqr.cost(K, task))

    exact = float(continuous_cost(K, TASK))
    errors = [euler(h) - exact for h in (1e-3, 5e-4)]
    assert abs(errors[0]) < 0.05 * exact
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def test_an_unstable_lane_is_infinite_and_alone():
    gains = jnp.stack([K, -3 * K, OPTIMUM])
    values, slopes = jax.vmap(jax.value_and_grad(continuous_cost), (0, None))(gains, TASK)
    assert jnp.isposinf(values[1])
    assert bool(jnp.all(jnp.isnan(slopes[1])))
    np.testing.assert_allclose(values[0], continuous_cost(K, TASK), rtol=1e-12)  # rounding of another layout
    assert bool(jnp.all(jnp.isfinite(slopes[::2])))


def test_policy_gradient_and_meta_training_lower_it():
    result = jaxlqr.policy_gradient(continuous_cost, K, TASK, num_steps=30, step_size=0.5).check()
    gap = [float(continuous_cost(gain, TASK) - continuous_cost(OPTIMUM, TASK)) for gain in (K, result.params)]
    assert 0 < gap[1] < 0.5 * gap[0]
    assert "gap" not in result.history  # which would compare with the optimum of a discrete system
    assert np.asarray(result.history["spectral_abscissa"]).max() < 0
    trained = jaxlqr.meta_train(
        continuous_cost, K, TASKS, num_steps=20, objective=jaxlqr.Maml(inner_step_size=1e-3), outer_step_size=0.1
    ).check()
    objective = [
        float(jaxlqr.maml_loss(continuous_cost, gain, TASKS, inner_step_size=1e-3)) for gain in (K, trained.params)
    ]
    assert objective[1] < objective[0]


@pytest.mark.slow
def test_the_landscape_takes_it():
    points = landscape.multistart(continuous_cost, jnp.stack([K, OPTIMUM]), TASKS, 1e-3, num_steps=20)
    assert len(points.params) == 1  # a minimum of the mean of three neighbours
    inside = jax.grad(lambda gain: jaxlqr.maml_loss(continuous_cost, gain, TASKS, inner_step_size=1e-3))(
        points.params[0]
    )
    assert float(jnp.max(jnp.abs(inside))) < 1e-6  # the tolerance of the search, 1e-9 of the values
