"""No value, derivative or verdict of a solver depends on the units of states, inputs and costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import SolveStatus
from jaxlqr.matrix_equations.scaling import covariance_scale, rectangular_scale, relative
from tests.numerical.exact import exact, lyapunov, sylvester

DTYPES = [jnp.float64, jnp.float32]
N, M, LANES = 3, 2, 6


def units(rng, lanes, size, largest=30):
    """Powers of two, 1e-9 to 1e9, of which the first lane has none: multiplication by them rounds nothing."""
    return np.concatenate([np.ones((1, size)), 2.0 ** rng.integers(-largest, largest + 1, (lanes - 1, size))])


def spd(rng, n):
    root = rng.normal(size=(n, n))
    return root @ root.T / n + 0.1 * np.eye(n)


def plants(seed):
    """a, b, q, r of one system in many units of its states T, inputs U and cost c, and T and U."""
    rng = np.random.default_rng(seed)
    a, b, q, r = rng.normal(size=(N, N)), rng.normal(size=(N, M)), spd(rng, N), spd(rng, M)
    a *= 0.9 / np.max(np.abs(np.linalg.eigvals(a)))
    T, U, c = units(rng, LANES, N), units(rng, LANES, M), units(rng, LANES, 1, 20)[:, :, None]
    row, column = T[:, :, None], T[:, None, :]
    # z = T x and v = u / U.
    changed = [row * a / column, row * b * U[:, None, :], c * q / row / column, c * r * U[:, :, None] * U[:, None, :]]
    return changed, T, c


# Each solves for x from arrays that plants(...) made; x in other units is x times the same factor for each entry.
def discrete_lyapunov(a, b, q, r):
    return jaxlqr.solve_discrete_lyapunov(a.T, q)


def discrete_lyapunov_by_schur(a, b, q, r):
    return jaxlqr.solve_discrete_lyapunov(3 * a.T, q)


def continuous_lyapunov(a, b, q, r):
    return jaxlqr.solve_continuous_lyapunov(a.T - jnp.eye(N, dtype=a.dtype), -q)


def continuous_lyapunov_by_schur(a, b, q, r):
    return jaxlqr.solve_continuous_lyapunov(a.T + 0.3 * jnp.eye(N, dtype=a.dtype), q)


def sylvester_equation(a, b, q, r):
    return jaxlqr.solve_sylvester(a.T + 2 * jnp.eye(N, dtype=a.dtype), a, q)


def discrete_riccati(a, b, q, r):
    return jaxlqr.solve_discrete_are(1.3 * a, b, q, r)


def continuous_riccati(a, b, q, r):
    return jaxlqr.solve_continuous_are(a, b, q, r)


SOLVERS = [
    discrete_lyapunov,
    discrete_lyapunov_by_schur,
    continuous_lyapunov,
    continuous_lyapunov_by_schur,
    sylvester_equation,
    discrete_riccati,
    continuous_riccati,
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solve", SOLVERS, ids=lambda solve: solve.__name__)
def test_units_applied_before_are_units_applied_after(solve, dtype):
    changed, T, c = plants(len(solve.__name__))
    rng = np.random.default_rng(1)
    weights, direction = rng.normal(size=(2, N, N))
    to_units = T[:, :, None] * T[:, None, :] / c  # of what multiplies x

    def value(a, weights, *rest):
        return jnp.sum(weights * solve(a, *rest))

    def everything(a, b, q, r, weights, direction):
        gradient = jax.grad(value)
        slope, curvature = jax.jvp(lambda a: gradient(a, weights, b, q, r), (a,), (direction,))
        return solve(a, b, q, r), slope, curvature

    moved = T[:, :, None] * direction / T[:, None, :]
    arrays = [jnp.asarray(x, dtype) for x in (*changed, weights * to_units, moved)]
    x, slope, curvature = (np.asarray(y, float) for y in jax.jit(jax.vmap(everything))(*arrays))
    back = T[:, :, None] / T[:, None, :]  # of derivatives in a, whose units are one over those of a
    # Pivots, norms and the last steps of an iteration differ, each by some roundings. The conditions are below 100.
    tolerance = 1e3 * float(jnp.finfo(dtype).eps)
    for result in (x * to_units, slope * back, curvature * back):
        size = np.max(np.abs(result[0]))
        np.testing.assert_allclose(result, np.broadcast_to(result[0], result.shape), rtol=0, atol=tolerance * size)
    assert np.all(np.abs(curvature[0]) > 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cost_in_other_units_is_the_same_to_the_last_bit(dtype):
    (a, b, q, r), T, _ = plants(0)
    K = np.zeros((LANES, M, N))
    Sigma0 = T[:, :, None] * T[:, None, :]
    tasks = jaxlqr.LQRTask(*(jnp.asarray(x, dtype) for x in (a, b, q, r, Sigma0)))
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(jaxlqr.cost)))(jnp.asarray(K, dtype), tasks)
    # Products only, and units that are powers of two: every term of every sum is multiplied by one of them.
    cost_unit = np.asarray(q[:, 0, 0] * T[:, 0] ** 2 / q[0, 0, 0])
    np.testing.assert_array_equal(np.asarray(value, float) / cost_unit, np.full(LANES, float(value[0])))
    assert np.all(np.isfinite(slope))


def scalar_riccati(a, b, q, r, discrete):
    """The positive root of the scalar equation, without cancellation, in extended precision."""
    a, b, q, r = (np.asarray(x, np.longdouble) for x in (a, b, q, r))
    g = b * b / r
    half = (a * a + g * q - 1) / 2 if discrete else a
    root = np.sqrt(half * half + g * q)
    return np.where(half > 0, (half + root) / g, q / np.where(half > 0, 1, root - half)).astype(float)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize(("dtype", "decades", "tolerance"), [(jnp.float64, 6, 1e-9), (jnp.float32, 3, 1e-3)])
def test_independent_modes_of_all_sizes(dtype, decades, tolerance, discrete):
    # The tolerances are 1e6 and 1e4 roundings: at a closed loop of 1 - 1e-3 a digit in a costs three.
    rng = np.random.default_rng(decades + discrete)
    lanes = 400
    b, q, r, rate = 10.0 ** rng.uniform(-decades, decades, (4, lanes, N))
    sign = rng.choice([-1, 1], (lanes, N))
    slow = 1 - 10.0 ** rng.uniform(-3, 0, (lanes, N))
    a = sign * (np.where(rng.random((lanes, N)) < 0.5, slow, rng.uniform(0, 2.5, (lanes, N))) if discrete else rate)
    a, b, q, r = (np.asarray(x, dtype) for x in (a, b, q, r))
    truth = scalar_riccati(a, b, q, r, discrete)
    solve = jaxlqr.discrete_are_result if discrete else jaxlqr.continuous_are_result
    result = jax.jit(jax.vmap(lambda *rows: solve(*map(jnp.diag, rows))))(a, b, q, r)
    assert np.all(result.status == SolveStatus.SOLVED)
    np.testing.assert_allclose(np.diagonal(result.value, axis1=1, axis2=2), truth, rtol=tolerance)


@pytest.mark.parametrize("solve", [jaxlqr.discrete_are_result, jaxlqr.continuous_are_result])
def test_the_verdict_does_not_depend_on_units(solve):
    changed, _, _ = plants(5)
    result = jax.jit(jax.vmap(solve))(*changed)
    assert np.all(result.status == SolveStatus.SOLVED)
    # A power iteration that is stopped early starts from the same direction in all units.
    np.testing.assert_allclose(result.condition, np.full(LANES, result.condition[0]), rtol=1e-6)
    assert np.all(result.residual < 1e-13)


def test_a_stage_in_nanometres_is_solved_as_one_in_metres():
    period, unit = 1e-3, np.array([1.0, 1e3, 1e9])[:, None, None]
    one, zero = np.ones_like(unit), np.zeros_like(unit)
    a = np.block([[one, period * unit], [zero, one]])
    b = np.block([[period**2 / 2 * unit], [period * one]])
    q = np.block([[1e12 / unit**2, zero], [zero, one]])
    result = jax.vmap(jaxlqr.discrete_are_result, in_axes=(0, 0, 0, None))(a, b, q, jnp.eye(1))
    assert np.all(result.status == SolveStatus.SOLVED)


# Modes on the boundary of stability that no input moves and q weighs: the cost is infinite.
ROTATION = [[0.6, 0.8], [-0.8, 0.6]]
STUCK = {
    "integrator": (np.diag([1.0, 0.5]), True),
    "alternating": (np.diag([-1.0, 0.5]), True),
    "oscillation": (np.block([[np.array(ROTATION), np.zeros((2, 1))], [np.zeros((1, 2)), 0.5 * np.eye(1)]]), True),
    "continuous oscillation": (np.array([[0.0, 2.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 0.0, -1.0]]), False),
    "continuous integrator": (np.diag([0.0, -1.0]), False),
    "continuous, two": (np.diag([0.0, 0.0, -1.0]), False),
}


@pytest.mark.parametrize("name", STUCK)
@pytest.mark.parametrize("weight", [1.0, 1e-9, 1e9])
def test_nothing_moves_a_mode_on_the_boundary(name, weight):
    a, discrete = STUCK[name]
    n = len(a)
    b = np.zeros((n, 1))
    b[-1] = 1.0
    T = np.array([1e-6, 1e6, 1.0])[-n:]
    solve = jaxlqr.discrete_are_result if discrete else jaxlqr.continuous_are_result
    result = jax.jit(solve)(T[:, None] * a / T, T[:, None] * b, weight * np.diag(1 / T**2), np.eye(1))
    assert result.status == SolveStatus.NO_STABILIZING_SOLUTION
    assert np.all(np.isnan(result.value))
    with pytest.raises(ArithmeticError, match="stabilis"):
        result.check()


def test_a_mode_just_inside_the_boundary_is_solved():
    result = jaxlqr.discrete_are_result(np.diag([1 - 1e-9, 0.5]), np.array([[0.0], [1.0]]), np.eye(2), np.eye(1))
    assert result.status == SolveStatus.SOLVED
    # 1 - 1e-9 is rounded by up to 1e-16, a part of 1e-7 of the distance to one.
    np.testing.assert_allclose(result.value[0, 0], 1 / (1 - (1 - 1e-9) ** 2), rtol=1e-7)


def shapes(rng, kind):
    a = rng.normal(size=(N, N))
    if kind == "triangular":
        return np.triu(a)
    return np.diag(np.diag(a) * 10.0 ** rng.uniform(-6, 6, N)) if kind == "diagonal" else a


@pytest.mark.parametrize("kind", ["dense", "triangular", "diagonal"])
@pytest.mark.parametrize("equation", ["discrete", "continuous", "sylvester"])
def test_equations_of_unstable_coefficients_in_units_far_apart(equation, kind):
    rng = np.random.default_rng(11)
    lanes = 12
    a, b, q = (np.stack([make() for _ in range(lanes)]) for make in
               (lambda: shapes(rng, kind), lambda: shapes(rng, kind), lambda: rng.normal(size=(N, N))))  # fmt: skip
    T, V = 10.0 ** rng.uniform(-9, 9, (2, lanes, N))
    a, b = T[:, :, None] * a / T[:, None, :], V[:, :, None] * b / V[:, None, :]
    if equation == "sylvester":
        arrays = a, b, T[:, :, None] * q / V[:, None, :]
        solve, truth, scale = jaxlqr.sylvester_result, sylvester, rectangular_scale
    else:
        arrays = a, T[:, :, None] * (q + q.transpose(0, 2, 1)) * T[:, None, :]
        solve = jaxlqr.discrete_lyapunov_result if equation == "discrete" else jaxlqr.continuous_lyapunov_result
        truth = lyapunov if equation == "discrete" else lambda a, q: sylvester(a, a.T, q)
        scale = covariance_scale
    result = jax.jit(jax.vmap(solve))(*arrays)
    assert np.all(result.status == SolveStatus.SOLVED)
    for i in range(lanes):
        right = truth(*(exact(x[i]) for x in arrays)).astype(float)
        error = relative(result.value[i] - right, scale(jnp.asarray(right)))
        assert error < 1e-15 * max(1e3, 10 * float(result.condition[i])), f"{error:.1e}, {result.condition[i]:.1e}"


def test_a_fast_mode_does_not_make_a_slow_one_singular():
    a = jnp.diag(jnp.array([1e9, 0.5]))
    for solve in (jaxlqr.discrete_lyapunov_result, jaxlqr.continuous_lyapunov_result):
        for method in ("schur", "kronecker"):
            assert solve(a, jnp.eye(2), method=method).status == SolveStatus.SOLVED
    x = jaxlqr.solve_discrete_lyapunov(jnp.array([[2.0, 1e8], [0.0, 3.0]]), jnp.eye(2))
    np.testing.assert_allclose(x, [[-583333333333333.6, 7.5e6], [7.5e6, -0.125]], rtol=1e-14)  # by hand, to rounding


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_entries_of_powers_are_no_explosion(dtype):
    # Eigenvalues 0.5 in units 1e10 apart: an entry of the square is 1e20, which float32 holds.
    a = np.array([[0.5, 1e10, 0], [0, 0.5, 1e10], [0, 0, 0.5]])
    Q, Sigma0 = np.diag([1e-20, 1e-10, 1.0]), np.diag([1.0, 1e-10, 1e-20])
    task = jaxlqr.LQRTask(*(jnp.asarray(x, dtype) for x in (a, np.zeros((3, 1)), Q, np.eye(1), Sigma0)))
    K = jnp.zeros((1, 3), dtype)
    assert bool(jaxlqr.is_stabilizing(K, task))
    truth = float(np.sum(lyapunov(exact(a.T), exact(Q)) * Sigma0))
    np.testing.assert_allclose(jaxlqr.cost(K, task), truth, rtol=1e2 * float(jnp.finfo(dtype).eps))  # ten doublings
