"""The zero-order hold against 50 digits, entry by entry, where plants have fast and slow parts and other units."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from jaxlqr import make_task, zero_order_hold

# A, B, dt, and the largest relative error of an entry. Entries below ``_NOTHING`` times the largest one are compared
# with it: they are what is left of modes that decayed.
_NOTHING = 1e-40
PLANTS = {
    "velocity and acceleration constants": ([[0, 1, 0], [0, -1e8, 0], [0, 0, -3]], [0, 1e8, 1], 0.02, 1e-15),
    "input in small units": ([[0, 1, 0], [0, -1, 0], [0, 0, 2]], [0, 1e6, 1e-6], 1.0, 2e-15),
    # The phase, 1e6 radians, has ten digits.
    "precession": ([[-500, 1e6, 0], [-1e6, -500, 0], [1, 0, -1]], [0, 0, 1], 1.0, 1e-9),
    "two-way coupling": ([[-1e6, 1, 0], [1e-3, -1, 2], [0, 1, -0.1]], [1, 0, 1], 1.0, 5e-15),
    "nanometres and kelvins": ([[-2, 1e9, 0], [-1e-9, -3, 1e5], [0, 1e-6, -1]], [1e9, 1e-3, 1], 0.7, 3e-15),
    "integrators": ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 0, 1e-9], 1e5, 1e-15),
    "vibration in milliseconds": ([[0, 1, 0], [-1e4, -1e-3, 1], [0, 0, -1e-2]], [0, 1, 1], 0.3, 1e-13),
    "long hold": ([[-1, 1e5, 0], [-1e5, -1, 3], [1e-3, 0, -2]], [1, 1, 1], 1e20, 1e-14),
    "unstable beside stiff": ([[1, 1e5, 0], [0, -1e5, 0], [0, 0, 0.5]], [0, 1e5, 1], 3.0, 5e-15),
    "short hold": ([[-1, 2, 0], [3, -4, 5], [0, 1, -1]], [1, 0, 1], 1e-9, 1e-15),
    # The slow eigenvalue, -0.5, is what is left of -1e6 and 1e6: it has ten digits itself.
    "slow sum of fast states": ([[-1e6, 1e6, 0], [1e6, -1e6 - 1, 0], [0, 0, -1]], [1, 0, 1], 1.0, 1e-9),
}
STACK = [np.array([plant[k] for plant in PLANTS.values()], float) for k in range(3)]
STACK[1] = STACK[1][:, :, None]
held_stack = jax.jit(jax.vmap(zero_order_hold))


def exact(a, b, dt) -> tuple[np.ndarray, np.ndarray]:
    """The block exponential by Taylor and squaring, with digits for all that the squarings lose."""
    n, m = b.shape
    block = np.zeros((n + m, n + m))
    block[:n, :n], block[:n, n:] = a, b
    squarings = 10 + max(0, int(np.log2(np.max(np.abs(block)) * abs(dt) + 1)))
    with mpmath.workdps(60 + squarings):
        x = mpmath.matrix(block.tolist()) * mpmath.mpf(float(dt)) / mpmath.mpf(2) ** squarings
        term = total = mpmath.eye(n + m)
        for k in range(1, 40):
            term = term * x / k
            total = total + term
        for _ in range(squarings):
            total = total * total
        held = np.array(total.tolist(), float)
    return held[:n, :n], held[:n, n:]


REFERENCES = {name: exact(*(leaf[i] for leaf in STACK)) for i, name in enumerate(PLANTS)}


def assert_entries(got, expected, rtol):
    for mine, reference in zip(got, expected, strict=True):
        floor = _NOTHING * np.max(np.abs(reference))
        np.testing.assert_allclose(mine, reference, rtol=rtol, atol=floor)


@pytest.mark.parametrize("number", range(len(PLANTS)), ids=list(PLANTS))
def test_every_entry_is_right(number):
    name = list(PLANTS)[number]
    got = [np.asarray(leaf[number]) for leaf in held_stack(*STACK)]
    assert_entries(got, REFERENCES[name], PLANTS[name][3])


@pytest.mark.parametrize("number", range(len(PLANTS)), ids=list(PLANTS))
def test_make_task_holds_the_same(number):
    a, b, dt = (leaf[number] for leaf in STACK)
    name = list(PLANTS)[number]
    task = make_task(a, b, dt=float(dt))
    assert_entries((task.A, task.B), REFERENCES[name], PLANTS[name][3])


def test_float32_is_as_good_as_scipy_in_float64():
    # Of the rounded matrices. The last plant is left out: of its slow mode float32 has no digit.
    a, b, dt = (np.asarray(leaf[:-1], np.float32) for leaf in STACK)
    for i, got in enumerate(zip(*held_stack(a, b, dt), strict=True)):
        assert got[0].dtype == np.float32
        n, m = b[i].shape
        block = np.zeros((n + m, n + m))
        block[:n, :n], block[:n, n:] = a[i] * float(dt[i]), b[i] * float(dt[i])
        scipys = scipy.linalg.expm(block)
        for mine, theirs, reference in zip(
            got, (scipys[:n, :n], scipys[:n, n:]), exact(*(leaf[i].astype(float) for leaf in (a, b, dt))), strict=True
        ):
            theirs = theirs.astype(np.float32)
            scale = np.max(np.abs(reference)) or 1.0
            error, other = (np.max(np.abs(value - reference)) / scale for value in (mine, theirs))
            assert error <= max(other, 1e-6) or not np.isfinite(other), (i, error, other)  # eight ulps


def test_units_change_no_digit():
    a, b, dt = (leaf[4] for leaf in STACK)
    t, g, c = np.array([2.0**30, 1, 2.0**-30]), 2.0**25, 2.0**20  # of states, input, time
    similar = t[:, None] / t

    def derivatives(a, b, dt):
        return jax.jacfwd(lambda step: zero_order_hold(a, b, step))(dt)

    values, other = zero_order_hold(a, b, dt), zero_order_hold(a * similar * c, b * t[:, None] * g * c, dt / c)
    rates, rates_other = derivatives(a, b, dt), derivatives(a * similar * c, b * t[:, None] * g * c, dt / c)
    for (a_d, b_d), (a_e, b_e), factor in ((values, other, 1.0), (rates, rates_other, c)):
        np.testing.assert_array_equal(a_d * similar * factor, a_e)
        np.testing.assert_array_equal(b_d * t[:, None] * g * factor, b_e)


def test_derivatives_of_a_stiff_plant_are_right():
    a, b, dt = (leaf[0] for leaf in STACK)
    # d A_d / d dt = A A_d and d B_d / d dt = A_d B, in both modes.
    for jacobian in (jax.jacfwd, jax.jacrev):
        in_a, in_b = jacobian(lambda step: zero_order_hold(a, b, step))(dt)
        a_d, _ = REFERENCES["velocity and acceleration constants"]
        np.testing.assert_allclose(in_a, a @ a_d, rtol=1e-12, atol=1e-12)  # the fast state has left nothing
        np.testing.assert_allclose(in_b, a_d @ b, rtol=1e-12, atol=1e-12)
    # In the fast eigenvalue: B_d[0] = dt + (exp(-p dt) - 1) / p with p = 1e8 and the input's own 1e8.
    slope = jax.grad(lambda a: zero_order_hold(a, b, dt)[1][0, 0])(jnp.asarray(a))[1, 1]
    assert float(slope) == pytest.approx((dt - 2e-8) / 1e8, rel=1e-9)  # u / p^2 (p dt - 2), differentiated by hand


def test_a_lane_that_overflows_spoils_no_other():
    a, b = jnp.diag(jnp.array([-1.0, 2.0])), jnp.ones((2, 1))
    steps = jnp.array([0.5, 1e3, 1e60, 0.25])

    def total(dt):
        a_d, b_d = zero_order_hold(a, b, dt)
        return jnp.sum(a_d) + jnp.sum(b_d)

    values, slopes = jax.vmap(jax.value_and_grad(total))(steps)
    assert np.isfinite(values).tolist() == np.isfinite(slopes).tolist() == [True, False, False, True]
    exact_total = np.exp(-0.5) + np.exp(1.0) + 1 - np.exp(-0.5) + (np.exp(1.0) - 1) / 2
    assert float(values[0]) == pytest.approx(exact_total, rel=1e-14)


FLOAT32 = """
import numpy as np
from jaxlqr import make_task, zero_order_hold
a, b, dt = np.array([[0.0, 1.0], [0.0, -1e8]]), np.array([[0.0], [1e8]]), 0.02
task, held = make_task(a, b, dt=dt), zero_order_hold(np.float32(a), np.float32(b), dt)
for mine, other in zip((task.A, task.B), held):
    assert mine.dtype == other.dtype == np.float32
    np.testing.assert_allclose(mine, other, rtol=5e-7, atol=1e-20)  # a few ulps
np.testing.assert_allclose(task.B, [[0.02 - 1e-8], [1.0]], rtol=1e-7)
"""


def test_both_holds_agree_where_jax_has_float32():
    done = subprocess.run([sys.executable, "-c", FLOAT32], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
