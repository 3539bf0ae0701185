"""The largest acceptable fraction of a step: 1, 1/2, 1/4, ..., in one loop that compiles each attempt once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Trial(NamedTuple):
    """The state of a search for an acceptable fraction of a step.

    Attributes:
        value: pytree that the last attempt computed.
        fraction: of the step that the last attempt took, a scalar; 0 before the first attempt.
        accepted: whether the last attempt was acceptable, a scalar.
        attempts: number of attempts, a scalar integer.
    """

    value: Any
    fraction: Array
    accepted: Array
    attempts: Array


def before_trials(value: Any, dtype: Any) -> Trial:
    """The :class:`Trial` before the first attempt; ``value`` has the shapes and types that attempts compute."""
    return Trial(value, jnp.zeros((), dtype), jnp.asarray(False), jnp.asarray(0, jnp.int32))


def first_accepted(
    attempt: Callable[[Array, Any], tuple[Any, Array]],
    start: Trial,
    *,
    max_backtracks: int,
    factor: float = 0.5,
    then_none: bool = False,
    wanted: Array | bool = True,
) -> Trial:
    """The first :class:`Trial` that is accepted, or the last one, of fractions 1, ``factor``, ``factor`` squared, ...

    Arguments:
        attempt: function (fraction, value) -> (new value, whether it is acceptable); ``value`` is that of the attempt
            before, so that an attempt can count what all of them cost.
        start: :func:`before_trials`, or a trial; the search then continues with the next fraction.
        max_backtracks: number of fractions that are tried at most.
        factor: between 0 and 1.
        then_none: try the fraction 0 when no other one is accepted.
        wanted: without it, no attempt is made.

    Runs inside ``jit`` and ``vmap``. An attempt is compiled once. A lane of a batch keeps its trial, once accepted.

    >>> falls = lambda fraction, _: (fraction, fraction < 0.3)
    >>> float(first_accepted(falls, before_trials(jnp.zeros(()), float), max_backtracks=5).fraction)
    0.25
    """
    limit = max_backtracks + 1 if then_none else max_backtracks

    def unfinished(trial: Trial) -> Array:
        return wanted & ~trial.accepted & (trial.attempts < limit)

    def shorten(trial: Trial) -> Trial:
        fraction = jnp.where(trial.attempts == 0, 1, factor * trial.fraction)
        fraction = jnp.where(trial.attempts < max_backtracks, fraction, 0).astype(trial.fraction.dtype)
        value, accepted = attempt(fraction, trial.value)
        return Trial(value, fraction, accepted, trial.attempts + 1)

    return lax.while_loop(unfinished, shorten, start)
