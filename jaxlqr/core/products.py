"""Matrix products at full precision, and fast for batches of small matrices.

On GPUs and TPUs the default matrix product rounds its inputs to TF32 or bfloat16, three decimal digits, which a
Lyapunov solve near the stability boundary amplifies into garbage. Every product of this package therefore sets the
highest precision.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.small_product import small_product

# Largest matrices whose product is written out as a sum over k. Under vmap XLA's CPU backend then makes one fused loop
# of it, 11 times as fast as its batched dot for 4 x 4. Above that, chains of products are computed over and over inside
# one fusion: written out at n = 8, a meta-gradient takes 1.4 times as long, and four times as long to compile.
_LARGEST_UNROLLED = 4


def matmul(*factors: Array) -> Array:
    """Product of the given matrices from left to right, in the full precision of their dtype."""
    product, *rest = factors
    for factor in rest:
        product = _product(product, factor)
    return product


def _product(a: Array, b: Array) -> Array:
    sizes = (*a.shape[-2:], *b.shape[-2:])
    plain = a.ndim == b.ndim == 2 and a.shape[-1] == b.shape[-2] and a.dtype == b.dtype
    if not plain or not 0 < min(sizes) <= max(sizes) <= _LARGEST_UNROLLED:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    return small_product(a, b)


def adjoint(a: Array) -> Array:
    """Conjugate transpose of the last two axes."""
    return a.mT.conj()


def hermitian(a: Array) -> Array:
    """Hermitian part of a square matrix."""
    return (a + adjoint(a)) / 2
