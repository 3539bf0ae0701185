"""Solvers that write the equation as one dense linear system: O(n^6) work and n^4 memory, on any device."""

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import lu_factor, lu_solve

from jaxlqr.matrix_equations.batching import Solved, Solver, finite_or_zero, lapack_with_batch_rule


def _stein(a: Array, q: Array) -> Solved:
    """x = a x a^H + q as (I - a (x) conj(a)) vec(x) = vec(q), with rows stacked."""
    finite, (a, q) = finite_or_zero(a, q)
    matrix = jnp.eye(a.size, dtype=a.dtype) - jnp.kron(a, a.conj())
    scale = 1 + jnp.linalg.norm(a) ** 2
    return _dense(matrix, q, finite, scale)


def _sylvester(a: Array, b: Array, q: Array) -> Solved:
    """a x + x b = q as (a (x) I + I (x) b^T) vec(x) = vec(q), with rows stacked."""
    finite, (a, b, q) = finite_or_zero(a, b, q)
    n, m = q.shape
    matrix = jnp.kron(a, jnp.eye(m, dtype=a.dtype)) + jnp.kron(jnp.eye(n, dtype=a.dtype), b.T)
    return _dense(matrix, q, finite, jnp.linalg.norm(a) + jnp.linalg.norm(b))


def _dense(matrix: Array, q: Array, finite: Array, scale: Array) -> Solved:
    factors, pivots = lu_factor(matrix)
    # A pivot below the rounding of the coefficients may as well be zero.
    smallest = jnp.min(jnp.abs(jnp.diag(factors)))
    separated = smallest > 4 * q.shape[0] * jnp.finfo(q.dtype).eps * scale
    value = lu_solve((factors, pivots), q.ravel()).reshape(q.shape)
    converged = finite & separated & jnp.all(jnp.isfinite(value))
    return Solved(jnp.where(converged, value, jnp.nan), converged, jnp.asarray(0, jnp.int32))


def _in_blocks(solver: Solver) -> Solver:
    def size(*shapes: tuple[int, ...]) -> int:  # of the linear system: the entries of the right-hand side
        return shapes[-1][0] * shapes[-1][1]

    return lapack_with_batch_rule(solver, lambda *shapes: size(*shapes) ** 3, lambda *shapes: size(*shapes) ** 2)


kronecker_stein: Solver = _in_blocks(_stein)
kronecker_sylvester: Solver = _in_blocks(_sylvester)
