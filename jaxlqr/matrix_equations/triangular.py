"""Solvers by triangular (Schur) form, for any coefficients that give a unique solution. CPU only."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import schur, solve_triangular

from jaxlqr.core.products import adjoint, matmul
from jaxlqr.matrix_equations.attempts import Solved, finite_or_zero
from jaxlqr.matrix_equations.scaling import magnitude, rectangular_scale, relative


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

    def substitute(rhs: Array) -> Array:
        y = _columns(
            matmul(adjoint(u), rhs.astype(t.dtype), u),
            row=lambda j: t[j].conj(),
            matrix=lambda j: identity - t[j, j].conj() * t,
            rhs=lambda c, known: c + jnp.matmul(t, known, precision=lax.Precision.HIGHEST),
        )
        return _like(q, matmul(u, y, adjoint(u)))

    x = _refined(
        substitute,
        q,
        residual=lambda x: q + matmul(a, x, adjoint(a)) - x,
        terms=lambda x: magnitude(a, x, adjoint(a)) + jnp.abs(x) + jnp.abs(q),
    )
    return _finish(x, separated)


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

    def substitute(rhs: Array) -> Array:
        y = _columns(
            matmul(adjoint(u), rhs.astype(t.dtype), v),
            row=lambda j: s[j].conj(),
            matrix=lambda j: t + s[j, j].conj() * identity,
            rhs=lambda c, known: c - known,
        )
        return _like(q, matmul(u, y, adjoint(v)))

    x = _refined(
        substitute,
        q,
        residual=lambda x: q - matmul(a, x) - matmul(x, b),
        terms=lambda x: magnitude(a, x) + magnitude(x, b) + jnp.abs(q),
    )
    return _finish(x, separated)


def _like(q: Array, x: Array) -> Array:
    """``x``, computed from complex factors, with the kind of numbers of ``q``."""
    return x if jnp.iscomplexobj(q) else x.real


def _refined(
    substitute: Callable[[Array], Array],
    q: Array,
    residual: Callable[[Array], Array],
    terms: Callable[[Array], Array],
) -> Array:
    """``substitute(q)``, corrected until the residual is rounding beside ``terms`` in every row and column.

    The unitary factors mix the rows: where they differ in size, the small ones are left with the rounding of the large.
    """
    enough = 4 * sum(q.shape) * float(jnp.finfo(q.dtype).eps)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, rest, size, _, steps = state
        moved = x + substitute(rest)
        new_rest = residual(moved)
        new_size = relative(new_rest, rectangular_scale(terms(moved)))
        better = (new_size < size) | (steps == 0)  # the first value stands, also if it is not finite
        x, rest = jnp.where(better, moved, x), jnp.where(better, new_rest, rest)
        return x, rest, jnp.where(better, new_size, size), better, steps + 1

    def unfinished(state: tuple[Array, ...]) -> Array:
        *_, size, better, steps = state
        return better & (size > enough) & (steps <= _CORRECTIONS)

    start = (jnp.zeros_like(q), q, jnp.asarray(jnp.inf, jnp.finfo(q.dtype).dtype), jnp.asarray(True), jnp.asarray(0))
    return lax.while_loop(unfinished, step, start)[0]


_CORRECTIONS = 3


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


def _finish(x: Array, separated: Array) -> Solved:
    converged = separated & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x, jnp.nan), converged, jnp.asarray(0, jnp.int32))
