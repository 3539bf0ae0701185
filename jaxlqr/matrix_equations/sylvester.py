"""The Sylvester equation a x + x b = q."""

import math
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Inexact

from jaxlqr.core.checks import equation_arguments
from jaxlqr.core.products import adjoint, matmul
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.attempts import Solver
from jaxlqr.matrix_equations.kronecker import kronecker_sylvester
from jaxlqr.matrix_equations.lyapunov import on_any_device
from jaxlqr.matrix_equations.results import EquationResult, condition_number, diagnose, empty_result
from jaxlqr.matrix_equations.scaling import balanced_sylvester, magnitude, rectangular_scale
from jaxlqr.matrix_equations.triangular import schur_sylvester

SylvesterMethod = Literal["auto", "schur", "kronecker"]


def _solver(method: SylvesterMethod, a: Array, b: Array) -> Solver:
    size = math.isqrt(max(len(a) * len(b) - 1, 0)) + 1
    solvers = {
        "auto": on_any_device(schur_sylvester, kronecker_sylvester, size),
        "schur": schur_sylvester,
        "kronecker": kronecker_sylvester,
    }
    return balanced_sylvester(solvers[method])


def solve_sylvester(
    a: ArrayLike, b: ArrayLike, q: ArrayLike, *, method: SylvesterMethod = "auto"
) -> Inexact[Array, "n m"]:
    r"""Solve the Sylvester equation :math:`a x + x b = q`, with SciPy's order of arguments.

    A unique solution exists when no eigenvalue of ``a`` is the negative of an eigenvalue of ``b``.

    Arguments:
        a: square matrix [n, n], real or complex.
        b: square matrix [m, m].
        q: right-hand side [n, m]; all of one precision.
        method: ``"schur"`` needs the CPU; ``"kronecker"``, O(n^3 m^3), runs on any device. ``"auto"`` is ``"schur"`` on
            the CPU, elsewhere ``"kronecker"`` up to n m = 4096 and NaN above.

    Returns:
        The solution [n, m]; NaN where none is unique, in that lane only. Differentiable in all three arguments, in both
        modes and to any order.

    >>> import jax.numpy as jnp
    >>> x = solve_sylvester(jnp.array([[1.0]]), jnp.array([[2.0]]), jnp.array([[6.0]]))
    >>> print(f"{x[0, 0]:.4f}")
    2.0000

    Source: Bartels, Stewart, Comm. ACM 15 (1972).
    """
    a, b, q = equation_arguments(
        "solve_sylvester", method, get_args(SylvesterMethod), a=(a, "nn"), b=(b, "mm"), q=(q, "nm")
    )
    return _solve(a, b, q, method) if q.size else q


@partial(jax.jit, static_argnames="method")
def _solve(
    a: Inexact[Array, "n n"], b: Inexact[Array, "m m"], q: Inexact[Array, "n m"], method: SylvesterMethod
) -> Inexact[Array, "n m"]:
    solver = _solver(method, a, b)
    # L(x) = a x + x b is linear in x, so L(dx) = dq - (da x + x db); its transpose is a^T y + y b^T.
    return lax.custom_linear_solve(
        lambda x: matmul(a, x) + matmul(x, b),
        q,
        solve=lambda _, rhs: solver(a, b, rhs).value,
        transpose_solve=lambda _, rhs: solver(a.T, b.T, rhs).value,
    )


def sylvester_result(a: ArrayLike, b: ArrayLike, q: ArrayLike, *, method: SylvesterMethod = "auto") -> EquationResult:
    """:func:`solve_sylvester` with status, residual and condition; costs some nine solves.

    It takes the same arguments. It returns an :class:`EquationResult` with the same ``value``; not differentiable.

    >>> import jax.numpy as jnp
    >>> SolveStatus(int(sylvester_result(jnp.eye(1), -jnp.eye(1), jnp.eye(1)).status)).name
    'SINGULAR'
    """
    a, b, q = equation_arguments(
        "sylvester_result", method, get_args(SylvesterMethod), a=(a, "nn"), b=(b, "mm"), q=(q, "nm")
    )
    return _result(a, b, q, method) if q.size else empty_result(q)


@partial(jax.jit, static_argnames="method")
def _result(a: Array, b: Array, q: Array, method: SylvesterMethod) -> EquationResult:
    a, b, q = lax.stop_gradient((a, b, q))
    solver = _solver(method, a, b)
    solved = solver(a, b, q)
    x = solved.value
    terms = rectangular_scale(magnitude(a, x) + magnitude(x, b) + jnp.abs(q))
    condition = condition_number(
        lambda y: solver(a, b, y).value,
        lambda y: solver(adjoint(a), adjoint(b), y).value,
        terms,
        rectangular_scale(x),
        x,
    )
    residual = matmul(a, x) + matmul(x, b) - q
    return diagnose(solved, (a, b, q), residual, terms, condition, SolveStatus.SINGULAR)
