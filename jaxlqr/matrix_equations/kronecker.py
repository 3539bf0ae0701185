"""Solvers that write the equation as one dense linear system: O(n^6) work and n^4 memory, on any device."""

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import lu_factor, lu_solve

from jaxlqr.core.batching import lapack_with_batch_rule
from jaxlqr.matrix_equations.attempts import Solved, Solver, finite_or_zero
from jaxlqr.matrix_equations.scaling import power_of_two


def _stein(a: Array, q: Array) -> Solved:
    """x = a x a^H + q as (I - a (x) conj(a)) vec(x) = vec(q), with rows stacked."""
    finite, (a, q) = finite_or_zero(a, q)
    return _dense(jnp.eye(a.size, dtype=a.dtype) - jnp.kron(a, a.conj()), q, finite)


def _sylvester(a: Array, b: Array, q: Array) -> Solved:
    """a x + x b = q as (a (x) I + I (x) b^T) vec(x) = vec(q), with rows stacked."""
    finite, (a, b, q) = finite_or_zero(a, b, q)
    n, m = q.shape
    matrix = jnp.kron(a, jnp.eye(m, dtype=a.dtype)) + jnp.kron(jnp.eye(n, dtype=a.dtype), b.T)
    return _dense(matrix, q, finite)


def _two_terms(a: Array, b: Array, c: Array, d: Array, e: Array) -> Solved:
    """a x b + c x d = e as (a (x) b^T + c (x) d^T) vec(x) = vec(e), with rows stacked."""
    finite, (a, b, c, d, e) = finite_or_zero(a, b, c, d, e)
    return _dense(jnp.kron(a, b.T) + jnp.kron(c, d.T), e, finite)


def _dense(matrix: Array, q: Array, finite: Array) -> Solved:
    # Rows of one size: otherwise their units would choose the pivots.
    rows = power_of_two(jnp.max(jnp.abs(matrix), axis=1)).astype(q.dtype)
    matrix = matrix / rows[:, None]
    factors, pivots = lu_factor(matrix)
    # A pivot below the rounding of the coefficients of its column may as well be zero.
    rounding = 4 * q.shape[0] * jnp.finfo(q.dtype).eps * jnp.max(jnp.abs(matrix), axis=0)
    separated = jnp.all(jnp.abs(jnp.diag(factors)) > rounding)
    value = lu_solve((factors, pivots), q.ravel() / rows).reshape(q.shape)
    converged = finite & separated & jnp.all(jnp.isfinite(value))
    return Solved(jnp.where(converged, value, jnp.nan), converged, jnp.asarray(0, jnp.int32))


def _in_blocks(solver: Solver) -> Solver:
    def size(*shapes: tuple[int, ...]) -> int:  # of the linear system: the entries of the right-hand side
        return shapes[-1][0] * shapes[-1][1]

    return lapack_with_batch_rule(solver, lambda *shapes: size(*shapes) ** 3, lambda *shapes: size(*shapes) ** 2)


kronecker_stein: Solver = _in_blocks(_stein)
kronecker_sylvester: Solver = _in_blocks(_sylvester)
kronecker_two_terms: Solver = _in_blocks(_two_terms)
