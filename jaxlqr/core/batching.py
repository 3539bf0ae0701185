"""Batching rules: a function gets one leading task axis under any nest of vmaps, in blocks that bound the memory.

These tools are for functions that are never differentiated through: those inside ``lax.custom_linear_solve`` or inside
the primal of a ``custom_jvp``. Only :func:`over_stack` is differentiated like the function that it calls.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap


def with_batch_rule(single: Callable[..., Any], batched: Callable[..., Any]) -> Callable[..., Any]:
    """``single`` for one task; under any nest of vmaps ``batched``, on arrays with one leading task axis."""

    @custom_vmap
    def many(*args: Array) -> Any:
        return batched(*args)

    @many.def_vmap
    def _(axis_size, in_batched, *args):
        flat = [array.reshape(-1, *array.shape[2:]) for array in _with_axis(axis_size, in_batched, args)]
        nested = jax.tree.map(lambda leaf: leaf.reshape(axis_size, -1, *leaf.shape[1:]), many(*flat))
        return nested, jax.tree.map(lambda _: True, nested)

    @custom_vmap
    def one(*args: Array) -> Any:
        return single(*args)

    @one.def_vmap
    def _(axis_size, in_batched, *args):
        result = many(*_with_axis(axis_size, in_batched, args))
        return result, jax.tree.map(lambda _: True, result)

    return one


def _with_axis(axis_size: int, in_batched: list[bool], args: tuple[Array, ...]) -> list[Array]:
    return [
        arg if batched else jnp.broadcast_to(arg, (axis_size, *arg.shape))
        for arg, batched in zip(args, in_batched, strict=True)
    ]


def over_stack(function: Callable[..., Any], batch_size: int | None, *stacks: Any) -> Any:
    """``function`` of each member of pytrees with a leading axis, ``batch_size`` of them side by side; None for all."""
    count = len(jax.tree.leaves(stacks)[0])
    if batch_size is None or batch_size >= count:
        return jax.vmap(function)(*stacks)
    # A batch of one would make XLA copy whole stacks first, only to move an axis of length one.
    return lax.map(lambda one: function(*one), stacks, batch_size=None if batch_size == 1 else batch_size)


def in_blocks(function: Callable[..., Any], size: int, *arrays: Array) -> Any:
    """``function`` of arrays with a leading task axis, called for ``size`` tasks at a time."""
    num_tasks = arrays[0].shape[0]
    if num_tasks <= size:
        return function(*arrays)
    num_blocks = -(-num_tasks // size)

    def blocked(array: Array) -> Array:
        padding = [(0, num_blocks * size - num_tasks)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, padding).reshape(num_blocks, size, *array.shape[1:])

    result = lax.map(lambda block: function(*block), tuple(map(blocked, arrays)))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num_tasks], result)


def lapack_with_batch_rule(
    function: Callable[..., Any], flops: Callable[..., int], numbers: Callable[..., int] = lambda *_: 1
) -> Callable[..., Any]:
    """``function``, a call of LAPACK that costs ``flops(*shapes)``, so that on a CPU no batch of it can block another.

    jaxlib distributes a larger batch over the threads that run programs, and the calling thread waits. On two cores,
    two independent calls can then wait for each other forever (docs/numerics.md). jaxlib computes batches of up to
    200,000 operations on the calling thread, so this function passes blocks of that size.

    On other devices the blocks bound the memory, if the function needs many more ``numbers(*shapes)`` than its
    arguments have. XLA reserves the memory for both branches of a condition: without blocks, 1000 tasks might not fit
    even if no task needs the second branch.
    """

    def batched(*args: Array) -> Any:
        shapes = [arg.shape[1:] for arg in args]
        in_line, in_memory = _INLINE_FLOPS // flops(*shapes), _NUMBERS // numbers(*shapes)

        def blocks(size: int) -> Callable[..., Any]:
            return partial(in_blocks, jax.vmap(function), max(1, size))

        return lax.platform_dependent(*args, cpu=blocks(in_line), default=blocks(in_memory))

    return with_batch_rule(function, batched)


_INLINE_FLOPS = 200_000  # kMinWorkPerTask in jaxlib's lapack_kernels.cc; checked for 0.10.2
_NUMBERS = 2**25  # a quarter of a GiB in float64
