"""Cholesky factors of innovation covariances; those of up to four measurements are written out.

A batch of small LAPACK calls on a CPU takes longer than the arithmetic, and blocks fusion.
"""

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

_LARGEST_UNROLLED = 4
Factor = Array | list[list[Array]]  # the matrix, or the entries of its lower half


def factor(matrix: Array) -> Factor:
    """The lower factor L of matrix = L L^T; NaN where the matrix is not positive definite."""
    if len(matrix) > _LARGEST_UNROLLED:
        return jnp.linalg.cholesky(matrix, symmetrize_input=False)
    rows: list[list[Array]] = []
    for i in range(len(matrix)):
        row: list[Array] = []
        for j in range(i):
            row.append(_less(matrix[i, j], row, rows[j], j) / rows[j][j])
        square = _less(matrix[i, i], row, row, i)
        # Zero is no variance either: NaN in place of the infinite derivative of a root.
        rows.append([*row, jnp.sqrt(jnp.where(square > 0, square, jnp.nan))])
    return rows


def _less(value: Array, left: list[Array], right: list[Array], count: int) -> Array:
    for x, y in zip(left[:count], right[:count], strict=True):
        value = value - x * y
    return value


def log_determinant(lower: Factor) -> Array:
    """Logarithm of det(L L^T)."""
    diagonal = [row[-1] for row in lower] if isinstance(lower, list) else jnp.diagonal(lower)
    return 2 * jnp.sum(jnp.log(jnp.stack(diagonal) if isinstance(diagonal, list) else diagonal))


def solve_lower(lower: Factor, right: Array) -> Array:
    """L^-1 right."""
    if not isinstance(lower, list):
        return solve_triangular(lower, right, lower=True)
    solved: list[Array] = []
    for i, row in enumerate(lower):
        solved.append(_without(right[i], row, solved) / row[i])
    return jnp.stack(solved)


def solve_upper(lower: Factor, right: Array) -> Array:
    """L^-T right."""
    if not isinstance(lower, list):
        return solve_triangular(lower, right, lower=True, trans=1)
    solved: list[Array] = []  # from the last row up
    for i in reversed(range(len(lower))):
        column = [lower[k][i] for k in reversed(range(i + 1, len(lower)))]
        solved.append(_without(right[i], column, solved) / lower[i][i])
    return jnp.stack(solved[::-1])


def _without(value: Array, factors: list[Array], solved: list[Array]) -> Array:
    for weight, known in zip(factors, solved, strict=False):
        value = value - weight * known
    return value
