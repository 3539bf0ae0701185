"""Layout of the work on a stack of tasks: all at once or in batches, on one device or over a mesh."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxlqr.core.batching import over_stack

TASK_AXIS = "tasks"
RUN_AXIS = "runs"


class Layout(NamedTuple):
    """Static choices of the work on a stack of tasks.

    Attributes:
        batch_size: number of tasks at once on each device, which bounds the memory; None for all tasks.
        mesh: devices over whose axis ``"tasks"`` the stack is sharded; None for one device.
    """

    batch_size: int | None = None
    mesh: Mesh | None = None


def check_batch_size(batch_size: int | None) -> None:
    """Raise ``ValueError`` unless ``batch_size`` is None or a positive integer."""
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(
            f"batch_size must be a positive integer, the tasks worked on at once, or None for all, got {batch_size!r}."
        )


def over_tasks(layout: Layout, function: Callable[..., Any], *stacks: Any) -> Any:
    """``function`` of each task, stacked: arguments and results have a leading task axis.

    On a mesh each device computes its own tasks without communication. A sum over tasks by the caller is one
    all-reduce.

    >>> import jax.numpy as jnp
    >>> print(over_tasks(Layout(batch_size=2), lambda task: task**2, jnp.arange(5)))
    [ 0  1  4  9 16]
    """

    local = partial(over_stack, function, layout.batch_size)
    if layout.mesh is None:
        return local(*stacks)
    rows = PartitionSpec(TASK_AXIS)
    # JAX's check of replicated values has no rule for the solvers' batching rules; every result here is sharded.
    return jax.shard_map(local, mesh=layout.mesh, in_specs=rows, out_specs=rows, check_vma=False)(*stacks)


def num_tasks(tasks: Any) -> int:
    """Length of the leading task axis."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tasks)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"tasks must be a pytree of arrays with one common leading task axis, got leading shapes {lengths}; use "
            "stack_tasks([task]) for a single task."
        )
    ((length,),) = lengths
    if length == 0:
        raise ValueError("tasks must hold at least one task, got a leading axis of length 0.")
    return length
