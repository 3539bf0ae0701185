"""The product of small matrices as one bilinear primitive, whose sum over k is written out only after differentiation.

Written out in the traced program, sum_k a[:, k] b[k, :] is fast, but its slices are differentiated into padded sums:
cost and gradient of 4096 tasks at n = 4 take 8.0 ms instead of 4.0 ms, and longer to compile. As a primitive, the
derivative of a product is two products, in every order, and the transpose of a product is one product.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.interpreters import ad, batching, mlir

from jaxlqr.core.batching import in_blocks

# Tasks in one block on the CPU.
_BLOCK = 256
# The class of all primitives. jax.extend.core has it too, but importing that takes as long as importing this package.
Primitive: Any = type(jax.lax.add_p)


def _written_out(a: Array, b: Array) -> Array:
    product = a[..., :, 0, None] * b[..., None, 0, :]
    for k in range(1, a.shape[-1]):
        product = product + a[..., :, k, None] * b[..., None, k, :]
    return product


def _in_blocks(a: Array, b: Array) -> Array:
    # XLA would fuse a chain of products into one loop and compute the inner ones anew for each entry of the outer one:
    # a meta-gradient of 4096 tasks at n = 4 took 23 ms instead of 14. Loops over blocks are not fused.
    if a.ndim == 2:
        return _written_out(a, b)
    rows = [arg.reshape(-1, *arg.shape[-2:]) for arg in (a, b)]
    return in_blocks(_written_out, _BLOCK, *rows).reshape(*a.shape[:-1], b.shape[-1])


def _abstract(a, b):
    return a.update(shape=(*a.shape[:-1], b.shape[-1]), weak_type=False)


def _batch(args, axes):
    # To the front. Unbatched arguments are repeated, which is free after XLA fuses the lowered program.
    (size,) = {arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None}
    moved = [
        jnp.broadcast_to(arg, (size, *arg.shape)) if axis is None else jnp.moveaxis(arg, axis, 0)
        for arg, axis in zip(args, axes, strict=True)
    ]
    return _product.bind(*moved), 0


_product = Primitive("small_matrix_product")
_product.def_impl(jax.jit(_written_out))
_product.def_abstract_eval(_abstract)
mlir.register_lowering(_product, mlir.lower_fun(_written_out, multiple_results=False))
mlir.register_lowering(_product, mlir.lower_fun(_in_blocks, multiple_results=False), platform="cpu")
batching.primitive_batchers[_product] = _batch
ad.defbilinear(_product, lambda ct, a, b: _product.bind(ct, b.mT), lambda ct, a, b: _product.bind(a.mT, ct))


def small_product(a: Array, b: Array) -> Array:
    """a b for matrices [m, k] and [k, n] of one dtype, none of whose sizes is zero."""
    return _product.bind(a, b)
