"""The choices of a training run, checked on construction."""

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from jaxlqr.core.limits import check_count, check_seed, shown

_MOST_INNER_STEPS, _MOST_COUNT = 1000, 2**31 - 1  # inner steps are differentiated through; counts have 32 bits
_KINDS: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (
        ("steps", "samples", "inner_steps", "seed", "minibatch", "max_queries", "checkpoint_every"),
        (int, np.integer),
        "an integer",
    ),
    (("inner_step", "outer_step", "radius"), (int, float, np.number), "a number"),
    (("first_order", "safeguard", "resume"), bool, "True or False"),
    (("oracle", "optimizer"), str, "text"),
)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Choices of :func:`jaxlqr.commands.train.train`, checked on construction.

    The options of ``jaxlqr train`` have the same names.

    Attributes:
        steps: number of outer steps.
        inner_step, outer_step: step sizes; None chooses them with :func:`jaxlqr.training.automatic_steps`.
        oracle: ``"exact"`` or ``"zeroth-order"``.
        samples, radius: of the zeroth-order oracle, see :class:`jaxlqr.ZerothOrderOracle`.
        inner_steps: adaptation steps; 0 is plain multi-task descent.
        first_order: leave out the Hessian.
        optimizer: ``"sgd"`` or ``"adam"``.
        safeguard: shorten steps that would leave the stabilising set.
        seed: of the zeroth-order oracle and of the minibatches.
        minibatch: tasks whose gradient a step uses, drawn again at every step; None for all tasks.
        max_queries: budget of cost queries of the zeroth-order oracle, at which the run ends; None for no budget.
        checkpoint_every: steps between two checkpoints, in the folder ``checkpoints`` of the results; None writes one
            only if Ctrl-C or SIGTERM stops the run.
        resume: continue from the newest checkpoint there. When the results are written, the checkpoints are removed.

    >>> TrainSettings(oracle="zeroth")
    Traceback (most recent call last):
    ValueError: unknown oracle 'zeroth'; did you mean 'zeroth-order'?
    """

    steps: int = 200
    inner_step: float | None = None
    outer_step: float | None = None
    oracle: str = "exact"
    samples: int = 20
    radius: float = 1e-2
    inner_steps: int = 1
    first_order: bool = False
    optimizer: str = "sgd"
    safeguard: bool = True
    seed: int = 0
    minibatch: int | None = None
    max_queries: int | None = None
    checkpoint_every: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for names, kinds, expected in _KINDS:
            for name in names:
                value = getattr(self, name)
                optional = value is None and getattr(type(self), name) is None
                if not optional and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
                    raise ValueError(f"{name} must be {expected}, got {value!r}.")
        for what, value, least in (
            ("steps", self.steps, 1),
            ("samples", self.samples, 1),
            ("inner steps", self.inner_steps, 0),
            ("tasks of a minibatch", self.minibatch, 1),
            ("cost queries", self.max_queries, 1),
        ):
            if value is not None:
                most = _MOST_INNER_STEPS if what == "inner steps" else _MOST_COUNT
                check_count(int(value), f"the number of {what}", least, most)
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise ValueError(f"there must be at least 1 step between checkpoints, got {shown(self.checkpoint_every)}.")
        for what, value in (
            ("inner step size", self.inner_step),
            ("outer step size", self.outer_step),
            ("radius", self.radius),
        ):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"the {what} must be positive and finite, got {value}.")
        for what, value, known in (
            ("oracle", self.oracle, ("exact", "zeroth-order")),
            ("optimizer", self.optimizer, ("sgd", "adam")),
        ):
            if value not in known:
                near = get_close_matches(value, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {' and '.join(map(repr, known))}."
                raise ValueError(f"unknown {what} {value!r}; {hint}")
        check_seed(self.seed)
