"""Linear equations that may be singular, judged in units that the judgement chooses."""

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.scaling import similarity


def checked_solve(matrix: Array, known: Array, right: Array, floor: float) -> tuple[Array, Array]:
    """``matrix``^-1 ``right`` [n, k], and whether the matrix [n, n] is singular to rounding.

    Each entry of the matrix is known to a rounding unit of the same entry of ``known``. The matrix counts as singular
    if an error of that size can make it singular. The test: the spectral radius of abs(matrix^-1) known, Skeel's
    condition number, reaches the inverse of the rounding unit. Other units of rows and columns do not change that
    number.

    Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), chapter 7.
    """
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    scale = similarity(lax.stop_gradient(matrix), floor)[:, None]
    solved = jnp.linalg.solve(matrix * scale.T / scale, jnp.concatenate([eye, right / scale], axis=1))
    inverse, result = solved[:, : len(eye)], solved[:, len(eye) :] * scale
    condition = _spectral_radius(
        matmul(jnp.abs(lax.stop_gradient(inverse)), lax.stop_gradient(known) * scale.T / scale)
    )
    return result, ~(condition * len(eye) * jnp.finfo(matrix.dtype).eps < 1)


def _spectral_radius(x: Array) -> Array:
    """The spectral radius of a nonnegative matrix, times a factor between 1 and n^(1/16), from traces, which do not
    depend on units."""
    logarithm = jnp.zeros((), x.dtype)
    for power in (1, 2, 4, 8):
        size = jnp.trace(x)
        x = x / size
        logarithm = logarithm + jnp.log(size) / power
        x = matmul(x, x)
    return jnp.exp(logarithm + jnp.log(jnp.trace(x)) / 16)
