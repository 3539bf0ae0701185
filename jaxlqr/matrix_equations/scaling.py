"""Scales that a change of units cannot alter, and errors measured against them.

Other units of the states, z = T x with a diagonal T, turn a into T a T^-1 and a covariance x into T x T: each entry is
multiplied by its own factor. So the code compares the size of an entry with values that have the same factor. Or it
first balances the matrices by powers of two, which is exact.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.attempts import Solved, Solver

# Balancing stops when no row and column differ by more than this: their ratio enters with its fourth root.
_BALANCED = 4.0


def power_of_two(size: Array) -> Array:
    """The power of two next to each entry; 1 for zero, NaN, infinity and negative numbers."""
    # A number with no bits of a fraction: one operation, where frexp and ldexp take more than fifty.
    near = lax.reduce_precision(size, exponent_bits=jnp.finfo(size.dtype).nexp, mantissa_bits=0)
    return jnp.where((near > 0) & jnp.isfinite(near), near, 1)


def similarity(a: Array, floor: float | Array) -> Array:
    """Powers of two d [n] such that row i and column i of d^-1 a d have comparable size for each i.

    The diagonal entry and ``floor`` are added to the size of a row and of a column: without them, states that are
    coupled in one direction only would be scaled until their coupling vanished. Use ``floor=1`` where the equation adds
    the identity to ``a``.
    """
    none = jnp.zeros_like(jnp.abs(a))
    return symplectic(a, none, none, floor)


def symplectic(a: Array, g: Array, q: Array, floor: float | Array) -> Array:
    """Powers of two d [n] that balance the Hamiltonian matrix [[a, g], [q, a^H]] by the scaling (d, 1 / d).

    In the new coordinates a is d^-1 a d, g is d^-1 g d^-1, and q, like the solution of a Riccati equation, is d q d.
    Osborne, J. ACM 7 (1960), for all rows at once and damped.
    """
    size = jnp.abs(a)
    own = jnp.diagonal(size) + floor
    off = size - jnp.diag(jnp.diagonal(size))
    g, q = (jnp.where(jnp.isfinite(x), jnp.abs(x), 0) for x in (g, q))

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        d, _, steps = state
        coupling = off * d[None, :] / d[:, None]
        rows = own + jnp.sum(coupling + g / d[:, None] / d[None, :], axis=1)
        columns = own + jnp.sum(coupling.T + q * d[:, None] * d[None, :], axis=1)
        ratio = rows / columns
        ratio = jnp.where((ratio > 0) & jnp.isfinite(ratio), ratio, 1)
        unequal = jnp.any((ratio > _BALANCED) | (ratio * _BALANCED < 1))
        return d * jnp.sqrt(jnp.sqrt(ratio)), unequal, steps + 1

    # A chain of n states passes a change of units on from neighbour to neighbour.
    cap = 16 + 4 * len(a)
    start = (jnp.ones_like(own), jnp.asarray(True), jnp.asarray(0, jnp.int32))
    return power_of_two(lax.while_loop(lambda s: s[1] & (s[2] < cap), step, start)[0]).astype(a.dtype)


def equilibrated(sizes: Array) -> tuple[Array, Array]:
    """Powers of two, [n] and [m], that scale the rows and columns of the positive ``sizes`` [n, m] to a largest entry
    of about one. Ruiz (2001); rows and columns of zeros keep the factor one."""

    def step(_, factors: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, columns = factors
        scaled = sizes * rows[:, None] * columns[None, :]
        return rows * _inverse_root(jnp.max(scaled, axis=1)), columns * _inverse_root(jnp.max(scaled, axis=0))

    start = (jnp.ones_like(sizes[:, 0]), jnp.ones_like(sizes[0]))
    rows, columns = lax.fori_loop(0, _RUIZ_STEPS, step, start)
    return power_of_two(rows), power_of_two(columns)


# Each step halves the logarithms of the largest entries: 1e300 becomes 2.
_RUIZ_STEPS = 10


def _inverse_root(size: Array) -> Array:
    usable = (size > 0) & jnp.isfinite(size)
    return jnp.where(usable, lax.rsqrt(jnp.where(usable, size, 1)), 1)


def balanced_stein(solver: Solver) -> Solver:
    """``solver`` of x = a x a^H + q, called with a balanced ``a``."""

    def solve(a: Array, q: Array) -> Solved:
        d = similarity(a, 1)[:, None]
        solved = solver(a * d.T / d, q / d / d.T)
        return scaled_back(solved, solved.value * d * d.T)

    return solve


def balanced_sylvester(solver: Solver) -> Solver:
    """``solver`` of a x + x b = q, called with balanced ``a`` and ``b``."""

    def solve(a: Array, b: Array, q: Array) -> Solved:
        d, e = similarity(a, 0)[:, None], similarity(b, 0)[None, :]
        solved = solver(a * d.T / d, b * e / e.T, q / d * e)
        return scaled_back(solved, solved.value * d / e)

    return solve


def scaled_back(solved: Solved, value: Array) -> Solved:
    """``solved`` with this value, scaled back, which may have overflowed."""
    converged = solved.converged & jnp.all(jnp.isfinite(value))
    return solved._replace(value=jnp.where(converged, value, jnp.nan), converged=converged)


def scaled_solve(matrix: Array, right: Array) -> Array:
    """``matrix``^-1 ``right`` for a Hermitian matrix, whose rows and columns are first scaled by their diagonal.

    The pivots, and so the rounding, do not depend on the units of the inputs.
    """
    d = power_of_two(lax.rsqrt(jnp.abs(lax.stop_gradient(jnp.diagonal(matrix)))))[:, None].astype(matrix.dtype)
    return d * jnp.linalg.solve(matrix * d * d.T, d * right)


def outer(diagonal: Array, entries: Array) -> Array:
    """Scale of each entry of a square matrix: sqrt(x_ii x_jj), or its own size where that is larger."""
    root = jnp.sqrt(jnp.abs(diagonal))
    return jnp.maximum(entries, root[:, None] * root[None, :])


def covariance_scale(x: Array) -> Array:
    """sqrt(x_ii x_jj), which bounds the entries of a positive semidefinite x; \\|x_ij\\| where that is larger."""
    return outer(jnp.diagonal(x), jnp.abs(x))


def rectangular_scale(x: Array) -> Array:
    """Product of a factor for the row and one for the column, the geometric means of the entries; or \\|x_ij\\|."""
    size = jnp.abs(x)
    there = size > 0
    logs = jnp.where(there, jnp.log(jnp.where(there, size, 1)), 0)
    counts = [jnp.maximum(jnp.sum(there, axis=axis, keepdims=True, dtype=logs.dtype), 1) for axis in (0, 1)]

    def step(_, factors: tuple[Array, Array]) -> tuple[Array, Array]:
        _, columns = factors
        rows = jnp.sum(jnp.where(there, logs - columns, 0), axis=1, keepdims=True) / counts[1]
        return rows, jnp.sum(jnp.where(there, logs - rows, 0), axis=0, keepdims=True) / counts[0]

    rows, columns = lax.fori_loop(0, 8, step, (jnp.zeros_like(logs[:, :1]), jnp.zeros_like(logs[:1])))
    return jnp.maximum(size, jnp.where(jnp.any(there), jnp.exp(rows + columns), 0))


def relative(error: Array, scale: Array) -> Array:
    """The largest ratio of an entry of ``error`` to its scale; 0 where both are 0, NaN if any is NaN."""
    size = jnp.abs(error)
    ratio = jnp.where(size > 0, size / jnp.where(scale > 0, scale, 0), jnp.where(jnp.isnan(size), size, 0))
    return jnp.max(ratio, initial=0)


def magnitude(*factors: Array) -> Array:
    """Product of the absolute values: it bounds the rounding of the product, entry by entry."""
    return matmul(*(jnp.abs(factor) for factor in factors))
