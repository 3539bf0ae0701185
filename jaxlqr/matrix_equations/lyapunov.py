"""The discrete Lyapunov (Stein) equation x = a x a^H + q, as an equation and as the sum of a stable system."""

from typing import Literal

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxlqr.matrix_equations.checks import as_square_pair
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.products import adjoint, matmul
from jaxlqr.matrix_equations.triangular import schur_lyapunov


def _solve(a: Array, q: Array, solver):
    # L(x) = x - a x a^H is linear in x, so differentiating L(x) = q gives L(dx) = dq + (da x a^H + a x da^H): the same
    # solver again, which is what custom_linear_solve does for every order. The transpose of L in the bilinear pairing
    # sum(y * L(x)) is y - a^T y conj(a), the same map for a^T: reverse mode calls the solver on a^T.
    return lax.custom_linear_solve(
        lambda x: x - matmul(a, x, adjoint(a)),
        q,
        solve=lambda _, rhs: solver(a, rhs),
        transpose_solve=lambda _, rhs: solver(a.T, rhs),
    )


def stable_discrete_lyapunov(a: Array, q: Array) -> tuple[Array, Array]:
    """Sum over k of a^k q (a^H)^k, and whether it exists, that is, whether the spectral radius of a is below one.

    Unlike :func:`solve_discrete_lyapunov` this is NaN, with a false flag, where ``a`` is not stable, even though the
    equation may have a solution there: the cost of an unstable system is infinite. Matrix products only, so that it
    compiles for any device; differentiable to any order in both modes.

    Arguments: ``a``, ``q`` of shape [n, n]. Returns: ``(x, stable)``, shapes [n, n] and [].

    >>> import jax.numpy as jnp
    >>> x, stable = stable_discrete_lyapunov(jnp.array([[0.5]]), jnp.array([[3.0]]))
    >>> float(x[0, 0]), bool(stable)
    (4.0, True)
    """
    x = _solve(a, q, lambda matrix, rhs: doubling_sum(matrix, rhs).value)
    # The flag is read off the value, all NaN where the powers do not vanish: auxiliary outputs of custom_linear_solve
    # are marked as batched even where they are not, which breaks jax.hessian.
    return x, ~jnp.isnan(x[0, 0])


def is_schur_stable(a: Array) -> Array:
    """Whether the spectral radius of ``a`` [n, n] is below one, by the powers of ``a``: no eigenvalues, any device."""
    return doubling_sum(lax.stop_gradient(a), jnp.zeros_like(a)).converged


def solve_discrete_lyapunov(
    a: ArrayLike, q: ArrayLike, *, method: Literal["auto", "doubling", "schur"] = "auto"
) -> Array:
    r"""Solve the discrete Lyapunov equation :math:`a x a^H - x + q = 0`, with SciPy's sign and order of arguments.

    A unique solution exists when no two eigenvalues of ``a`` satisfy :math:`\lambda_i \bar\lambda_j = 1`; ``a`` need
    not be stable.

    Arguments:
        a: square matrix [n, n], real or complex.
        q: right-hand side [n, n], of the same dtype; need not be symmetric.
        method: ``"doubling"`` uses matrix products only and runs on any device, but is NaN unless the spectral radius
            of ``a`` is below one. ``"schur"`` works for any ``a`` with a unique solution; it needs the CPU. ``"auto"``
            doubles, and falls back to ``"schur"`` when some matrix of the batch is not stable (on other devices
            than the CPU it does not fall back, and such a lane is NaN).

    Returns:
        The solution [n, n]. Inf or NaN where none is unique, in that lane only. Differentiable in ``a`` and ``q``,
        in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> a = jnp.array([[0.5, 1.0], [0.0, 2.5]])
    >>> x = solve_discrete_lyapunov(a, jnp.eye(2))
    >>> bool(jnp.allclose(a @ x @ a.T - x + jnp.eye(2), 0, atol=1e-5))
    True

    Source: Smith, SIAM J. Appl. Math. 16 (1968); Kitagawa, Int. J. Control 25 (1977) for the Schur method.
    """
    a, q = as_square_pair(a, q, "solve_discrete_lyapunov")
    if method == "doubling":
        return stable_discrete_lyapunov(a, q)[0]
    if method not in ("auto", "schur"):
        raise ValueError(f'method must be "auto", "doubling" or "schur", got {method!r}.')
    solver = schur_lyapunov if method == "schur" else _doubling_else_schur
    return _solve(a, q, solver)


def _doubling_else_schur(a: Array, q: Array) -> Array:
    def fall_back(result):
        general = lax.platform_dependent(a, q, cpu=schur_lyapunov, default=lambda a, q: jnp.full_like(q, jnp.nan))
        return jnp.where(result.converged, result.value, general)

    result = doubling_sum(a, q)
    # Under vmap the condition is one per lane and both branches run for the whole batch: right, only slower.
    return lax.cond(result.converged, lambda r: r.value, fall_back, result)
