"""Eigenvalues of small symmetric matrices, written out, so that a scan over them calls no LAPACK."""

import jax.numpy as jnp
from jax import Array


def eigh(a: Array) -> tuple[Array, Array]:
    """Eigenvalues [n], in no order, and orthonormal eigenvectors, the columns of [n, n], of a real symmetric matrix.

    For n = 2 by one Jacobi rotation, in operations that fuse with what stands around them; else by LAPACK.

    >>> values, vectors = eigh(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> sorted(values.tolist())
    [1.0, 3.0]
    """
    if a.shape[0] == 2:
        return _rotated(a)
    return jnp.linalg.eigh(a)


def _rotated(a: Array) -> tuple[Array, Array]:
    # The smaller root t of t^2 + t (q - p) / b = 1, the tangent of the angle; 0 where the matrix is a multiple of 1.
    p, b, q = a[0, 0], a[0, 1], a[1, 1]
    gap = jnp.abs(q - p) + jnp.hypot(q - p, 2 * b)
    tangent = jnp.where(gap > 0, jnp.where(q < p, -2, 2) * b / jnp.where(gap > 0, gap, 1), 0)
    cosine = 1 / jnp.sqrt(1 + tangent**2)
    sine = tangent * cosine
    vectors = jnp.stack([jnp.stack([cosine, sine]), jnp.stack([-sine, cosine])])
    return jnp.stack([p - tangent * b, q + tangent * b]), vectors
