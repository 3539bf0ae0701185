"""Rules for the inner and the outer step size, which may look at the iterate: plain objects for ``meta_train``.

A rule is any hashable object with two methods. The certified rule of musavi2023, Condition 1, is
:class:`jaxlqr.papers.musavi2023.theory.CertifiedSteps`. The ``guard`` of :func:`jaxlqr.meta_train`, which halves
steps until every task is feasible, works with every rule; :class:`BacktrackingSteps` also demands that the objective
falls.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.types import PyTree
from jaxlqr.iterations.shortening import before_trials, first_accepted
from jaxlqr.meta.landscape.objective import mean_value
from jaxlqr.oracles.protocol import Loss, step_along

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
    >>> rule = FixedSteps(inner_step_size=0.01, outer_step_size=0.02)
    >>> result = jaxlqr.meta_train(jaxlqr.cost, jnp.array([[0.8]]), tasks, num_steps=3, step_rule=rule)
    >>> print(result.history["inner_step"])
    [0.01 0.01 0.01 0.01]
    """

    inner_step_size: float
    outer_step_size: float

    def __post_init__(self) -> None:
        if not (self.inner_step_size >= 0 and self.outer_step_size > 0):
            raise ValueError(
                f"inner_step_size must not be negative and outer_step_size must be positive, got "
                f"{self.inner_step_size} and {self.outer_step_size}."
            )

    def inner(self, params: PyTree, tasks: PyTree, step: Array) -> Array:
        """The inner step."""
        return jnp.asarray(self.inner_step_size)

    def outer(self, params: PyTree, tasks: PyTree, inner_step_size: Array, gradient: PyTree, step: Array) -> Array:
        """The outer step."""
        return jnp.asarray(self.outer_step_size)


@dataclass(frozen=True)
class ScheduledSteps:
    """Step sizes that are functions of the step number, such as the schedules of optax.

    >>> import optax
    >>> rule = ScheduledSteps(optax.exponential_decay(1e-3, 10, 2.0), optax.constant_schedule(0.1))
    >>> print(f"{rule.inner(None, None, jnp.asarray(10)):.3f}")
    0.002
    """

    inner_step_size: Schedule
    outer_step_size: Schedule

    def inner(self, params: PyTree, tasks: PyTree, step: Array) -> Array:
        """The inner step at this step number."""
        return jnp.asarray(self.inner_step_size(step))

    def outer(self, params: PyTree, tasks: PyTree, inner_step_size: Array, gradient: PyTree, step: Array) -> Array:
        """The outer step at this step number."""
        return jnp.asarray(self.outer_step_size(step))


@dataclass(frozen=True)
class BacktrackingSteps:
    r"""Steps that are shortened until every task stays feasible, before and after adaptation, and the objective falls.

    The inner step is the largest of ``inner_step_size``, ``shrink`` times it, and so on, for which :math:`F(\theta)` is
    finite; the outer step the largest :math:`s` of such a row for which
    :math:`F(\theta - s \nabla F) \le F(\theta) - c\, s \|\nabla F\|^2`, with c = ``decrease``. So no iterate of
    plain descent leaves the MAML-feasible set, even without a safeguard. It costs some evaluations of the objective at
    every iterate.

    Attributes:
        loss: the loss of the training, a function (params, task) -> scalar.
        inner_step_size, outer_step_size: the first trials.
        shrink: in (0, 1).
        decrease: in (0, 1).
        max_backtracks: after which the last, tiny step is taken.

    >>> import jaxlqr, jax.numpy as jnp
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> rule = BacktrackingSteps(jaxlqr.cost, inner_step_size=10.0, outer_step_size=10.0)
    >>> result = jaxlqr.meta_train(jaxlqr.cost, jnp.array([[0.8]]), tasks, num_steps=20, step_rule=rule)
    >>> bool(result.history["gradient_norm"][-1] < 1e-3 * result.history["gradient_norm"][0])
    True

    Source: Armijo, Pacific J. Math. 16 (1966).
    """

    loss: Loss
    inner_step_size: float
    outer_step_size: float
    _: KW_ONLY
    shrink: float = 0.5
    decrease: float = 1e-4
    max_backtracks: int = 60

    def __post_init__(self) -> None:
        if not (self.inner_step_size > 0 and self.outer_step_size > 0):
            raise ValueError(
                f"inner_step_size and outer_step_size must be positive, got {self.inner_step_size} and "
                f"{self.outer_step_size}."
            )
        if not (0 < self.shrink < 1 and 0 < self.decrease < 1):
            raise ValueError(f"shrink and decrease must lie in (0, 1), got {self.shrink} and {self.decrease}.")
        if self.max_backtracks < 1:
            raise ValueError(f"max_backtracks must be at least 1, got {self.max_backtracks}.")

    def inner(self, params: PyTree, tasks: PyTree, step: Array) -> Array:
        """The largest trial for which the iterate is feasible after adaptation, too."""
        return self._largest(params, self.inner_step_size, lambda trial: self._value(params, tasks, trial) < jnp.inf)

    def outer(self, params: PyTree, tasks: PyTree, inner_step_size: Array, gradient: PyTree, step: Array) -> Array:
        """The largest trial that decreases the objective enough."""
        here = self._value(params, tasks, inner_step_size)
        slope = self.decrease * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))

        def falls(trial: Array) -> Array:
            return self._value(step_along(params, trial, gradient), tasks, inner_step_size) <= here - trial * slope

        return self._largest(params, self.outer_step_size, falls)

    def _value(self, params: PyTree, tasks: PyTree, inner_step_size: Array) -> Array:
        return mean_value(self.loss, params, tasks, inner_step_size)

    def _largest(self, params: PyTree, first: float, accepted: Callable[[Array], Array]) -> Array:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        # The last trial is taken unseen.
        trial = first_accepted(
            lambda fraction, _: ((), accepted(first * fraction)),
            before_trials((), dtype),
            max_backtracks=self.max_backtracks - 1,
            factor=self.shrink,
        )
        return first * jnp.where(trial.accepted, trial.fraction, self.shrink ** (self.max_backtracks - 1)).astype(dtype)
