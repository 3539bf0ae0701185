"""The generalised Sylvester equation a x b + c x d = e.

There is no QZ decomposition in JAX. An angle t turns both pairs at once and leaves the equation as it is:

    a' = cos t a + sin t c,    c' = cos t c - sin t a,
    b' = cos t b + sin t d,    d' = cos t d - sin t b,    a' x b' + c' x d' = a x b + c x d.

Where the solution is unique both pencils are regular, so that a' and d' are invertible but for a few angles. The best
conditioned of several angles leads to the Sylvester equation (a'^-1 c') x + x (b' d'^-1) = a'^-1 e d'^-1. The residual
of the original equation corrects the solution.
"""

import math
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Inexact

from jaxlqr.core.checks import equation_arguments
from jaxlqr.core.products import adjoint, matmul
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.attempts import Solved, Solver, finite_or_zero, with_fallback
from jaxlqr.matrix_equations.kronecker import kronecker_two_terms
from jaxlqr.matrix_equations.lyapunov import on_any_device
from jaxlqr.matrix_equations.results import EquationResult, condition_number, diagnose, empty_result
from jaxlqr.matrix_equations.scaling import equilibrated, magnitude, power_of_two, rectangular_scale
from jaxlqr.matrix_equations.sylvester import SylvesterMethod
from jaxlqr.matrix_equations.triangular import schur_sylvester

# Angles that are tried, between 0 and pi. They include 0, for which a and d are inverted, and pi / 2, for b and c.
_ANGLES = 8
# The second attempt factors a dense matrix with as many rows as the solution has entries.
_LARGEST_SECOND = 1024


def _rotated(a: Array, b: Array, c: Array, d: Array, e: Array) -> Solved:
    finite, (a, b, c, d, e) = finite_or_zero(a, b, c, d, e)

    def turned(angle: Array) -> tuple[Array, Array, Array, Array]:
        cos, sin = jnp.cos(angle).astype(e.dtype), jnp.sin(angle).astype(e.dtype)
        return cos * a + sin * c, cos * b + sin * d, cos * c - sin * a, cos * d - sin * b

    def condition(angle: Array) -> Array:
        left, _, _, right = turned(angle)
        worst = jnp.maximum(_condition(left), _condition(right))
        return jnp.where(jnp.isnan(worst), jnp.inf, worst)

    # The offset keeps angles other than 0 and pi / 2 away from simple ratios of integers.
    steps = np.arange(_ANGLES)
    turns = math.pi / _ANGLES * steps + np.where(steps % (_ANGLES // 2) == 0, 0, 0.03)
    angles = jnp.asarray(turns, jnp.finfo(e.dtype).dtype)
    conditions = lax.map(condition, angles)
    best = jnp.argmin(conditions)
    left, b_turned, c_turned, right = turned(angles[best])
    g = jnp.linalg.solve(left, c_turned)
    h = jnp.linalg.solve(right.T, b_turned.T).T

    def solve(rhs: Array) -> Solved:
        return schur_sylvester(g, h, jnp.linalg.solve(right.T, jnp.linalg.solve(left, rhs).T).T)

    first = solve(e)
    x = jnp.where(first.converged, first.value, 0)
    x = x + solve(e - matmul(a, x, b) - matmul(c, x, d)).value
    regular = conditions[best] * (max(e.shape) * float(jnp.finfo(e.dtype).eps)) < 1
    converged = finite & regular & first.converged & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x, jnp.nan), converged, first.iterations)


def _condition(matrix: Array) -> Array:
    return _norm(matrix) * _norm(jnp.linalg.inv(matrix))


def _norm(matrix: Array) -> Array:
    return jnp.max(jnp.sum(jnp.abs(matrix), axis=0))


def _balanced(solver: Solver) -> Solver:
    """``solver`` called with equations and unknowns scaled so that rows and columns have comparable sizes."""

    def solve(a: Array, b: Array, c: Array, d: Array, e: Array) -> Solved:
        rows, columns = equilibrated(jnp.abs(a) + jnp.abs(c))
        rows_right, columns_right = equilibrated(jnp.abs(b) + jnp.abs(d))
        rows, rows_right = rows.astype(e.dtype)[:, None], rows_right.astype(e.dtype)[:, None]
        columns, columns_right = columns.astype(e.dtype)[None, :], columns_right.astype(e.dtype)[None, :]
        left, right = rows * columns, rows_right * columns_right
        a, c, b, d = a * left, c * left, b * right, d * right
        # Only the products of the sizes of a and b, and of c and d, are given: a and c get the same ratio as b and d.
        sizes = [_norm(x) for x in (a, b, c, d)]
        weight = power_of_two(jnp.sqrt(sizes[2] * sizes[1] / (sizes[0] * sizes[3]))).astype(e.dtype)
        solved = solver(a * weight, b / weight, c, d, e * rows * columns_right)
        value = solved.value * columns.T * rows_right.T
        converged = solved.converged & jnp.all(jnp.isfinite(value))
        return solved._replace(value=jnp.where(converged, value, jnp.nan), converged=converged)

    return solve


def _solver(method: SylvesterMethod, e: Array) -> Solver:
    size = math.isqrt(max(e.size - 1, 0)) + 1
    schur = with_fallback(_rotated, kronecker_two_terms) if e.size <= _LARGEST_SECOND else _rotated
    solvers = {
        "auto": on_any_device(schur, kronecker_two_terms, size),
        "schur": _rotated,
        "kronecker": kronecker_two_terms,
    }
    return _balanced(solvers[method])


def _arguments(function: str, method: SylvesterMethod, *coefficients: ArrayLike) -> list[Array]:
    shapes = zip("abcde", zip(coefficients, ("nn", "mm", "nn", "mm", "nm"), strict=True), strict=True)
    return equation_arguments(function, method, get_args(SylvesterMethod), **dict(shapes))


def solve_generalized_sylvester(
    a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike, e: ArrayLike, *, method: SylvesterMethod = "auto"
) -> Inexact[Array, "n m"]:
    r"""Solution x [n, m] of the generalised Sylvester equation :math:`a x b + c x d = e`.

    A unique solution exists when both pencils :math:`a + \lambda c` and :math:`d - \lambda b` are regular and have no
    common eigenvalue. Each of the four coefficients may be singular.

    Arguments:
        a: square matrix [n, n], real or complex.
        b: square matrix [m, m].
        c: square matrix [n, n].
        d: square matrix [m, m].
        e: right-hand side [n, m]; all of one precision.
        method: ``"schur"`` needs the CPU; ``"kronecker"``, O(n^3 m^3), runs on any device. ``"auto"`` is ``"schur"`` on
            the CPU, with ``"kronecker"`` as second attempt up to n m = 1024; elsewhere it is ``"kronecker"`` up to
            n m = 4096 and NaN above.

    Returns:
        The solution [n, m]; NaN where none is unique, in that lane only. Differentiable in all arguments, in both modes
        and to any order.

    >>> import jax.numpy as jnp
    >>> one, two, three = jnp.array([[1.0]]), jnp.array([[2.0]]), jnp.array([[3.0]])
    >>> x = solve_generalized_sylvester(one, two, two, three, jnp.array([[16.0]]))  # 2 x + 6 x = 16
    >>> print(f"{x[0, 0]:.4f}")
    2.0000

    Source: Chu, Linear Algebra Appl. 93 (1987), uniqueness; Gardiner, Laub, Amato, Moler, ACM TOMS 18 (1992).
    """
    checked = _arguments("solve_generalized_sylvester", method, a, b, c, d, e)
    return _solve(*checked, method=method) if checked[-1].size else checked[-1]


@partial(jax.jit, static_argnames="method")
def _solve(a: Array, b: Array, c: Array, d: Array, e: Array, *, method: SylvesterMethod) -> Array:
    solver = _solver(method, e)
    # L(x) = a x b + c x d is linear in x; its transpose is a^T y b^T + c^T y d^T.
    return lax.custom_linear_solve(
        lambda x: matmul(a, x, b) + matmul(c, x, d),
        e,
        solve=lambda _, rhs: solver(a, b, c, d, rhs).value,
        transpose_solve=lambda _, rhs: solver(a.T, b.T, c.T, d.T, rhs).value,
    )


def generalized_sylvester_result(
    a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike, e: ArrayLike, *, method: SylvesterMethod = "auto"
) -> EquationResult:
    """:func:`solve_generalized_sylvester` with status, residual and condition; costs some nine solves.

    Arguments and methods: as in :func:`solve_generalized_sylvester`. Returns: :class:`EquationResult`, whose ``value``
    [n, m] is the same; not differentiable.

    >>> import jax.numpy as jnp
    >>> one = jnp.eye(1)
    >>> SolveStatus(int(generalized_sylvester_result(one, one, -one, one, one).status)).name  # x - x = 1
    'SINGULAR'
    """
    checked = _arguments("generalized_sylvester_result", method, a, b, c, d, e)
    return _result(*checked, method=method) if checked[-1].size else empty_result(checked[-1])


@partial(jax.jit, static_argnames="method")
def _result(*inputs: Array, method: SylvesterMethod) -> EquationResult:
    a, b, c, d, e = inputs = lax.stop_gradient(inputs)
    solver = _solver(method, e)
    solved = solver(*inputs)
    x = solved.value
    terms = rectangular_scale(magnitude(a, x, b) + magnitude(c, x, d) + jnp.abs(e))
    condition = condition_number(
        lambda y: solver(a, b, c, d, y).value,
        lambda y: solver(adjoint(a), adjoint(b), adjoint(c), adjoint(d), y).value,
        terms,
        rectangular_scale(x),
        x,
    )
    residual = matmul(a, x, b) + matmul(c, x, d) - e
    return diagnose(solved, inputs, residual, terms, condition, SolveStatus.SINGULAR)
