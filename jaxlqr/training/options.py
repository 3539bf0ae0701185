"""Options of the learners, each kind on one object: the safeguard, how much is worked on, and what is reported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array

from jaxlqr.core.arguments import check_count
from jaxlqr.core.layout import check_batch_size
from jaxlqr.core.types import PyTree
from jaxlqr.training.checkpoint import Checkpoints
from jaxlqr.training.metrics import Metrics, Recording

# (number of the last step, its parameters, the rows of the history since the last call) -> whether to stop
Callback = Callable[[int, PyTree, dict[str, np.ndarray]], bool | None]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """How :func:`jaxlqr.meta_train` keeps every iterate feasible: it halves steps that leave the feasible set.

    An outer step is halved until every task is feasible there, and an inner step until the gradient at the adapted
    parameters is finite. Pass ``guard=None`` for no safeguard: a run may then diverge, with the status DIVERGED.

    Attributes:
        max_backtracks: number of step lengths 1, 1/2, 1/4, ... that are tried before a step is refused.
        feasible: test (params, task) -> bool; unless given, the loss must be finite. With rollouts, whose cost is
            finite for any gain, ``jaxlqr.is_stabilizing`` is the exact test where a model is known.
        strict: raise for initial parameters that are not feasible; else such a run stays there and ends STALLED.

    Raises:
        ValueError: when ``max_backtracks`` is no positive integer.

    >>> import jaxlqr
    >>> guard = Guard(feasible=jaxlqr.is_stabilizing, strict=False)
    """

    max_backtracks: int = 20
    feasible: Callable[[PyTree, Any], Array] | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        check_count("max_backtracks", self.max_backtracks, 1)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many tasks :func:`jaxlqr.meta_train` works on, and how many cost queries it may make.

    Attributes:
        batch_size: tasks worked on at once on each device, which bounds the memory and changes no number; all of them
            unless given.
        minibatch_size: tasks whose gradient a step uses, drawn without replacement at every step from ``key``; all of
            them unless given. A step then costs less and its direction is noisy. The history and the safeguard still
            evaluate the loss of every task.
        max_queries: budget of cost queries (``history["queries"]``) of each run: no step begins whose queries would
            exceed it. Only a step that is shortened, which queries again, may. The count includes the queries of the
            oracle and, unless ``Guard.feasible`` is given, the losses that the safeguard tests; not those of a step
            rule. All runs of a batch stop together.

    Raises:
        ValueError: when a number is no positive integer.

    >>> Limits(batch_size=0)
    Traceback (most recent call last):
    ValueError: batch_size must be a positive integer, the tasks worked on at once, or None for all, got 0.
    """

    batch_size: int | None = None
    minibatch_size: int | None = None
    max_queries: int | None = None

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        for name in ("minibatch_size", "max_queries"):
            if (value := getattr(self, name)) is not None:
                check_count(name, value, 1)


@dataclass(frozen=True, kw_only=True)
class Output:
    """The output of :func:`jaxlqr.meta_train` while it runs: progress, records and checkpoints.

    Attributes:
        progress: show the progress bar; ``None`` shows it in a terminal or a notebook, and elsewhere prints at most one
            line a minute on stderr.
        every: steps between two updates of the progress bar and two calls of ``callback``.
        callback: function (step, params, rows), called outside the compiled code after so many steps with the number
            of the last one, its parameters and the rows of the history since the last call, all in NumPy. If it returns
            True the run ends there.
        metrics: function (params, task) -> dict of scalars to record, or a :class:`jaxlqr.training.Recording`. Unless
            given, the recording that :func:`jaxlqr.training.record_for` registered for the class of the tasks, if any.
        record_params: record the parameters of every step in the history, too.
        checkpoints: where to keep checkpoints and whether to go on from them, see
            :class:`jaxlqr.training.Checkpoints`. SIGINT and SIGTERM then stop the run after a last checkpoint.

    Raises:
        ValueError: when ``every`` is no positive integer.

    >>> quiet = Output(progress=False, every=100)
    """

    progress: bool | None = None
    every: int = 50
    callback: Callback | None = None
    metrics: Metrics | Recording | None = None
    record_params: bool = False
    checkpoints: Checkpoints | None = None

    def __post_init__(self) -> None:
        check_count("every", self.every, 1)
