"""Solvers by triangular (Schur) form, for any coefficients that give a unique solution. CPU only."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import schur, solve_triangular

from jaxlqr.core.products import adjoint, matmul
from jaxlqr.matrix_equations.attempts import Solved, finite_or_zero
from jaxlqr.matrix_equations.scaling import magnitude


def schur_stein(a: Array, q: Array) -> Solved:
    """Solve x = a x a^H + q. Cost O(n^3).

    With a = u t u^H the unknown y = u^H x u solves y = t y t^H + c. Column j of t^H involves the columns k >= j of y:

        (I - conj(t_jj) t) y_j = c_j + t sum_{k > j} conj(t_jk) y_k,

    triangular systems to be solved from the last column to the first.
    """
    finite, (a, q) = finite_or_zero(a, q)
    t, u = schur(a, output="complex")
    eigenvalues, sizes = jnp.diag(t), _sizes(a, u)
    gaps = jnp.abs(1 - eigenvalues[:, None] * eigenvalues[None, :].conj())
    separated = finite & _separated(gaps, 1 + sizes[:, None] * sizes[None, :])
    identity = jnp.eye(a.shape[-1], dtype=t.dtype)
    y = _columns(
        matmul(adjoint(u), q.astype(t.dtype), u),
        row=lambda j: t[j].conj(),
        matrix=lambda j: identity - t[j, j].conj() * t,
        rhs=lambda c, known: c + jnp.matmul(t, known, precision=lax.Precision.HIGHEST),
    )
    return _finish(matmul(u, y, adjoint(u)), q, separated)


def schur_sylvester(a: Array, b: Array, q: Array) -> Solved:
    """Solve a x + x b = q. Cost O(n^3 + m^3 + n m (n + m)).

    With a = u t u^H and b^H = v s v^H the unknown y = u^H x v solves t y + y s^H = c, so that for the last column first

        (t + conj(s_jj) I) y_j = c_j - sum_{k > j} conj(s_jk) y_k.
    """
    finite, (a, b, q) = finite_or_zero(a, b, q)
    t, u = schur(a, output="complex")
    s, v = schur(adjoint(b), output="complex")
    gaps = jnp.abs(jnp.diag(t)[:, None] + jnp.diag(s)[None, :].conj())
    separated = finite & _separated(gaps, _sizes(a, u)[:, None] + _sizes(adjoint(b), v)[None, :])
    identity = jnp.eye(a.shape[-1], dtype=t.dtype)
    y = _columns(
        matmul(adjoint(u), q.astype(t.dtype), v),
        row=lambda j: s[j].conj(),
        matrix=lambda j: t + s[j, j].conj() * identity,
        rhs=lambda c, known: c - known,
    )
    return _finish(matmul(u, y, adjoint(v)), q, separated)


def _sizes(a: Array, u: Array) -> Array:
    """The change of each eigenvalue by rounding of the entries of ``a``, over eps: (|u|^H |a| |u|)_jj."""
    return jnp.sum(jnp.abs(u) * magnitude(a, u), axis=0)


def _separated(gaps: Array, sizes: Array) -> Array:
    # Rounding the coefficients moves the two eigenvalues of a pair; a gap below that may as well be zero. Each pair is
    # judged by its own size: a slow mode is not singular because another one is fast.
    return jnp.all(gaps > 4 * gaps.shape[0] * jnp.finfo(gaps.dtype).eps * sizes)


def _columns(
    c: Array,
    row: Callable[[Array], Array],
    matrix: Callable[[Array], Array],
    rhs: Callable[[Array, Array], Array],
) -> Array:
    """Back substitution by columns; columns of y that are not known yet are zero."""

    def column(y: Array, j: Array) -> tuple[Array, None]:
        known = jnp.matmul(y, row(j), precision=lax.Precision.HIGHEST)
        solved = solve_triangular(matrix(j), rhs(c[:, j], known), lower=False)
        return y.at[:, j].set(solved), None

    return lax.scan(column, jnp.zeros_like(c), jnp.arange(c.shape[1] - 1, -1, -1))[0]


def _finish(x: Array, q: Array, separated: Array) -> Solved:
    x = x if jnp.iscomplexobj(q) else x.real
    converged = separated & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x, jnp.nan), converged, jnp.asarray(0, jnp.int32))
