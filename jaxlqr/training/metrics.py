"""Records of training in addition to the loss: a function that the caller passes, or one registered for a class of
tasks."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxlqr.core.layout import RUN_AXIS, Layout, over_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.oracles.protocol import Loss
from jaxlqr.training.result import TrainingResult
from jaxlqr.training.sharding import to_host

Metrics = Callable[[PyTree, Any], dict[str, Array]]


def no_metrics(params: PyTree, task: PyTree) -> dict[str, Array]:
    """Empty dict: as ``metrics`` of :class:`jaxlqr.Output` it records the loss alone."""
    return {}


@dataclass(frozen=True)
class Recording:
    """The scalars that training records for one kind of task, and the rows that it adds when a run ends.

    Attributes:
        scalars: function (params, task, loss, value) -> dict of scalars, unbatched, called at each iterate inside the
            compiled loop. ``value`` is the value of ``loss``, so that the loss is not computed twice.
        reference: function task -> dict of arrays, unbatched, called once a run.
        compare: function (history, reference) -> dict of further rows of the history, called once, when the history is
            complete; the arrays of ``reference`` broadcast against the rows. Give both functions or none.

    Raises:
        ValueError: when one of ``reference`` and ``compare`` is given without the other.

    A recording is passed as ``metrics`` of :class:`jaxlqr.Output`, or registered by :func:`record_for`.

    >>> import jaxlqr, jax.numpy as jnp
    >>> from jaxlqr.training import Recording
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> size = Recording(lambda params, task, loss, value: {"size": jnp.sum(params**2)})
    >>> output, start = jaxlqr.Output(metrics=size), jnp.array([[0.8]])
    >>> result = jaxlqr.meta_train(
    ...     jaxlqr.cost, start, tasks, num_steps=3, objective=jaxlqr.Mean(), outer_step_size=0.01, output=output
    ... )
    >>> result.history["size"].shape
    (4, 2)
    """

    scalars: Callable[[Any, Any, Loss, Array], dict[str, Array]]
    _: KW_ONLY
    reference: Callable[[Any], dict[str, Array]] | None = None
    compare: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if (self.reference is None) != (self.compare is None):
            missing = "reference" if self.reference is None else "compare"
            raise ValueError(f"{missing} must be given with its counterpart, got None; give both functions or none.")


_LOSS_ALONE = Recording(lambda params, task, loss, value: {})
_REGISTERED: dict[type, Recording] = {}


def record_for(kind: type, recording: Recording) -> None:
    """Return None, after registering what training records for tasks of class ``kind`` and of its subclasses.

    Arguments:
        kind: class of a task, which is a pytree; a stack of tasks has the same class.
        recording: used where :func:`jaxlqr.meta_train` and :func:`jaxlqr.policy_gradient` get no ``metrics``.

    Raises:
        ValueError: when another recording is registered for ``kind``.

    >>> from typing import NamedTuple
    >>> class Point(NamedTuple):
    ...     place: Array
    >>> record_for(Point, Recording(lambda params, task, loss, value: {"distance": abs(params - task.place)}))
    """
    if _REGISTERED.setdefault(kind, recording) != recording:
        raise ValueError(
            f"kind must be a class without a registered recording, got {kind.__name__}; pass the other one as metrics."
        )


def recording_of(tasks: PyTree) -> Recording:
    """The recording that is registered for the class of these tasks or its next base class; else of the loss alone."""
    return next((_REGISTERED[kind] for kind in type(tasks).__mro__ if kind in _REGISTERED), _LOSS_ALONE)


def refuse_names_of_the_loop(recorded: Iterable[str], own: Iterable[str]) -> None:
    """Raise ValueError where metrics have names that the loop records itself: one of two rows would be lost."""
    if taken := sorted(set(recorded) & set(own)):
        raise ValueError(f"metrics must have names that the loop does not use, got {taken}; rename them.")


def start_reference(
    pool: ThreadPoolExecutor, metrics: Metrics | Recording, layout: Layout, batched: bool, tasks: PyTree
) -> Future[PyTree] | None:
    """The reference of all tasks, computed while the loop is compiled and runs; None where nothing is compared."""
    if not isinstance(metrics, Recording) or metrics.reference is None:
        return None
    return pool.submit(_reference, metrics.reference, layout, batched, tasks)


def with_comparison(
    result: TrainingResult, metrics: Metrics | Recording, reference: Future[PyTree] | None, batched: bool
) -> TrainingResult:
    """The result, whose history has the further rows of the comparison, if there is one."""
    if reference is None or not isinstance(metrics, Recording) or metrics.compare is None:
        return result
    steps = 1 if batched else 0
    expanded = jax.tree.map(lambda leaf: np.expand_dims(to_host(leaf), steps), reference.result())
    known = {name: np.asarray(rows) for name, rows in result.history.items()}
    return replace(result, history=result.history | jax.device_put(metrics.compare(known, expanded)))


@partial(jax.jit, static_argnames=("reference", "layout", "batched"))
def _reference(reference: Callable[[Any], dict[str, Array]], layout: Layout, batched: bool, tasks: PyTree) -> PyTree:
    prepare = partial(over_tasks, layout, reference)
    return (jax.vmap(prepare, spmd_axis_name=RUN_AXIS if layout.mesh else None) if batched else prepare)(tasks)
