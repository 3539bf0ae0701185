"""a x b + c x d = e for coefficients of any rank, against dense systems in NumPy and in 50 digits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr import SolveStatus
from jaxlqr.matrix_equations import generalized_sylvester_result, solve_generalized_sylvester

N, M = 4, 3


def dense(a, b, c, d):
    """The equation as a matrix, rows of x stacked."""
    return np.kron(a, b.T) + np.kron(c, d.T)


def equation(seed, kind="regular"):
    rng = np.random.default_rng(seed)
    a, c, b, d = (rng.normal(size=(k, k)) for k in (N, N, M, M))
    low = np.diag([1.0] * (N - 1) + [0.0])
    if kind == "a and b singular":
        a, b = a @ low, np.diag([0.0, 1.0, 1.0]) @ b
    elif kind == "a and c singular":
        # The ratios of the diagonals: 0, infinity, 2, -2 for a and c; 1/2, 3, -3 for -d and b. None is in both.
        a, c = np.diag([0.0, 1.0, 2.0, -2.0]), np.diag([1.0, 0.0, 1.0, 1.0])
        mix = rng.normal(size=(N, N))
        a, c, b, d = mix @ a, mix @ c, np.diag([2.0, 1.0, -1.0]), np.diag([-1.0, -3.0, -3.0])
    elif kind == "one term":
        c, d = np.zeros_like(c), np.zeros_like(d)
    elif kind == "stein":
        c, d = -np.eye(N), np.eye(M)
    elif kind == "complex":
        a, d = a + 1j * rng.normal(size=(N, N)), d + 1j * rng.normal(size=(M, M))
    return [np.asarray(x) for x in (a, b, c, d, rng.normal(size=(N, M)))]


KINDS = ["regular", "a and b singular", "a and c singular", "one term", "stein", "complex"]


@pytest.mark.parametrize("method", ["schur", "kronecker"])
def test_against_a_dense_system(method):
    for kind in KINDS:
        a, b, c, d, e = equation(1, kind)
        e = e.astype(a.dtype)
        matrix = dense(a, b, c, d)
        expected = np.linalg.solve(matrix, e.ravel()).reshape(e.shape)
        x = solve_generalized_sylvester(a, b.astype(a.dtype), c, d.astype(a.dtype), e, method=method)
        # Both are backward stable; a factor for the dense system's size.
        tolerance = 100 * np.finfo(float).eps * np.linalg.cond(matrix)
        np.testing.assert_allclose(x, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(), err_msg=kind)


@pytest.mark.cpu
def test_large_equations_keep_the_residual_at_rounding():
    rng = np.random.default_rng(2)
    for n, m in ((40, 40), (60, 2)):
        a, c, b, d = (rng.normal(size=(k, k)) for k in (n, n, m, m))
        e = rng.normal(size=(n, m))
        x = np.asarray(solve_generalized_sylvester(a, b, c, d, e))
        terms = np.abs(a) @ np.abs(x) @ np.abs(b) + np.abs(c) @ np.abs(x) @ np.abs(d)
        residual = a @ x @ b + c @ x @ d - e
        # Twice solved by Schur forms: n roundings of the terms, and a factor for what was inverted.
        assert np.max(np.abs(residual) / terms) < 100 * n * np.finfo(float).eps


def test_units_do_not_matter():
    """Rows of the equations and unknowns in units from 1e-9 to 1e6, against 50 digits."""
    a, b, c, d, e = equation(3)
    rng = np.random.default_rng(4)
    left, right, rows, columns = (10.0 ** rng.uniform(-9, 6, size=k) for k in (N, M, N, M))
    a, c = (rows[:, None] * matrix / left for matrix in (a, c))
    b, d = (matrix * columns / right[:, None] for matrix in (b, d))
    e = e * rows[:, None] * columns
    with mpmath.workdps(50):
        exact = mpmath.lu_solve(mpmath.matrix(exact_dense(a, b, c, d)), mpmath.matrix(e.ravel().tolist()))
        exact = np.array([float(value) for value in exact]).reshape(N, M)
    x = solve_generalized_sylvester(a, b, c, d, e)
    # Condition 1e3 of the balanced equation.
    np.testing.assert_allclose(
        np.asarray(x) / (left[:, None] * right), exact / (left[:, None] * right), rtol=1e-12, atol=1e-11
    )
    assert generalized_sylvester_result(a, b, c, d, e).check().residual < 1e-14  # some roundings


def exact_dense(a, b, c, d):
    to = np.vectorize(mpmath.mpf, otypes=[object])
    a, b, c, d = map(to, (a, b, c, d))
    return dense(a, b, c, d).tolist()


def test_singular_equations_are_nan_in_their_lane_only():
    a, b, c, d, e = equation(5)
    # The left pencil a - 2 c is singular, and so is 2 b + d with d = -2 b + (singular).
    a_bad = 2 * c @ np.diag([0.0, 1, 1, 1]) + c @ np.diag([2.0, 0, 0, 0]) * 1.0
    d_bad = -a_eigenvalue(a_bad, c) * b
    stack = [jnp.stack(pair) for pair in ((a, a_bad), (b, b), (c, c), (d, d_bad), (e, e))]
    x = jax.vmap(solve_generalized_sylvester)(*stack)
    np.testing.assert_allclose(x[0], solve_generalized_sylvester(a, b, c, d, e), rtol=1e-10)  # other batched kernels
    assert np.isnan(x[1]).all()
    status = jax.vmap(generalized_sylvester_result)(*stack).status
    assert status.tolist() == [SolveStatus.SOLVED, SolveStatus.SINGULAR]
    with pytest.raises(ArithmeticError, match="1 of 2 matrix equations SINGULAR"):
        jax.vmap(generalized_sylvester_result)(*stack).check()
    assert generalized_sylvester_result(np.full_like(a, np.nan), b, c, d, e).status == SolveStatus.NOT_FINITE


def a_eigenvalue(a, c):
    """Some real eigenvalue l of a - l c."""
    values = np.linalg.eigvals(np.linalg.solve(c, a))
    return float(values[np.argmin(np.abs(values.imag))].real)


@pytest.mark.slow
def test_derivatives_of_two_orders():
    args = tuple(map(jnp.asarray, equation(6)))
    check_grads(jax.jit(solve_generalized_sylvester), args, order=2, atol=1e-5, rtol=1e-5)  # of differences


def test_float32_has_half_the_digits():
    arrays = equation(1)
    exact = solve_generalized_sylvester(*arrays)
    x = solve_generalized_sylvester(*(jnp.asarray(array, jnp.float32) for array in arrays))
    assert x.dtype == jnp.float32
    condition = np.linalg.cond(dense(*arrays[:-1]))
    np.testing.assert_allclose(x, exact, atol=10 * condition * np.finfo(np.float32).eps * np.abs(exact).max())


def test_mistakes_get_one_sentence():
    a, b, c, d, e = equation(7)
    with pytest.raises(ValueError, match=r"argument c must have shape \[n, n\] with n = 4 as in argument a"):
        solve_generalized_sylvester(a, b, d, c, e)
    with pytest.raises(ValueError, match=r"method must be .* got 'qz'; use"):
        solve_generalized_sylvester(a, b, c, d, e, method="qz")
