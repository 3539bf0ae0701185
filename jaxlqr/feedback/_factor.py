"""Factors of positive semidefinite matrices, in units in which their diagonals are of one size."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.core.products import hermitian, matmul
from jaxlqr.matrix_equations.scaling import power_of_two


def factor(matrix: Array, name: str) -> Array:
    """F [n, n] with F' F = ``matrix``, whose symmetric part counts.

    The matrix is scaled to a diagonal of about one first, so that small entries beside large ones keep their digits.

    Raises:
        ValueError: unless the matrix is positive semidefinite to rounding; inside ``jit`` F is NaN instead.
    """
    symmetric = hermitian(matrix)
    d = power_of_two(jnp.sqrt(jnp.abs(lax.stop_gradient(jnp.diagonal(symmetric)))))
    scaled = symmetric / d[:, None] / d[None, :]
    root = _root(scaled)
    if not isinstance(root, Tracer) and not np.all(np.isfinite(np.asarray(root))):
        least = float(np.linalg.eigvalsh(np.asarray(scaled)).min())
        raise ValueError(
            f"{name} must be positive semidefinite, got an eigenvalue {least:.3g} after its diagonal is scaled to one; "
            "mend its sign or its off-diagonal entries."
        )
    return root * d[None, :]


@jax.custom_jvp
def _root(matrix: Array) -> Array:
    """The symmetric square root of a symmetric matrix; NaN unless the matrix is positive semidefinite."""
    roots, vectors = _spectrum(matrix)
    return matmul(vectors * roots[None, :], vectors.T)


def _spectrum(matrix: Array) -> tuple[Array, Array]:
    """Square roots [n] of the eigenvalues, NaN for negative ones, and eigenvectors [n, n]."""
    values, vectors = jnp.linalg.eigh(matrix)
    # Rounding moves an eigenvalue 0 by n rounding units of the largest one.
    small = 4 * len(matrix) * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(values))
    return jnp.sqrt(jnp.where(values > small, values, jnp.where(values >= -small, 0, jnp.nan))), vectors


# Differentiate F F = M: F dF + dF F = dM, a symmetric linear equation; in the eigenvectors of F a division by sums of
# two roots. Where both are 0 the root has no derivative: NaN, and not 0 in silence.
@_root.defjvp
def _(primals, tangents):
    (matrix,), (change,) = primals, tangents
    root = _root(matrix)
    roots, vectors = _spectrum(lax.stop_gradient(matrix))
    sums = roots[:, None] + roots[None, :]

    def divided(right: Array) -> Array:
        inside = matmul(vectors.T, right, vectors) / jnp.where(sums > 0, sums, jnp.nan)
        return matmul(vectors, inside, vectors.T)

    solved = lax.custom_linear_solve(
        lambda x: matmul(root, x) + matmul(x, root), change, solve=lambda _, right: divided(right), symmetric=True
    )
    return root, solved
