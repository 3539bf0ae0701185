"""Tasks, and runs, sharded over the devices of one or many processes: JAX's own SPMD runtime does the work."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxlqr.core.layout import RUN_AXIS, TASK_AXIS, num_tasks
from jaxlqr.core.types import PyTree


def make_mesh(num_run_shards: int = 1, devices: Any = None) -> Mesh:
    """Mesh of all devices, of all processes, with the axes ``"runs"`` and ``"tasks"``.

    Arguments:
        num_run_shards: length of the axis of independent runs (seeds, settings); the tasks get the rest.
        devices: the devices to use; all of them unless given.

    Raises:
        ValueError: when the devices cannot be divided so.

    >>> make_mesh().axis_names
    ('runs', 'tasks')
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    if num_run_shards < 1 or devices.size % num_run_shards:
        raise ValueError(
            f"num_run_shards must divide the number of devices, {devices.size}, got {num_run_shards}; use "
            f"{_divisors(devices.size)}."
        )
    return Mesh(devices.reshape(num_run_shards, -1), (RUN_AXIS, TASK_AXIS))


def shard_tasks(tasks: PyTree, mesh: Mesh, *, batched: bool = False) -> PyTree:
    """Spread a stack of tasks over the devices of a mesh; :func:`jaxlqr.meta_train` then works there.

    Each device holds, and works on, its own tasks only; an outer step is one all-reduce of a gradient. Random draws are
    keyed by the index of a task in the stack, not by its device, so that the result does not depend on the mesh.

    Arguments:
        tasks: pytree with a leading task axis [M, ...]; with ``batched`` runs first, [runs, M, ...]. With several
            processes, each of them passes the same values.
        mesh: see :func:`make_mesh`.

    Returns:
        The same pytree of sharded arrays.

    Raises:
        ValueError: when the tasks, or the runs, cannot be divided evenly among the devices.

    >>> import jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[0.5]], [[1.0]])] * 8)
    >>> tuple(shard_tasks(tasks, make_mesh()).A.sharding.spec)
    ('tasks',)
    """
    lead = (RUN_AXIS, TASK_AXIS) if batched else (TASK_AXIS,)
    num_tasks(tasks)
    first = np.shape(jax.tree.leaves(tasks)[0])
    for name, length in zip(lead, first, strict=False):
        if length % mesh.shape[name]:
            raise ValueError(
                f"the {length} {name} must divide evenly among the {mesh.shape[name]} devices of the mesh's axis "
                f"{name!r}; use {length - length % mesh.shape[name] or mesh.shape[name]} of them, or another mesh."
            )
    sharding = NamedSharding(mesh, PartitionSpec(*lead))
    return jax.tree.map(lambda leaf: _place(leaf, sharding), tasks)


def mesh_of(tasks: PyTree) -> Mesh | None:
    """The mesh over whose task axis ``tasks`` are sharded, if they are."""
    for leaf in jax.tree.leaves(tasks):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and TASK_AXIS in sharding.mesh.axis_names:
            return sharding.mesh if isinstance(sharding.mesh, Mesh) else None
    return None


def place(tree: PyTree, mesh: Mesh | None, lead: tuple[str, ...]) -> PyTree:
    """Arrays with the leading axes ``lead`` of the mesh, else replicated; untouched without a mesh."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: _place(leaf, NamedSharding(mesh, PartitionSpec(*lead))), tree)


def with_task_axis(tasks: PyTree, *, batched: bool) -> PyTree:
    """A task, or with ``batched`` one for each run, with a task axis of length one; runs keep all devices of a mesh."""
    axis, mesh = (1 if batched else 0), mesh_of(tasks)
    if mesh is None or not batched:
        return jax.tree.map(lambda leaf: np.expand_dims(leaf, axis), tasks)
    by_run = Mesh(mesh.devices.reshape(-1, 1), (RUN_AXIS, TASK_AXIS))
    return place(jax.tree.map(lambda leaf: jnp.expand_dims(leaf, axis), tasks), by_run, (RUN_AXIS, TASK_AXIS))


def to_host(array: Any) -> np.ndarray:
    """An array of any sharding on the host of every process."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


def _place(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    # From the host, by slices: a process reads only the slices of its own devices.
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _divisors(count: int) -> str:
    return ", ".join(str(k) for k in range(1, count + 1) if count % k == 0)
