"""Sampled systems, noise and costs: against 50 digits, SciPy and each other, with derivatives."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from jaxlqr import SolveStatus, systems

# A and B of plants with three states, and the inverse of the fastest time constant.
PLANTS = {
    "plain": ([[-1.0, 2, 0], [0.5, -3, 1], [0, 1, -2]], [1, 0, 1], 4.0),
    "integrators": ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 0, 1e-3], 1.0),
    "stiff": ([[-1e6, 1, 0], [1e-3, -1, 2], [0, 1, -0.1]], [1, 0, 1], 1e6),
    "stiff motor": ([[0, 1, 0], [0, -1e6, 0], [0, 0, -1]], [0, 1e6, 1], 1e6),
    "nanometres and kelvins": ([[-2, 1e9, 0], [-1e-9, -3, 1e5], [0, 1e-6, -1]], [1e9, 1e-3, 1], 3.0),
    "vibration": ([[0, 1, 0], [-1e4, -1e-3, 1], [0, 0, -1e-2]], [0, 1, 1], 100.0),
    "unstable": ([[0.3, 1, 0], [0, -1, 0], [0, 1, 0]], [0, 1, 0.5], 1.0),
}
RATIOS = (1e-6, 1e-3, 1.0, 100.0)
# A unit-free measure: of an entry relative to the geometric mean of the two diagonal ones. 28 doublings add a rounding
# unit or two each; the vibration turns by 100 radians.
RTOL = 1e-12


def digits(matrix):
    return mpmath.matrix(np.asarray(matrix, float).tolist())


def exponential(x):
    squarings = 10 + max(0, int(mpmath.log(mpmath.mnorm(x, mpmath.inf) + 1, 2)))
    x = x / mpmath.mpf(2) ** squarings
    term = total = mpmath.eye(x.rows)
    for k in range(1, 45):
        term = term * x / k
        total = total + term
    for _ in range(squarings):
        total = total * total
    return total


def exact_integral(f, s, dt):
    """The integral of exp(f' t) s exp(f t) by Van Loan's block, with digits for all that exp(-f' dt) takes."""
    n = len(f)
    with mpmath.workdps(260):
        block = mpmath.zeros(2 * n, 2 * n)
        block[:n, :n], block[:n, n:], block[n:, n:] = -digits(f).T, digits(s), digits(f)
        exp = exponential(block * mpmath.mpf(float(dt)))
        return np.array((exp[n:, n:].T * exp[:n, n:]).tolist(), float)


def weights(size):
    root = np.random.default_rng(3).standard_normal((size, size))
    return root @ root.T


def unit_free_error(got, expected):
    scale = np.sqrt(np.diagonal(expected))
    error = np.abs(np.asarray(got, float) - expected) / scale[:, None] / scale
    return np.max(error)


CASES = [(name, ratio) for name in PLANTS for ratio in RATIOS]
A = np.array([PLANTS[name][0] for name, _ in CASES], float)
B = np.array([PLANTS[name][1] for name, _ in CASES], float)[:, :, None]
DT = np.array([ratio / PLANTS[name][2] for name, ratio in CASES])
# Weights in units of each plant: the same relative sizes whatever these are.
UNIT = np.array([[1e9, 1, 1e-3] if name == "nanometres and kelvins" else [1, 1, 1] for name, _ in CASES])
W = weights(3) * UNIT[:, :, None] * UNIT[:, None, :]
M = weights(4) / np.pad(UNIT, ((0, 0), (0, 1)), constant_values=1)[:, :, None]
M = M / np.pad(UNIT, ((0, 0), (0, 1)), constant_values=1)[:, None, :]
COST = (M[:, :3, :3], M[:, 3:, 3:], M[:, :3, 3:])
noise_stack = jax.jit(jax.vmap(systems.sample_noise))
cost_stack = jax.jit(jax.vmap(systems.sample_cost))


def test_noise_is_right_to_rounding_for_all_plants_and_times():
    got = noise_stack(A, W, DT)
    for i, case in enumerate(CASES):
        expected = exact_integral(A[i].T, W[i], DT[i])
        assert unit_free_error(got[i], expected) < RTOL, case
        np.testing.assert_array_equal(got[i], got[i].T)
        half = np.sqrt(np.diagonal(expected))
        # Rounding below zero with a unit diagonal.
        assert np.linalg.eigvalsh(np.asarray(got[i]) / half[:, None] / half)[0] > -1e-14, case


def test_costs_are_right_to_rounding_for_all_plants_and_times():
    got = cost_stack(A, B, *COST, DT)
    for i, case in enumerate(CASES):
        f = np.block([[A[i], B[i]], [np.zeros((1, 4))]])
        expected = exact_integral(f, M[i], DT[i])
        joint = np.block([[got.Q[i], got.N[i]], [got.N[i].T, got.R[i]]])
        assert unit_free_error(joint, expected) < RTOL, case
        np.testing.assert_array_equal(joint, joint.T)


def test_float32_keeps_its_digits():
    single = [np.float32(leaf) for leaf in (A, W, DT)]
    got = noise_stack(*single)
    assert got.dtype == jnp.float32
    for i, case in enumerate(CASES):
        a, w, dt = (leaf[i].astype(float) for leaf in single)
        # The vibration turns by 100 radians of which each has a rounding error of float32.
        assert unit_free_error(got[i], exact_integral(a.T, w, dt)) < 2e-5, case


def test_stiff_noise_over_a_long_time_is_the_closed_form():
    rates, dt = np.array([1.0, 1e6, 0.0]), 100.0
    w = weights(3)
    total = rates[:, None] + rates
    expected = w * np.where(total > 0, -np.expm1(-total * dt) / np.where(total > 0, total, 1), dt)
    got = systems.sample_noise(-np.diag(rates), w, dt)
    np.testing.assert_allclose(got, expected, rtol=1e-14)  # entry by entry: a diagonal A couples nothing


@pytest.mark.parametrize("method", ["zoh", "foh", "tustin"])
def test_samples_are_those_of_scipy(method):
    a, b = np.array(PLANTS["plain"][0]), np.eye(3)[:, :2]
    system = systems.ss(a, b, np.ones((1, 3)), [[0.5, 0.0]], states=["a", "b", "c"])
    sampled = systems.sample(system, 0.3, method=method)
    theirs = scipy.signal.cont2discrete((a, b, system.C, system.D), 0.3, "bilinear" if method == "tustin" else method)
    for mine, reference in zip((sampled.A, sampled.B, sampled.C, sampled.D, sampled.dt), theirs, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-13, atol=1e-15)
    assert sampled.states == ("a", "b", "c")
    assert systems.sample(systems.ss(np.float32(a), np.float32(b)), 0.3, method=method).dt.dtype == jnp.float32


@pytest.mark.parametrize("method", ["foh", "tustin"])
def test_badly_scaled_systems_are_sampled_as_well_as_others(method):
    a, b = np.array(PLANTS["plain"][0]), np.eye(3)[:, :1]
    unit = np.array([2.0**30, 1, 2.0**-30])
    plain = systems.sample(systems.ss(a, b, np.ones((1, 3))), 0.3, method=method)
    other = systems.ss(a * unit[:, None] / unit, b * unit[:, None], np.ones((1, 3)) / unit)
    scaled = systems.sample(other, 0.3, method=method)
    # Powers of two: at most the order of a sum changes.
    np.testing.assert_allclose(np.asarray(scaled.A) / unit[:, None] * unit, plain.A, rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(scaled.D, plain.D, rtol=1e-14)


STATES = (jnp.array([[-1.0, 2.0], [0.3, -0.5]]), jnp.array([[1.0], [0.4]]))
FUNCTIONS = {
    "noise": lambda a, b, s, dt: systems.sample_noise(a, s[:2, :2], dt),
    "cost": lambda a, b, s, dt: systems.sample_cost(a, b, s[:2, :2], s[2:, 2:], s[:2, 2:], dt),
    "zoh": lambda a, b, s, dt: systems.sample(systems.ss(a, b, s[:1, :2], s[:1, 2:]), dt),
    "foh": lambda a, b, s, dt: systems.sample(systems.ss(a, b, s[:1, :2], s[:1, 2:]), dt, method="foh"),
    "tustin": lambda a, b, s, dt: systems.sample(systems.ss(a, b, s[:1, :2], s[:1, 2:]), dt, method="tustin"),
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("noise", "cost", "zoh", "foh")]  # their compilation is


@pytest.mark.parametrize("name", ["tustin", *SLOW])
def test_derivatives_of_second_order_in_both_modes(name):
    arguments = (*STATES, jnp.asarray(weights(3)), jnp.asarray(0.7))
    # Central differences of second order.
    check_grads(jax.jit(FUNCTIONS[name]), arguments, order=2, modes=("fwd", "rev"), rtol=1e-4, atol=1e-4)


def test_derivatives_in_dt_of_a_stiff_system_are_those_of_the_equation():
    a, w, dt = (jnp.asarray(leaf[CASES.index(("stiff", 100.0))]) for leaf in (A, W, DT))
    exp = systems.zero_order_hold(a, jnp.ones((3, 1)), dt)[0]
    for mode in (jax.jacfwd, jax.jacrev):
        slope = jax.jit(mode(lambda step: systems.sample_noise(a, w, step)))(dt)
        np.testing.assert_allclose(slope, exp @ w @ exp.T, rtol=1e-10, atol=1e-12)  # exp has lost the fast state


def test_a_stack_is_a_loop():
    loop = jnp.stack([systems.sample_noise(A[i], W[i], DT[i]) for i in range(3)])
    np.testing.assert_allclose(noise_stack(A, W, DT)[:3], loop, rtol=1e-14, atol=0)  # the order of sums
    stack = systems.stack_systems([systems.ss(A[i], B[i]) for i in range(3)])
    sampled = jax.vmap(lambda system, dt: systems.sample(system, dt, method="foh"))(stack, DT[:3])
    alone = systems.sample(systems.ss(A[1], B[1]), DT[1], method="foh")
    np.testing.assert_allclose(sampled.B[1], alone.B, rtol=1e-14, atol=0)
    assert sampled.status.tolist() == [0, 0, 0]


def test_a_lane_that_overflows_says_so_and_spoils_no_other():
    stack = systems.ss(jnp.diag(jnp.array([-1.0, 2.0])), jnp.ones((2, 1)))
    sampled = jax.vmap(lambda dt: systems.sample(stack, dt))(jnp.array([0.1, 1e4]))
    assert sampled.status.tolist() == [0, SolveStatus.NO_FINITE_SYSTEM]
    assert np.isfinite(noise_stack(A[:2], W[:2], np.array([0.1, 1e300]))[0]).all()


@pytest.mark.usefixtures("unchecked")
def test_mistakes_get_one_sentence():
    continuous = systems.ss([[-1.0]], [[1.0]])
    for call, message in (
        (lambda: systems.sample(systems.ss([[0.5]], [[1.0]], dt=1.0), 0.1), "must be in continuous time"),
        (lambda: systems.sample(continuous, 0.1, method="euler"), "method must be one of zoh, foh, tustin"),
        (lambda: systems.sample(continuous, -0.1), "dt must be a positive"),
        (lambda: systems.sample(continuous, np.ones(2)), r"dt must be a scalar, got shape \(2,\)"),
        (lambda: systems.sample(np.eye(2), 0.1), "system must be a StateSpace, got ndarray"),
        (lambda: systems.sample(systems.stack_systems([continuous] * 2), 0.1), "must be one system.*jax.vmap"),
        (lambda: systems.sample_noise(np.eye(2), np.eye(3), 0.1), "argument W must have shape"),
        (lambda: systems.sample_cost(np.eye(2), np.ones((2, 1)), np.eye(2), np.eye(2), None, 0.1), "argument R must"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
