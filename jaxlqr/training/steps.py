"""Rules for the inner and the outer step size, which may look at the iterate: plain objects for ``meta_train``.

A rule is any hashable object with two methods. The certified rule of musavi2023, Condition 1, is
:class:`jaxlqr.theory.musavi2023.CertifiedSteps`; halving steps until every task is stabilised is no rule of its own but
the ``safeguard`` of :func:`jaxlqr.meta_train`, which works with every rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

from jaxlqr.oracles.protocol import PyTree

Schedule = Callable[[Array], Any]  # step number -> step size, as in optax


@runtime_checkable
class StepRule(Protocol):
    """Protocol of step-size rules; both methods run inside the compiled loop."""

    def inner(self, params: PyTree, tasks: PyTree, step: Array) -> Array:
        """Adaptation step size at iterate number ``step``."""
        ...

    def outer(self, params: PyTree, tasks: PyTree, inner_step_size: Array, gradient: PyTree, step: Array) -> Array:
        """Factor on the update from iterate number ``step``, where ``gradient`` is the meta-gradient."""
        ...


@runtime_checkable
class CheckedStepRule(StepRule, Protocol):
    """A rule that does not apply to all tasks."""

    def check(self, tasks: PyTree) -> None:
        """Raise when the rule does not apply; called once, before training."""
        ...


@dataclass(frozen=True)
class FixedSteps:
    """The same step sizes at every iterate.

    >>> import jaxlqr, jax.numpy as jnp
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> result = jaxlqr.meta_train(
    ...     jaxlqr.cost, jnp.array([[0.8]]), tasks, num_steps=3, step_rule=FixedSteps(inner_step=0.01, outer_step=0.02)
    ... )
    >>> print(result.history["inner_step"])
    [0.01 0.01 0.01 0.01]
    """

    inner_step: float
    outer_step: float

    def __post_init__(self) -> None:
        if not (self.inner_step >= 0 and self.outer_step > 0):
            raise ValueError(
                f"inner_step must not be negative and outer_step must be positive, got {self.inner_step} and "
                f"{self.outer_step}."
            )

    def inner(self, params: PyTree, tasks: PyTree, step: Array) -> Array:
        """The inner step."""
        return jnp.asarray(self.inner_step)

    def outer(self, params: PyTree, tasks: PyTree, inner_step_size: Array, gradient: PyTree, step: Array) -> Array:
        """The outer step."""
        return jnp.asarray(self.outer_step)


@dataclass(frozen=True)
class ScheduledSteps:
    """Step sizes that are functions of the step number, such as the schedules of optax.

    >>> import optax
    >>> rule = ScheduledSteps(optax.exponential_decay(1e-3, 10, 2.0), optax.constant_schedule(0.1))
    >>> print(f"{rule.inner(None, None, jnp.asarray(10)):.3f}")
    0.002
    """

    inner_step: Schedule
    outer_step: Schedule

    def inner(self, params: PyTree, tasks: PyTree, step: Array) -> Array:
        """The inner step at this step number."""
        return jnp.asarray(self.inner_step(step))

    def outer(self, params: PyTree, tasks: PyTree, inner_step_size: Array, gradient: PyTree, step: Array) -> Array:
        """The outer step at this step number."""
        return jnp.asarray(self.outer_step(step))
