"""Systems of python-control and SciPy and arrays of torch become tasks, and tasks and gains go back."""

import sys
from types import SimpleNamespace

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from jax.test_util import check_grads

import jaxlqr
from jaxlqr import make_task, stack_tasks, zero_order_hold
from jaxlqr.core.optional import MissingExtraError

A = np.array([[0.0, 1.0, 0.0], [2.0, -0.3, 0.1], [0.0, 0.4, -1.0]])  # unstable, continuous
B = np.array([[0.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
C, D = np.ones((1, 3)), np.zeros((1, 2))
DT = 0.2
HELD = scipy.signal.cont2discrete((A, B, C, D), DT)  # the independent reference

CONTINUOUS = {
    "control": control.ss(A, B, C, D),
    "scipy StateSpace": scipy.signal.StateSpace(A, B, C, D),
    "scipy lti": scipy.signal.lti(A, B, C, D),
}
DISCRETE = {
    "control": control.ss(HELD[0], HELD[1], C, D, DT),
    "control, time not said": control.ss(HELD[0], HELD[1], C, D, True),
    "scipy StateSpace": scipy.signal.StateSpace(HELD[0], HELD[1], C, D, dt=DT),
    "scipy dlti": scipy.signal.dlti(HELD[0], HELD[1], C, D, dt=DT),
    "scipy dlti, time not said": scipy.signal.dlti(HELD[0], HELD[1], C, D),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_systems_are_held(name):
    task = make_task(CONTINUOUS[name], dt=DT, R=3 * np.eye(2))
    np.testing.assert_allclose(task.A, HELD[0], rtol=1e-13, atol=1e-14)  # two orders of one Pade scheme
    np.testing.assert_allclose(task.B, HELD[1], rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(task.R, 3 * np.eye(2))


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_systems_are_taken_as_they_are(name):
    task = make_task(DISCRETE[name])
    np.testing.assert_array_equal(task.A, HELD[0])
    np.testing.assert_array_equal(task.B, HELD[1])


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray, np.ndarray.tolist], ids=["numpy", "jax", "lists"])
def test_continuous_matrices_are_held(convert):
    task = make_task(convert(A), convert(B), dt=jnp.asarray(DT))
    np.testing.assert_allclose(task.A, HELD[0], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int64"])
def test_tensors_of_torch(dtype):
    torch = pytest.importorskip("torch", reason="torch is no dependency of the tests; pip install torch")
    number = getattr(torch, dtype)
    a, b = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=number), torch.tensor([[0.0], [1.0]], dtype=number)
    if dtype != "int64":
        a.requires_grad_()
    task = make_task(a, b, Q=2 * torch.eye(2))
    np.testing.assert_array_equal(task.A, [[0.0, 1.0], [0.0, 2.0]])
    np.testing.assert_array_equal(task.Q, 2 * np.eye(2))
    with pytest.raises(ValueError, match=r"A must be a real matrix, .*complex"):
        make_task(torch.eye(2) * 1j, b)


REFUSED = {
    "continuous without dt": ((CONTINUOUS["control"],), {}, "is in continuous time .* dt=0.1"),
    "continuous without dt, scipy": ((CONTINUOUS["scipy lti"],), {}, "is in continuous time .* dt=0.1"),
    "discrete with dt": ((DISCRETE["control"],), {"dt": 0.1}, "dt must not be given .* discrete time"),
    "unsaid time": ((control.ss(A, B, C, D, None),), {"dt": 0.1}, "does not say whether"),
    "system and B": ((DISCRETE["control"], B), {}, "B must not be given with a system"),
    "matrix without B": ((A,), {}, "B must be given"),
    "transfer function": ((control.tf([1.0], [1.0, 1.0], 0.1),), {}, "no states to feed back"),
    "transfer function, scipy": ((scipy.signal.lti([1.0], [1.0, 1.0]),), {"dt": 0.1}, "no states to feed back"),
    "negative dt": ((A, B), {"dt": -0.1}, "dt must be a positive and finite sampling time, got -0.1"),
    "true dt": ((A, B), {"dt": True}, "dt must be a positive"),
    "two dts": ((A, B), {"dt": [0.1, 0.2]}, "dt must be a number"),
    "overflow": ((A, B), {"dt": 1e6}, r"exp\(A dt\) overflows; give a shorter dt"),
    "descriptor": (
        (SimpleNamespace(A=A, B=B, E=np.diag([1.0, 2, 3]), dt=0.1),),
        {},
        r"descriptor matrix E, .*numpy\.linalg\.solve\(E, A\)",
    ),
    "descriptor operator": ((SimpleNamespace(A=A, B=B, E=object(), dt=0.1),), {}, "descriptor matrix E"),
    "dt NaN": ((SimpleNamespace(A=A, B=B, dt=np.nan),), {}, "dt of the SimpleNamespace must be .*got nan"),
    "dt negative": ((SimpleNamespace(A=A, B=B, dt=-0.1),), {}, "dt of the SimpleNamespace must be .*got -0.1"),
    "NaN inside a system": ((SimpleNamespace(A=[[np.nan]], B=[[1.0]], dt=True),), {}, "A must be finite"),
    "unstabilizable": ((np.diag([0.0, -1.0]), [[0.0], [1.0]]), {"dt": 0.1}, "must be stabilizable"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_systems_are_refused_with_one_sentence(case):
    args, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        make_task(*args, **options)
    assert "\n" not in str(caught.value)


def test_a_task_is_a_system_of_control_and_comes_back():
    task = make_task(CONTINUOUS["control"], dt=DT)
    system = task.to_control(dt=DT)
    assert (system.dt, system.nstates, system.ninputs, system.noutputs) == (DT, 3, 2, 3)
    again = make_task(system)
    np.testing.assert_array_equal(again.A, task.A)
    np.testing.assert_array_equal(again.B, task.B)
    assert task.to_control().dt is True
    with pytest.raises(ValueError, match=r"takes one task, got a stack .*\(2, 3, 3\)"):
        stack_tasks([task, task]).to_control()


@pytest.mark.parametrize("convert", [np.asarray, lambda gain: gain], ids=["numpy", "jax"])
def test_gains_close_the_loop_of_control(convert):
    task = make_task(CONTINUOUS["control"], dt=DT)
    K = jaxlqr.optimal_gain(task)
    closed = control.feedback(task.to_control(dt=DT), convert(K))
    mine = np.linalg.eigvals(np.asarray(task.A - task.B @ K))
    np.testing.assert_allclose(np.sort_complex(closed.poles()), np.sort_complex(mine), rtol=1e-10)
    np.testing.assert_allclose(K, control.dlqr(task.to_control(dt=DT), np.eye(3), np.eye(2))[0], rtol=1e-8)
    assert float(jaxlqr.spectral_radius(K, task)) == pytest.approx(np.max(np.abs(closed.poles())), rel=1e-10)


def test_the_hold_has_derivatives_of_all_orders():
    check_grads(zero_order_hold, (A, B, DT), order=2, modes=("fwd", "rev"), rtol=1e-5)  # central differences


def test_the_gradient_of_a_cost_goes_through_the_hold():
    task, K = make_task(A, B, dt=DT), jnp.asarray([[4.0, 2.0, 0.0], [0.0, 0.5, 0.5]])

    @jax.jit
    def cost(a, dt):
        a_d, b_d = zero_order_hold(a, B, dt)
        return jaxlqr.cost(K, jaxlqr.LQRTask(a_d, b_d, task.Q, task.R, task.Sigma0))

    assert np.isfinite(cost(A, DT))
    in_a, in_dt = jax.grad(cost, argnums=(0, 1))(A, DT)
    step, direction = 1e-6, np.random.default_rng(0).standard_normal((3, 3))
    slope = (cost(A + step * direction, DT) - cost(A - step * direction, DT)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(in_a * direction), slope, rtol=1e-7)  # step^2 and rounding over step
    np.testing.assert_allclose(in_dt, (cost(A, DT + step) - cost(A, DT - step)) / (2 * step), rtol=1e-7)


def test_the_two_holds_agree_and_stiff_ones_stay_accurate():
    stiff = np.array([[-1000.0, 3.0], [0.0, -0.01]])
    b = np.ones((2, 1))
    exact = scipy.signal.cont2discrete((stiff, b, b.T, np.zeros((1, 1))), 0.5)
    for mine in (zero_order_hold(stiff, b, 0.5), [make_task(stiff, b, dt=0.5).A, make_task(stiff, b, dt=0.5).B]):
        for got, expected in zip(mine, exact, strict=False):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-13)  # ten squarings
    held = jax.vmap(zero_order_hold, in_axes=(None, None, 0))(A, B, jnp.array([DT, 2 * DT]))
    np.testing.assert_allclose(held[0][1], HELD[0] @ HELD[0], rtol=1e-12)


def test_bad_arguments_of_the_hold():
    with pytest.raises(ValueError, match=r"argument B must have shape .* n = 3"):
        zero_order_hold(A, np.ones((2, 1)), DT)
    with pytest.raises(ValueError, match=r"dt must be a scalar, got shape \(2,\)"):
        zero_order_hold(A, B, np.ones(2))


def test_without_control_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "control", None)
    task = make_task([[0.5]], [[1.0]])
    with pytest.raises(MissingExtraError, match=r"to_control needs control; .*pip install 'jaxlqr\[control\]'"):
        task.to_control()
