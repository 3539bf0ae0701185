"""The discrete and the continuous Lyapunov equation, as equations and as the sums of stable systems."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Inexact

from jaxlqr.core.checks import equation_arguments, refuse_half
from jaxlqr.core.products import adjoint, matmul
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.attempts import Solved, Solver, with_fallback
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.kronecker import kronecker_stein, kronecker_sylvester
from jaxlqr.matrix_equations.powers import pays_off, powers_of, solve_with_powers
from jaxlqr.matrix_equations.results import EquationResult, condition_number, diagnose, empty_result
from jaxlqr.matrix_equations.scaling import (
    balanced_stein,
    balanced_sylvester,
    covariance_scale,
    magnitude,
    outer,
    relative,
)
from jaxlqr.matrix_equations.sign import sign_lyapunov
from jaxlqr.matrix_equations.triangular import schur_stein, schur_sylvester

LyapunovMethod = Literal["auto", "doubling", "schur", "kronecker"]
# Above this the dense system of the Kronecker method, n^4 numbers, would need more than 134 MB in float64.
_LARGEST_KRONECKER = 64


def on_any_device(schur: Solver, kronecker: Solver, size: int) -> Solver:
    """Schur on the CPU, the only device that has it; elsewhere Kronecker, or NaN when that would need too much memory.

    ``size`` is the geometric mean of the numbers of rows and columns.
    """

    def too_large(*args: Array) -> Solved:
        return Solved(jnp.full_like(args[-1], jnp.nan), jnp.asarray(False), jnp.asarray(0, jnp.int32))

    other = kronecker if size <= _LARGEST_KRONECKER else too_large
    return lambda *args: lax.platform_dependent(*args, cpu=schur, default=other)


def _stein_terms(a: Array, q: Array, x: Array) -> Array:
    """Size of the terms of x = a x a^H + q, entry by entry."""
    return magnitude(a, x, adjoint(a)) + jnp.abs(x) + jnp.abs(q)


def _doubling_with_residual(a: Array, q: Array) -> Solved:
    # Highly non-normal powers grow by orders of magnitude before they decay, and the sum keeps the rounding of the
    # largest power. The Schur method is then more accurate by as many digits. The residual decides: it costs four
    # products.
    solved = doubling_sum(a, q)
    x = solved.value
    error = relative(matmul(a, x, adjoint(a)) - x + q, _stein_terms(a, q, x))
    return solved._replace(converged=solved.converged & (error <= 64 * len(a) * jnp.finfo(a.dtype).eps))


def _discrete_solver(method: LyapunovMethod, n: int) -> Solver:
    general = on_any_device(schur_stein, kronecker_stein, n)
    solvers = {
        "auto": with_fallback(_doubling_with_residual, balanced_stein(general)),
        "doubling": doubling_sum,
        "schur": balanced_stein(schur_stein),
        "kronecker": balanced_stein(kronecker_stein),
    }
    return solvers[method]


def _continuous_solver(method: LyapunovMethod, n: int) -> Solver:
    def symmetric(solver: Solver) -> Solver:
        solve = balanced_sylvester(solver)
        return lambda a, q: solve(a, adjoint(a), q)

    solvers = {
        "auto": with_fallback(sign_lyapunov, symmetric(on_any_device(schur_sylvester, kronecker_sylvester, n))),
        "doubling": sign_lyapunov,
        "schur": symmetric(schur_sylvester),
        "kronecker": symmetric(kronecker_sylvester),
    }
    return solvers[method]


# Compiled as a whole also when called outside jit: op by op, a first call would take seconds.
@partial(jax.jit, static_argnames="method")
def _solve_discrete(
    a: Inexact[Array, "n n"], q: Inexact[Array, "n n"], method: LyapunovMethod
) -> Inexact[Array, "n n"]:
    solver = _discrete_solver(method, len(a))

    # L(x) = x - a x a^H is linear in x, so differentiating L(x) = q gives L(dx) = dq + (da x a^H + a x da^H): the same
    # solver again, which is what custom_linear_solve does for every order. The transpose of L in the bilinear pairing
    # sum(y * L(x)) is y - a^T y conj(a), the same map for a^T: reverse mode calls the solver on a^T.
    return lax.custom_linear_solve(
        lambda x: x - matmul(a, x, adjoint(a)),
        q,
        solve=lambda _, rhs: solver(a, rhs).value,
        transpose_solve=lambda _, rhs: solver(a.T, rhs).value,
    )


@partial(jax.jit, static_argnames="method")
def _solve_continuous(
    a: Inexact[Array, "n n"], q: Inexact[Array, "n n"], method: LyapunovMethod
) -> Inexact[Array, "n n"]:
    solver = _continuous_solver(method, len(a))

    # As above with L(x) = a x + x a^H, whose transpose is a^T y + y conj(a), the same map for a^T.
    return lax.custom_linear_solve(
        lambda x: matmul(a, x) + matmul(x, adjoint(a)),
        q,
        solve=lambda _, rhs: solver(a, rhs).value,
        transpose_solve=lambda _, rhs: solver(a.T, rhs).value,
    )


@jax.custom_jvp
@jax.jit
def _stable_discrete(a: Array, q: Array) -> Array:
    return doubling_sum(a, q).value


@_stable_discrete.defjvp
def _(primals, tangents):
    # A value alone is summed without storing anything. Derivatives store the powers of a once. They are constants of
    # the solve: all solves of first and higher order, with a and with its transpose, use the same powers.
    powers = powers_of(primals[0])

    def solve(a: Array, q: Array) -> Array:
        return lax.custom_linear_solve(
            lambda x: x - matmul(a, x, adjoint(a)),
            q,
            solve=lambda _, rhs: solve_with_powers(powers, rhs, transposed=False),
            transpose_solve=lambda _, rhs: solve_with_powers(powers, rhs, transposed=True),
        )

    return jax.jvp(solve, primals, tangents)


def stable_discrete_lyapunov(
    a: Inexact[Array, "n n"], q: Inexact[Array, "n n"]
) -> tuple[Inexact[Array, "n n"], Bool[Array, ""]]:
    """Sum over k of a^k q (a^H)^k, and whether it exists, that is, whether the spectral radius of a is below one.

    If ``a`` is not stable, the result is NaN with a false flag, unlike the result of :func:`solve_discrete_lyapunov`:
    the equation may still have a solution, but the cost of an unstable system is infinite. Matrix products only, so
    that it compiles for any device; differentiable to any order in both modes.

    Arguments: ``a``, ``q`` of shape [n, n]. Returns: ``(x, stable)``, shapes [n, n] and [].

    >>> import jax.numpy as jnp
    >>> x, stable = stable_discrete_lyapunov(jnp.array([[0.5]]), jnp.array([[3.0]]))
    >>> float(x[0, 0]), bool(stable)
    (4.0, True)
    """
    refuse_half("stable_discrete_lyapunov", a=a, q=q)
    x = _stable_discrete(a, q) if pays_off(len(a)) else _solve_discrete(a, q, "doubling")
    # The flag is computed from the value, which is all NaN if the powers do not vanish. An auxiliary output would not
    # work: custom_linear_solve marks it as batched even if it is not, which breaks jax.hessian.
    return x, ~jnp.isnan(x[0, 0])


def stable_continuous_lyapunov(a: Inexact[Array, "n n"], q: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """Solution of a x + x a^H = q [n, n] when all eigenvalues of ``a`` have negative real parts, else NaN."""
    return _solve_continuous(a, q, "doubling")


def is_schur_stable(a: Inexact[Array, "n n"]) -> Bool[Array, ""]:
    """Whether the spectral radius of ``a`` [n, n] is below one, by the powers of ``a``: no eigenvalues, any device."""
    refuse_half("is_schur_stable", a=a)
    return doubling_sum(lax.stop_gradient(a), jnp.zeros_like(a)).converged


def solve_discrete_lyapunov(a: ArrayLike, q: ArrayLike, *, method: LyapunovMethod = "auto") -> Inexact[Array, "n n"]:
    r"""Solve the discrete Lyapunov equation :math:`a x a^H - x + q = 0`, with SciPy's sign and order of arguments.

    A unique solution exists when no two eigenvalues of ``a`` satisfy :math:`\lambda_i \bar\lambda_j = 1`; ``a`` need
    not be stable.

    Arguments:
        a: square matrix [n, n], real or complex.
        q: right-hand side [n, n], of the same precision; need not be symmetric.
        method: ``"doubling"`` uses matrix products only and runs on any device, but is NaN unless the spectral radius
            of ``a`` is below one. ``"schur"`` works for any ``a`` with a unique solution; it needs the CPU.
            ``"kronecker"`` does so on any device, for n up to a few dozen: O(n^6). ``"auto"`` uses doubling. If some
            matrix of the batch is not stable, it then uses ``"schur"`` on the CPU; elsewhere ``"kronecker"`` up to n =
            64, and NaN above.

    Returns:
        The solution [n, n]; NaN where none is unique, in that lane only. Differentiable in ``a`` and ``q``, in both
        modes and to any order.

    >>> import jax.numpy as jnp
    >>> a = jnp.array([[0.5, 1.0], [0.0, 2.5]])
    >>> x = solve_discrete_lyapunov(a, jnp.eye(2))
    >>> bool(jnp.allclose(a @ x @ a.T - x + jnp.eye(2), 0, atol=1e-5))
    True

    Source: Smith, SIAM J. Appl. Math. 16 (1968); Kitagawa, Int. J. Control 25 (1977) for the Schur method.
    """
    a, q = equation_arguments("solve_discrete_lyapunov", method, get_args(LyapunovMethod), a=(a, "nn"), q=(q, "nn"))
    return _solve_discrete(a, q, method) if a.size else q


def solve_continuous_lyapunov(a: ArrayLike, q: ArrayLike, *, method: LyapunovMethod = "auto") -> Inexact[Array, "n n"]:
    r"""Solve the continuous Lyapunov equation :math:`a x + x a^H = q`, with SciPy's sign and order of arguments.

    A unique solution exists when no two eigenvalues of ``a`` satisfy :math:`\lambda_i + \bar\lambda_j = 0`; ``a`` need
    not be stable.

    Arguments:
        a: square matrix [n, n], real or complex.
        q: right-hand side [n, n], of the same precision; need not be symmetric.
        method: as in :func:`solve_discrete_lyapunov`; ``"doubling"`` is the matrix sign iteration, which needs all
            eigenvalues of ``a`` in the left half plane and runs on any device.

    Returns:
        The solution [n, n]; NaN where none is unique, in that lane only. Differentiable in ``a`` and ``q``, in both
        modes and to any order.

    >>> import jax.numpy as jnp
    >>> x = solve_continuous_lyapunov(jnp.array([[-2.0]]), jnp.array([[-4.0]]))  # 2 (-2) x = -4
    >>> print(f"{x[0, 0]:.4f}")
    1.0000

    Source: Roberts, Int. J. Control 32 (1980), sign iteration; Bartels, Stewart, Comm. ACM 15 (1972), Schur method.
    """
    a, q = equation_arguments("solve_continuous_lyapunov", method, get_args(LyapunovMethod), a=(a, "nn"), q=(q, "nn"))
    return _solve_continuous(a, q, method) if a.size else q


def _failure(method: LyapunovMethod) -> SolveStatus:
    return SolveStatus.NOT_STABLE if method == "doubling" else SolveStatus.SINGULAR


def discrete_lyapunov_result(a: ArrayLike, q: ArrayLike, *, method: LyapunovMethod = "auto") -> EquationResult:
    """:func:`solve_discrete_lyapunov` with status, residual and condition; costs some nine solves.

    It takes the same arguments. It returns an :class:`EquationResult` with the same ``value``; not differentiable.

    >>> import jax.numpy as jnp
    >>> SolveStatus(int(discrete_lyapunov_result(jnp.eye(1), jnp.eye(1)).status)).name
    'SINGULAR'
    """
    a, q = equation_arguments("discrete_lyapunov_result", method, get_args(LyapunovMethod), a=(a, "nn"), q=(q, "nn"))
    return _discrete_result(a, q, method) if a.size else empty_result(q)


@partial(jax.jit, static_argnames="method")
def _discrete_result(a: Array, q: Array, method: LyapunovMethod) -> EquationResult:
    a, q = lax.stop_gradient((a, q))
    solver = _discrete_solver(method, len(a))
    solved = solver(a, q)
    x = solved.value
    terms = _stein_terms(a, q, x)
    return _diagnosed(solver, solved, (a, q), matmul(a, x, adjoint(a)) - x + q, terms, method)


def _diagnosed(
    solver: Solver, solved: Solved, inputs: tuple[Array, Array], residual: Array, terms: Array, method: LyapunovMethod
) -> EquationResult:
    a, _ = inputs
    terms = outer(jnp.diagonal(terms), terms)
    condition = condition_number(
        lambda y: solver(a, y).value,
        lambda y: solver(adjoint(a), y).value,
        terms,
        covariance_scale(solved.value),
        solved.value,
    )
    return diagnose(solved, inputs, residual, terms, condition, _failure(method))


def continuous_lyapunov_result(a: ArrayLike, q: ArrayLike, *, method: LyapunovMethod = "auto") -> EquationResult:
    """:func:`solve_continuous_lyapunov` with status, residual and condition; costs some nine solves.

    It takes the same arguments. It returns an :class:`EquationResult` with the same ``value``; not differentiable.

    >>> import jax.numpy as jnp
    >>> SolveStatus(int(continuous_lyapunov_result(-jnp.eye(1), jnp.eye(1)).status)).name
    'SOLVED'
    """
    a, q = equation_arguments("continuous_lyapunov_result", method, get_args(LyapunovMethod), a=(a, "nn"), q=(q, "nn"))
    return _continuous_result(a, q, method) if a.size else empty_result(q)


@partial(jax.jit, static_argnames="method")
def _continuous_result(a: Array, q: Array, method: LyapunovMethod) -> EquationResult:
    a, q = lax.stop_gradient((a, q))
    solver = _continuous_solver(method, len(a))
    solved = solver(a, q)
    x = solved.value
    terms = magnitude(a, x) + magnitude(x, adjoint(a)) + jnp.abs(q)
    return _diagnosed(solver, solved, (a, q), matmul(a, x) + matmul(x, adjoint(a)) - q, terms, method)
