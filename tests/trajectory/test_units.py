"""iLQR in other units of cost, states and controls, and with costs that differ in size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr import SolveStatus
from jaxlqr.trajectory import ilqr
from jaxlqr.trajectory.curvature import Numbers, damped_solve

T = 20
CONVERGED = int(SolveStatus.CONVERGED)


# --- a nonlinear problem, in units that are powers of two -------------------------------------------------------------


def swing(x, u, t, units):
    x, u = x / units["state"], u / units["control"]
    push = jnp.sum(u * jnp.array([1.0, 0.5], x.dtype)[: u.size])
    return units["state"] * (x + 0.1 * jnp.stack([x[1], push - jnp.sin(x[0]) + 0.2 * x[1] * u[0]]))


def effort(x, u, t, units):
    x, u = x / units["state"], u / units["control"]
    return units["cost"] * (jnp.sum((x - 0.3) ** 2) + 0.1 * jnp.sum(u**2) - 0.1 * jnp.cos(u[-1]) + 0.2 * x[0] * u[0])


def end(x, units):
    return units["cost"] * 5 * jnp.sum((x / units["state"]) ** 2)


def in_units(m, exponent, dtype):
    """Units 1, then a change of each kind in both directions, then all of them at once."""
    big, small = 2.0**exponent, 2.0**-exponent
    uneven = (big, small)[:m]
    rows = [(1.0, (1.0, 1.0), (1.0,) * m)]
    rows += [(scale, (1.0, 1.0), (1.0,) * m) for scale in (big, small)]
    rows += [(1.0, scales, (1.0,) * m) for scales in ((big, big), (small, big))]
    rows += [(1.0, (1.0, 1.0), scales) for scales in ((small,) * m, uneven)]
    rows += [(small, (big, small), uneven)]
    cost, state, control = (jnp.array(column, dtype) for column in zip(*rows, strict=True))
    return {"cost": cost, "state": state, "control": control}


@pytest.mark.parametrize(
    ("m", "ddp", "dtype", "exponent", "ulps"),
    [
        # All operations but the square roots that balance two controls are exact under powers of two.
        (1, False, jnp.float64, 30, 4),
        (2, True, jnp.float64, 30, 1e4),  # those roots move each of about ten iterations by rounding
        (2, False, jnp.float32, 20, 1e3),
    ],
)
def test_other_units_give_the_same_answer_after_the_same_iterations(m, ddp, dtype, exponent, ulps):
    def run(units):
        return ilqr(effort, swing, units["state"], jnp.zeros((T, m), dtype), params=units, final_cost=end, ddp=ddp)

    units = in_units(m, exponent, dtype)
    result = jax.jit(jax.vmap(run))(units)
    np.testing.assert_array_equal(result.status, CONVERGED)
    np.testing.assert_array_equal(result.iterations, result.iterations[0])
    assert int(result.iterations[0]) >= 2
    control, state = units["control"][:, None], units["state"][:, None]
    gains = result.gains / control[..., None] * state[:, :, None]
    found = (result.controls / control, result.states / state, gains, result.cost / units["cost"])
    tolerance = ulps * float(jnp.finfo(dtype).eps)
    for rows in found:
        largest = float(jnp.abs(rows[0]).max())
        assert largest > 1e-3
        np.testing.assert_allclose(rows, jnp.broadcast_to(rows[:1], rows.shape), rtol=0, atol=tolerance * largest)
    norms = result.history["gradient_norm"][:, 0]
    np.testing.assert_allclose(norms, jnp.full_like(norms, norms[0]), rtol=tolerance)


# --- linear-quadratic problems against the Riccati recursion ----------------------------------------------------------

A = np.array([[1.0, 0.1], [0.0, 1.0]])
PUSH = np.array([[0.005], [0.1]])
BOTH = np.array([[0.005, 0.0], [0.1, 0.1]])


def plant(B, weights, *, A=A, states=(1.0, 1.0), scale=1.0, constant=0.0, start=0.0):
    state = np.array([1.0, -0.5]) / np.sqrt(states)
    data = {"A": A, "B": B, "Q": np.diag(states), "R": np.diag(weights), "x0": state}
    return data | {"scale": scale, "constant": constant, "start": start}


MILLI = np.diag([1e3, 1e-3])
ONE = [
    plant(PUSH, [1.0]),
    plant(1e-3 * PUSH, [1e-6]),  # force in millinewton
    plant(PUSH, [1.0], scale=1e-9),
    plant(PUSH, [1.0], scale=1e9),
    plant(MILLI @ PUSH, [1.0], A=MILLI @ A @ np.linalg.inv(MILLI), states=(1e-6, 1e6)),
    plant(PUSH, [1.0], constant=3e4, scale=1e-4),  # the decrease is far below the rounding of J in float32
    plant(PUSH, [1.0], start=100.0),
    plant(PUSH, [1e-4]),
]
TWO = [
    plant(BOTH, [1.0, 1.0]),
    plant(BOTH, [1e9, 1.0]),
    plant(BOTH @ np.diag([1e-3, 1e3]), [1e-6, 1e6]),
    plant(np.eye(2), [1.0, 1.0], A=0.9 * np.eye(2), states=(1e4, 1e-4)),  # two plants, one with all of the cost
    plant(np.eye(2), [1e6, 1e-6], A=0.9 * np.eye(2), states=(1e6, 1e-6)),
    plant(BOTH, [1.0, 1e-6], scale=1e-6),
    plant(BOTH, [1.0, 1.0], constant=3e4, scale=1e-4),
    plant(BOTH, [1e6, 1.0], start=1.0),
]


def quadratic(x, u, t, p):
    return p["constant"] + p["scale"] * (x @ (p["Q"] @ x) + u @ (p["R"] @ u))


def linear(x, u, t, p):
    return p["A"] @ x + p["B"] @ u


def last(x, p):
    return p["scale"] * (x @ (p["Q"] @ x))


def riccati(data):
    """Gains [T, m, n] and controls [T, m] of the recursion, each gain from a system that is scaled to unit diagonal."""
    A, B, Q, R = (data[name] for name in "ABQR")
    P, gains = Q, []
    for _ in range(T):
        S = R + B.T @ P @ B
        root = np.sqrt(np.diag(S))
        K = np.linalg.solve(S / np.outer(root, root), B.T @ P @ A / root[:, None]) / root[:, None]
        P = Q + A.T @ P @ (A - B @ K)
        P, gains = (P + P.T) / 2, [K, *gains]
    x, controls = data["x0"], []
    for K in gains:
        controls.append(-K @ x)
        x = A @ x + B @ controls[-1]
    return np.array(gains), np.array(controls)


def relative(found, wanted, axis):
    """Largest error of each entry over time, relative to the largest value of the entry."""
    error, size = (np.abs(array).max(axis=axis) for array in (np.asarray(found, float) - wanted, wanted))
    return (error / np.where(size > 0, size, 1)).max()


@pytest.mark.parametrize("ddp", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("problems", [ONE, TWO], ids=["one input", "two inputs"])
# The condition times eps; in float32 1.7e-3 was seen where the compiler fuses no products and sums.
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-9), (jnp.float32, 3e-3)])
def test_linear_quadratic_problems_have_the_gains_of_the_riccati_recursion(problems, ddp, dtype, tolerance):
    def run(data):
        controls = jnp.broadcast_to(data["start"], (T, data["B"].shape[1]))
        return ilqr(quadratic, linear, data["x0"], controls, params=data, final_cost=last, ddp=ddp)

    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves), dtype), *problems)
    result = jax.jit(jax.vmap(run))(stacked)
    np.testing.assert_array_equal(result.status, CONVERGED)
    assert int(jnp.max(result.iterations)) <= 2
    for lane, data in enumerate(problems):
        gains, controls = riccati(data)
        assert relative(result.gains[lane], gains, 0) < tolerance, lane
        # The search stops at 1e-6 in the norm of Q_uu, wherever it starts.
        assert relative(result.controls[lane], controls, 0) < max(tolerance, 1e-6), lane


# --- what is left of the thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float64, marks=pytest.mark.slow), jnp.float32])
def test_a_cost_that_can_be_brought_to_zero_converges(dtype):
    """Reach a place without any weight on the controls: J ends as the square of rounding."""

    def step(x, u, t, p):
        return x + 0.1 * (u + 0.1 * jnp.sin(x))

    def miss(x, p):
        return jnp.sum((x - p) ** 2)

    start = jnp.array([1.0, -2.0], dtype)
    goal = jnp.array([301.7, 0.3], dtype)  # a temperature and a length
    run = partial(ilqr, lambda x, u, t, p: 0 * x[0], step, start, jnp.zeros((5, 2), dtype), final_cost=miss)
    result = run(params=goal).check()
    # Rounding of five states of sizes up to that of the goal.
    np.testing.assert_allclose(result.states[-1], goal, rtol=100 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_floor_and_damping_commute_with_a_change_of_units(m):
    rng = np.random.default_rng(m)
    right = jnp.asarray(rng.normal(size=(m, 2)))
    root = rng.normal(size=(m, m))
    numbers = Numbers(jnp.array(1e-8), jnp.array(0.0), jnp.array(1e-8))
    scale = 2.0 ** np.array([30.0, -30.0, 7.0])[:m]
    for Q in (root @ root.T, root + root.T - 2 * np.eye(m), np.zeros((m, m))):
        for damping in (0.0, 0.3):
            plain = damped_solve(jnp.asarray(Q), right, jnp.array(damping), numbers, jnp.ones(m))
            scaled = damped_solve(
                jnp.asarray(scale[:, None] * Q * scale[None]),
                jnp.asarray(scale)[:, None] * right,
                jnp.array(damping),
                numbers,
                jnp.asarray(scale**2),
            )
            # LAPACK's eigenvectors for m = 3 are those of the same balanced matrix.
            np.testing.assert_allclose(scale[:, None] * scaled, plain, rtol=1e-12)
    exact = damped_solve(jnp.asarray(root @ root.T), right, jnp.array(0.0), numbers, jnp.ones(m))
    np.testing.assert_allclose(exact, np.linalg.solve(root @ root.T, right), rtol=1e-8)  # no floor: definite
