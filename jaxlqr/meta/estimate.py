"""Value and gradient of an objective that adapts to each task first, with derivatives of the loss from any oracle."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxlqr.core.layout import Layout, num_tasks, over_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.iterations.shortening import before_trials, first_accepted
from jaxlqr.oracles.exact import ExactOracle
from jaxlqr.oracles.protocol import Expansion, Loss, Oracle, all_finite, step_along, with_key

Perturbations = Literal["independent", "shared"]


class MetaGradient(NamedTuple):
    """Meta-gradient, a pytree like the parameters, and what became of the queries and inner steps over all tasks."""

    gradient: PyTree
    failed_queries: Array  # number of cost queries that were not finite
    inner_fraction: Array  # smallest fraction of an inner step that was taken; 1 if none was shortened
    queries: Array  # number of cost queries, those of inner steps that were halved included


def check_perturbations(perturbations: Any) -> None:
    """Raise ``ValueError`` unless ``perturbations`` is the name of a way to draw."""
    if perturbations not in ("independent", "shared"):
        raise ValueError(f'perturbations must be "independent" or "shared", got {perturbations!r}.')


class _Draws(NamedTuple):
    """Random keys of all tasks: one for each, or one that they share; None where nothing is random."""

    keys: Array | None
    shared: bool

    def over(self, layout: Layout, function: Callable[..., Any], tasks: PyTree, count: int) -> Any:
        """``function(task, keys of its ``count`` evaluations)`` of each task, stacked."""

        def one(task: PyTree, task_key: Array | None = self.keys if self.shared else None) -> Any:
            if self.shared or task_key is None:
                return function(task, [task_key] * count)
            # One split, not one fold for each step: each of them takes a tenth of a second to compile.
            return function(task, list(jax.random.split(task_key, count)))

        return over_tasks(layout, one, tasks, *(() if self.shared or self.keys is None else (self.keys,)))


def _draws(oracle: Oracle, key: Array | None, perturbations: Perturbations, tasks: PyTree) -> _Draws:
    check_perturbations(perturbations)
    shared = perturbations == "shared"
    if key is None:
        if not isinstance(oracle, ExactOracle):
            raise ValueError(f"key must be given for {type(oracle).__name__}, which draws random perturbations.")
        return _Draws(None, shared)
    if shared:
        return _Draws(key, shared)
    # Folded by task index: a task keeps its draws however the tasks are split over devices.
    return _Draws(jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_tasks(tasks))), shared)


def meta_value(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    inner_step_size: float | Array | None,
    oracle: Oracle,
    key: Array | None,
    *,
    num_inner_steps: int,
    weights: Array | None,
    first_order: bool,
    perturbations: Perturbations,
    layout: Layout = Layout(),
) -> Float[Array, ""]:
    """Weighted mean of the losses after adaptation, a scalar: the value whose gradient is :func:`meta_estimate`."""
    weights = _weights(tasks, weights)

    def one(task: PyTree, keys: list[Array | None]) -> Array:
        moved = params
        for step_key in keys[:-1]:
            gradient = oracle.gradient(loss, moved, task, step_key)
            gradient = lax.stop_gradient(gradient) if first_order else gradient
            moved = step_along(moved, 0.0 if inner_step_size is None else inner_step_size, gradient)
        return (loss if keys[-1] is None else with_key(loss, keys[-1]))(moved, task)

    draws = _draws(oracle, key, perturbations, tasks)
    return jnp.sum(weights * draws.over(layout, one, tasks, num_inner_steps + 1))


def meta_estimate(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    inner_step_size: float | Array | None,
    oracle: Oracle,
    key: Array | None,
    *,
    num_inner_steps: int,
    weights: Array | None,
    first_order: bool,
    perturbations: Perturbations,
    max_backtracks: int = 0,
    layout: Layout = Layout(),
) -> MetaGradient:
    """Gradient of :func:`meta_value` with its diagnostics, and with inner steps that are halved when they must be.

    An inner step is halved, up to ``max_backtracks`` times and then not taken, until the gradient at the adapted
    parameters is finite. The chain rule then uses the step that was taken.
    """
    weights = _weights(tasks, weights)

    def one(task: PyTree, keys: list[Array | None]) -> MetaGradient:
        expand = partial(oracle.expand, loss, task=task)
        return _task_gradient(expand, params, inner_step_size, keys, first_order, max_backtracks)

    per_task = _draws(oracle, key, perturbations, tasks).over(layout, one, tasks, num_inner_steps + 1)
    gradient = jax.tree.map(lambda leaf: jnp.tensordot(weights.astype(leaf.dtype), leaf, axes=1), per_task.gradient)
    # int32 also where x64 is on: these are carried through loops.
    failed, queries = (jnp.sum(count, dtype=jnp.int32) for count in (per_task.failed_queries, per_task.queries))
    return MetaGradient(gradient, failed, jnp.min(per_task.inner_fraction), queries)


def _task_gradient(expand, params, inner_step_size, keys, first_order: bool, max_backtracks: int) -> MetaGradient:
    # Chain rule through the steps theta_{k+1} = theta_k - eta g(theta_k), whose Jacobians are I - eta H(theta_k).
    num_inner_steps = len(keys) - 1
    expansion = expand(params, key=keys[0], second_order=num_inner_steps > 0 and not first_order)
    failed, smallest = expansion.failed_queries, jnp.asarray(1.0)
    queries = jnp.asarray(expansion.queries, jnp.int32)
    steps = []
    for step, key in enumerate(keys[1:], start=1):
        ahead = partial(expand, key=key, second_order=False)
        params, following, fraction, asked = _inner_step(
            ahead, params, inner_step_size, expansion.gradient, max_backtracks
        )
        queries = queries + asked
        if step < num_inner_steps and not first_order:
            following = expand(params, key=key)  # the Hessian map cannot leave the loop that finds the step
            queries = queries + following.queries
        steps.append((expansion, fraction * inner_step_size))
        expansion, smallest = following, jnp.minimum(smallest, fraction)
        failed = failed + expansion.failed_queries
    gradient = expansion.gradient
    for at_step, step_size in reversed(steps) if not first_order else ():
        gradient = step_along(gradient, step_size, at_step.hessian_vector_product(gradient))
    return MetaGradient(gradient, failed, smallest, queries)


def _inner_step(expand, params: PyTree, step_size, gradient: PyTree, max_backtracks: int):
    """Parameters after an inner step, their expansion, the fraction 1, 1/2, 1/4, ..., 0 of the step taken, and the
    cost queries of all attempts."""

    def attempt(fraction: Array, before: tuple[PyTree, Expansion, Array]):
        moved = step_along(params, fraction * step_size, gradient)
        expansion = expand(moved)
        # A plain 0 of an oracle would change its type in the loop below.
        expansion = expansion._replace(queries=jnp.asarray(expansion.queries, jnp.int32))
        return (moved, expansion, before[2] + expansion.queries), all_finite(expansion.gradient)

    dtype = jnp.result_type(*jax.tree.leaves(params))
    none = jnp.asarray(0, jnp.int32)
    blank = (params, Expansion(gradient, None, none, none), none)
    if max_backtracks == 0:
        fraction = jnp.ones((), dtype)
        (moved, expansion, queries), _ = attempt(fraction, blank)
    else:
        trial = first_accepted(attempt, before_trials(blank, dtype), max_backtracks=max_backtracks, then_none=True)
        (moved, expansion, queries), fraction = trial.value, trial.fraction
    return moved, expansion, fraction, queries


def _weights(tasks: PyTree, weights: Array | None) -> Float[Array, " tasks"]:
    count = num_tasks(tasks)
    if weights is None:
        return jnp.full(count, 1 / count)
    weights = jnp.asarray(weights)
    if weights.shape != (count,):
        raise ValueError(f"weights must have shape ({count},), one for each task, got {weights.shape}.")
    return weights
