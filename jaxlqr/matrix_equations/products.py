"""Matrix products at full precision.

On GPUs and TPUs the default matrix product rounds its inputs to TF32 or bfloat16, three decimal digits, which a
Lyapunov solve near the stability boundary amplifies into garbage. Every product of this package asks for all digits.
"""

import jax.numpy as jnp
from jax import Array, lax


def matmul(*factors: Array) -> Array:
    """Product of the given matrices from left to right, in the full precision of their dtype."""
    product, *rest = factors
    for factor in rest:
        product = jnp.matmul(product, factor, precision=lax.Precision.HIGHEST)
    return product


def adjoint(a: Array) -> Array:
    """Conjugate transpose of the last two axes."""
    return a.mT.conj()
