"""An objective as a problem of the loop: its test of feasibility and its direction."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.layout import Layout, over_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.meta.objective import Maml, Objective
from jaxlqr.oracles.exact import ExactOracle
from jaxlqr.oracles.protocol import Loss, Oracle, with_key
from jaxlqr.training.metrics import Metrics, Recording, refuse_names_of_the_loop
from jaxlqr.training.search import Check, Direction
from jaxlqr.training.steps import StepRule


class RunData(NamedTuple):
    tasks: PyTree
    oracle: Oracle
    key: Array
    objective: Objective
    weights: Array


@dataclass(frozen=True)
class MetaProblem:
    """Static part of the problem; the arrays come as :class:`RunData`."""

    loss: Loss
    feasible: Callable[[PyTree, Any], Array] | None
    metrics: Metrics | Recording
    max_backtracks: int
    step_rule: StepRule | None
    layout: Layout
    minibatch_size: int | None

    def check(self, data: RunData, params: PyTree, step: Array) -> Check:
        _, loss_key = self._keys(data, step)
        loss = with_key(self.loss, loss_key)
        losses = over_tasks(self.layout, lambda task: loss(params, task), data.tasks)
        if (test := self.feasible) is None:
            feasible = jnp.all(jnp.isfinite(losses))
        else:
            feasible = jnp.all(over_tasks(self.layout, lambda task: test(params, task), data.tasks))
        # An oracle that differentiates needs the model, so a count of its evaluations has no meaning.
        counted = self.feasible is None and not isinstance(data.oracle, ExactOracle)
        queries = jnp.asarray(losses.size if counted else 0, jnp.int32)
        recorded = self._recorded(data.tasks, params, losses)
        refuse_names_of_the_loop(recorded, {"loss"})
        return Check(feasible, recorded | {"loss": losses}, queries)

    def direct(self, data: RunData, params: PyTree, step: Array) -> Direction:
        key, _ = self._keys(data, step)
        rule, objective = self.step_rule, data.objective
        tasks, weights = self._minibatch(data, step)
        record = {}
        if rule is not None and isinstance(objective, Maml):
            record = {"inner_step": rule.inner(params, tasks, step)}
            objective = replace(objective, inner_step_size=record["inner_step"])
        estimate = objective.estimate(
            self.loss,
            params,
            tasks,
            data.oracle,
            key,
            weights=weights,
            max_backtracks=self.max_backtracks,
            layout=self.layout,
        )
        record |= {"failed_queries": estimate.failed_queries, "inner_fraction": estimate.inner_fraction}
        if rule is None:
            return Direction(estimate.gradient, record, jnp.ones((), data.weights.dtype), estimate.queries)
        scale = rule.outer(params, tasks, record["inner_step"], estimate.gradient, step)
        return Direction(estimate.gradient, record | {"outer_step": scale}, scale, estimate.queries)

    def _minibatch(self, data: RunData, step: Array) -> tuple[PyTree, Array]:
        """The tasks that this step looks at, with weights that keep the gradient unbiased."""
        if (size := self.minibatch_size) is None:
            return data.tasks, data.weights
        count = data.weights.shape[0]
        # 2: :meth:`_keys` splits the same key in two, which draws as folding in 0 and 1 does.
        key = jax.random.fold_in(jax.random.fold_in(data.key, step), 2)
        chosen = jax.random.choice(key, count, (size,), replace=False)
        return jax.tree.map(lambda leaf: leaf[chosen], data.tasks), data.weights[chosen] * (count / size)

    @staticmethod
    def _keys(data: RunData, step: Array) -> Array:
        return jax.random.split(jax.random.fold_in(data.key, step))

    def _recorded(self, tasks: PyTree, params: PyTree, losses: Array) -> dict[str, Array]:
        metrics = self.metrics
        if not isinstance(metrics, Recording):
            return over_tasks(self.layout, lambda task: metrics(params, task), tasks)
        return over_tasks(
            self.layout, lambda task, value: metrics.scalars(params, task, self.loss, value), tasks, losses
        )
