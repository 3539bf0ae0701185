"""The meta-objective as a problem of the loop: its test of feasibility and its direction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.meta.layout import Layout, over_tasks
from jaxlqr.meta.objective import Perturbations, meta_estimate
from jaxlqr.oracles.protocol import Loss, Oracle, PyTree, with_key
from jaxlqr.training.search import Check, Direction
from jaxlqr.training.steps import StepRule

Metrics = Callable[[PyTree, Any], dict[str, Array]]


class Data(NamedTuple):
    tasks: PyTree
    oracle: Oracle
    key: Array
    inner_step_size: Array
    weights: Array


@dataclass(frozen=True)
class MetaProblem:
    """Static part of the meta-objective; the arrays come as :class:`Data`."""

    loss: Loss
    feasible: Callable[[PyTree, Any], Array] | None
    metrics: Metrics | None
    num_inner_steps: int
    first_order: bool
    perturbations: Perturbations
    max_halvings: int
    step_rule: StepRule | None
    layout: Layout

    def check(self, data: Data, params: PyTree, step: Array) -> Check:
        _, loss_key = self._keys(data, step)
        loss = with_key(self.loss, loss_key)
        losses = over_tasks(self.layout, lambda task: loss(params, task), data.tasks)
        if (test := self.feasible) is None:
            feasible = jnp.all(jnp.isfinite(losses))
        else:
            feasible = jnp.all(over_tasks(self.layout, lambda task: test(params, task), data.tasks))
        return Check(feasible, {"loss": losses, **self._recorded(data.tasks, params, losses)})

    def direct(self, data: Data, params: PyTree, step: Array) -> Direction:
        key, _ = self._keys(data, step)
        rule, inner_step = self.step_rule, data.inner_step_size
        if rule is not None:
            inner_step = rule.inner(params, data.tasks, step)
        estimate = meta_estimate(
            self.loss,
            params,
            data.tasks,
            inner_step,
            data.oracle,
            key,
            num_inner_steps=self.num_inner_steps,
            weights=data.weights,
            first_order=self.first_order,
            perturbations=self.perturbations,
            max_halvings=self.max_halvings,
            layout=self.layout,
        )
        record = {"failed_queries": estimate.failed_queries, "inner_fraction": estimate.inner_fraction}
        if rule is None:
            return Direction(estimate.gradient, record, jnp.ones((), data.inner_step_size.dtype))
        scale = rule.outer(params, data.tasks, inner_step, estimate.gradient, step)
        return Direction(estimate.gradient, record | {"inner_step": inner_step, "outer_step": scale}, scale)

    @staticmethod
    def _keys(data: Data, step: Array) -> Array:
        return jax.random.split(jax.random.fold_in(data.key, step))

    def _recorded(self, tasks: PyTree, params: PyTree, losses: Array) -> dict[str, Array]:
        if (metrics := self.metrics) is not None:
            return over_tasks(self.layout, lambda task: metrics(params, task), tasks)
        if not hasattr(tasks, "metrics"):
            return {}
        return over_tasks(self.layout, lambda task, value: task.metrics(params, self.loss, value), tasks, losses)
