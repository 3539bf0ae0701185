"""a + b x + c x^2 = 0 with known roots, against its roots, 50 digits and differences."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr import SolveStatus
from jaxlqr.matrix_equations import quadratic_matrix_equation_result, solve_quadratic_matrix_equation

N = 4


def with_roots(seed, inside, outside):
    """Coefficients of m (y - 1 l)(l - x) with x of the eigenvalues ``inside`` and y of ``outside`` (0 for infinity)."""
    rng = np.random.default_rng(seed)
    m, t, s = (rng.normal(size=(N, N)) for _ in range(3))
    x = t @ np.diag(inside) @ np.linalg.inv(t)
    inverse = s @ np.diag([1 / root if root else 0.0 for root in outside]) @ np.linalg.inv(s)
    # (1 - inverse l)(l - x) = -x + (1 + inverse x) l - inverse l^2
    return -m @ x, m @ (np.eye(N) + inverse @ x), -m @ inverse, x


CASES = {
    "well separated": ([0.9, 0.5, -0.3, 0.1], [1.2, 3.0, -2.0, 5.0]),
    "singular a and c": ([0.9, 0.0, 0.0, 0.1], [1.2, 0, 0, -5.0]),
    "a root at 1 - 1e-6": ([1 - 1e-6, 0.5, -0.3, 0.1], [1.2, 3.0, -2.0, 0]),
    "a unit root outside": ([0.5, 0.2, -0.3, 0.1], [1 + 1e-6, 3.0, -2.0, 0]),
}


@pytest.mark.parametrize("case", CASES)
def test_known_solutions(case):
    a, b, c, x = with_roots(1, *CASES[case])
    result = quadratic_matrix_equation_result(a, b, c).check()
    # The condition of the solution; the known one is itself rounded in a, b and c.
    tolerance = 10 * float(result.condition) * np.finfo(float).eps
    np.testing.assert_allclose(result.value, x, rtol=0, atol=tolerance * np.abs(x).max())
    assert result.residual < 1e-14  # some roundings of the terms
    np.testing.assert_array_equal(solve_quadratic_matrix_equation(a, b, c), result.value)


def test_a_middle_coefficient_that_stops_cyclic_reduction():
    """b is singular, so cyclic reduction divides by zero in its first step; the pencil does not."""
    # (y - l)(l - x) with x = [[0.5, 1], [0, 0]] and 1 / y = [[0, 0], [-1, 0]]: 1 + y^-1 x = [[1, 0], [-0.5, 0]].
    x, inverse = np.array([[0.5, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [-1.0, 0.0]])
    b = np.eye(2) + inverse @ x
    assert np.linalg.matrix_rank(b) == 1
    result = quadratic_matrix_equation_result(-x, b, -inverse).check()
    np.testing.assert_allclose(result.value, x, atol=1e-14)  # some roundings


def test_a_first_derivative():
    """The quick part of the next test: along one direction, which is enough for a wrong sign or term."""
    args = tuple(map(jnp.asarray, with_roots(5, *CASES["well separated"])[:3]))
    directions = tuple(jnp.asarray(np.random.default_rng(8).normal(size=(N, N))) for _ in args)
    x, dx = jax.jit(lambda args: jax.jvp(solve_quadratic_matrix_equation, args, directions))(args)
    (_, b, c), (da, db, dc) = args, directions
    change = da + db @ x + dc @ x @ x
    residual = (b + c @ x) @ dx + c @ dx @ x + change
    np.testing.assert_allclose(residual, 0, atol=1e-11 * np.abs(change).max())  # condition 1e3


def test_without_a_solution_there_is_nan_and_a_status_in_that_lane_only():
    cases = [with_roots(2, *roots)[:3] for roots in (
        ([0.9, 0.5, -0.3, 0.1], [1.2, 3.0, -2.0, 5.0]),
        ([1.1, 0.5, -0.3, 0.1], [1.2, 3.0, -2.0, 5.0]),
        ([0.9, 0.5, -0.3, 0.1], [0.95, 3.0, -2.0, 5.0]),
        ([1.0, 0.5, -0.3, 0.1], [1.2, 3.0, -2.0, 5.0]),
    )]  # fmt: skip
    cases.append(tuple(np.full_like(x, np.nan) for x in cases[0]))
    stack = [jnp.stack(arrays) for arrays in zip(*cases, strict=True)]
    result = jax.jit(jax.vmap(quadratic_matrix_equation_result))(*stack)
    none = SolveStatus.NO_STABLE_SOLUTION
    wanted = [SolveStatus.SOLVED, none, SolveStatus.NOT_UNIQUE, none, SolveStatus.NOT_FINITE]
    assert result.status.tolist() == wanted
    assert np.isnan(result.value[1:]).all()
    alone = solve_quadratic_matrix_equation(*cases[0])
    np.testing.assert_allclose(result.value[0], alone, rtol=1e-11, atol=1e-12)  # batched LU factorisations round anew
    with pytest.raises(ArithmeticError, match=r"2 of 4 matrix equations NO_STABLE_SOLUTION.*inside the unit circle"):
        jax.tree.map(lambda leaf: leaf[:4], result).check()


def test_units_do_not_matter():
    a, b, c, x = with_roots(3, *CASES["well separated"])
    rng = np.random.default_rng(4)
    rows, units = (10.0 ** rng.uniform(-9, 6, size=N) for _ in range(2))
    scaled = [rows[:, None] * matrix / units for matrix in (a, b, c)]
    y = np.asarray(solve_quadratic_matrix_equation(*scaled)) / units[:, None] * units
    with mpmath.workdps(50):
        exact = newton([mpmath.matrix(matrix.tolist()) for matrix in scaled], x * units[:, None] / units)
    exact = exact / units[:, None] * units
    np.testing.assert_allclose(y, exact, rtol=0, atol=1e-11 * np.abs(exact).max())  # condition 1e4


def newton(coefficients, start):
    """Newton's method in 50 digits, by dense systems."""
    a, b, c = coefficients
    x, identity = mpmath.matrix(start.tolist()), mpmath.eye(N)
    for _ in range(8):
        residual = a + b * x + c * x * x
        left, big = b + c * x, mpmath.zeros(N * N)
        for i in range(N):
            for j in range(N):
                for k in range(N):
                    for m in range(N):
                        big[i * N + j, k * N + m] = left[i, k] * identity[j, m] + c[i, k] * x[m, j]
        step = mpmath.lu_solve(big, mpmath.matrix([-residual[i, j] for i in range(N) for j in range(N)]))
        x = x + mpmath.matrix([[step[i * N + j] for j in range(N)] for i in range(N)])
    return np.array([[float(x[i, j]) for j in range(N)] for i in range(N)])


@pytest.mark.slow
def test_derivatives_of_two_orders():
    a, b, c, _ = with_roots(5, *CASES["well separated"])
    args = tuple(map(jnp.asarray, (a, b, c)))
    check_grads(
        jax.jit(solve_quadratic_matrix_equation), args, order=2, eps=1e-6, rtol=1e-5, atol=1e-5
    )  # of differences


def test_float32_has_half_the_digits():
    a, b, c, x = with_roots(6, *CASES["well separated"])
    y = solve_quadratic_matrix_equation(*(jnp.asarray(matrix, jnp.float32) for matrix in (a, b, c)))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, x, atol=2e-3 * np.abs(x).max())  # eps 1e-7 times a condition of 1e4
