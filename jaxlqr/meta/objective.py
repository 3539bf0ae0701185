r"""The meta-objective :math:`\sum_i w_i\, J_i(\theta - \eta \nabla J_i(\theta))` and its gradient, for any loss."""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlqr.core.arguments import as_key, check_count, check_number
from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import Layout, check_batch_size, over_tasks
from jaxlqr.iterations.shortening import before_trials, first_accepted
from jaxlqr.lqr.task import LQRTask, as_stack
from jaxlqr.oracles.exact import ExactOracle, as_oracle
from jaxlqr.oracles.protocol import Expansion, Loss, Oracle, PyTree, all_finite, step_along

Perturbations = Literal["independent", "shared"]


class MetaGradient(NamedTuple):
    """Meta-gradient, a pytree like the parameters, and what became of the queries and inner steps over all tasks."""

    gradient: PyTree
    failed_queries: Array  # number of cost queries that were not finite
    inner_fraction: Array  # smallest fraction of an inner step that was taken; 1 if none was shortened
    queries: Array  # number of cost queries, those of inner steps that were halved included


def num_tasks(tasks: PyTree) -> int:
    """Length of the leading task axis."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tasks)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"tasks must be a pytree of arrays with one common leading task axis, got leading shapes {lengths}; use "
            "stack_tasks([task]) for a single task."
        )
    ((length,),) = lengths
    if length == 0:
        raise ValueError("tasks must hold at least one task, got a leading axis of length 0.")
    return length


def _steps(inner_step_size: Any, num_inner_steps: Any) -> dict[str, Any]:
    """The inner step size, which may be left out where no inner step is taken."""
    check_count("num_inner_steps", num_inner_steps, 0)
    if inner_step_size is None and num_inner_steps == 0:
        return {"inner_step_size": 0.0}
    check_number("inner_step_size", inner_step_size)
    return {}


def params_and_tasks(params: Any, tasks: Any) -> dict[str, Any]:
    """Tasks as a stack, and a gain for LQR tasks, written as nested lists, as an array."""
    tasks = as_stack(tasks)
    if isinstance(params, list | tuple) and isinstance(tasks, LQRTask):
        params = jnp.asarray(params, tasks.A.dtype)
    return {"params": params, "tasks": tasks}


def _arguments_of_loss(params: Any, tasks: Any, inner_step_size: Any, num_inner_steps: Any) -> dict[str, Any]:
    return params_and_tasks(params, tasks) | _steps(inner_step_size, num_inner_steps)


def _arguments_of_gradient(
    params: Any, tasks: Any, inner_step_size: Any, num_inner_steps: Any, oracle: Any, key: Any
) -> dict[str, Any]:
    keys = {} if key is None else {"key": as_key(key)}
    loss_arguments = _arguments_of_loss(params, tasks, inner_step_size, num_inner_steps)
    return loss_arguments | keys | {"oracle": as_oracle(oracle)}


@compiled(static=("num_inner_steps",), prepare=_steps)
def adapt(
    loss: Loss, params: PyTree, task: PyTree, inner_step_size: float | Array, *, num_inner_steps: int = 1
) -> PyTree:
    """Parameters after ``num_inner_steps`` exact gradient steps on one task; differentiable."""
    for _ in range(num_inner_steps):
        params = step_along(params, inner_step_size, jax.grad(loss)(params, task))
    return params


@compiled(static=("num_inner_steps",), prepare=_arguments_of_loss)
def maml_loss(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    inner_step_size: float | Array | None = None,
    num_inner_steps: int = 1,
    weights: Array | None = None,
) -> Float[Array, ""]:
    r"""Meta-objective :math:`\sum_i w_i\, J_i(\bar\theta_i)` with :math:`\bar\theta_i` the adapted parameters.

    Arguments:
        loss: function (params, task) -> scalar, unbatched.
        params: pytree of parameters, a gain [m, n] for LQR.
        tasks: pytree with a leading task axis M.
        inner_step_size: step size of the adaptation; not needed with ``num_inner_steps=0``.
        num_inner_steps: number of adaptation steps; 0 is the plain multi-task objective.
        weights: task weights [M]; 1/M each unless given.

    Returns:
        A scalar, differentiable as often as ``loss`` is, less the inner gradients.

    >>> import jax.numpy as jnp
    >>> quadratic = lambda params, task: (params - task) ** 2 / 2
    >>> float(maml_loss(quadratic, jnp.array(0.0), jnp.array([1.0, -1.0]), inner_step_size=0.5))
    0.125

    Source: toso2024, equation (3); Finn, Abbeel, Levine, ICML 2017.
    """
    weights = _weights(tasks, weights)
    step = 0.0 if inner_step_size is None else inner_step_size
    losses = jax.vmap(lambda task: loss(adapt(loss, params, task, step, num_inner_steps=num_inner_steps), task))(tasks)
    return jnp.sum(weights * losses)


@compiled(static=("num_inner_steps", "first_order", "perturbations", "batch_size"), prepare=_arguments_of_gradient)
def maml_gradient(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    inner_step_size: float | Array | None = None,
    oracle: Oracle | None = None,
    key: Array | None = None,
    num_inner_steps: int = 1,
    weights: Array | None = None,
    first_order: bool = False,
    perturbations: Perturbations = "independent",
    batch_size: int | None = None,
) -> PyTree:
    r"""Gradient of :func:`maml_loss`, with all derivatives of the loss taken from ``oracle``.

    For one inner step, :math:`\sum_i w_i (I - \eta_l \nabla^2 J_i(\theta)) \nabla J_i(\bar\theta_i)`: with
    :class:`jaxlqr.ExactOracle` Algorithm 1 of toso2024, and ``jax.grad`` of :func:`maml_loss` to rounding; with
    :class:`jaxlqr.ZerothOrderOracle` Algorithm 3.

    Arguments:
        loss, params, tasks, inner_step_size, num_inner_steps, weights: as in :func:`maml_loss`.
        oracle: source of derivatives; exact unless given.
        key: random key, for zeroth-order oracles and stochastic losses.
        first_order: leave out the Hessian (first-order MAML).
        perturbations: ``"independent"`` draws for each task and inner step; ``"shared"`` uses one draw for all of them,
            as the released code of toso2024 does (docs/errata.md, T8).
        batch_size: tasks worked on at once, which bounds the memory; all of them unless given.

    Returns:
        A pytree like ``params``; NaN where the loss of some adapted task is infinite.

    >>> import jax.numpy as jnp
    >>> quadratic = lambda params, task: (params - task) ** 2 / 2
    >>> float(maml_gradient(quadratic, jnp.array(1.0), jnp.array([1.0, -1.0]), inner_step_size=0.5))
    0.25
    """
    check_batch_size(batch_size)
    estimate = meta_estimate(
        loss,
        params,
        tasks,
        inner_step_size,
        as_oracle(oracle),
        key,
        num_inner_steps=num_inner_steps,
        weights=weights,
        first_order=first_order,
        perturbations=perturbations,
        layout=Layout(batch_size=batch_size),
    )
    return estimate.gradient


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
    max_halvings: int = 0,
    layout: Layout = Layout(),  # noqa: B008, a tuple
) -> MetaGradient:
    """:func:`maml_gradient` with its diagnostics, and with inner steps that are halved when they must be.

    An inner step is halved, up to ``max_halvings`` times and then not taken, until the gradient at the adapted
    parameters is finite. The chain rule then uses the step that was taken.
    """
    if perturbations not in ("independent", "shared"):
        raise ValueError(f'perturbations must be "independent" or "shared", got {perturbations!r}.')
    weights = _weights(tasks, weights)
    shared = perturbations == "shared"
    if key is None:
        if not isinstance(oracle, ExactOracle):
            raise ValueError(f"key must be given for {type(oracle).__name__}, which draws random perturbations.")
        keys = None
    elif shared:
        keys = key
    else:
        # Folded by task index: a task keeps its draws however the tasks are split over devices.
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_tasks(tasks)))

    def one(task: PyTree, task_key: Array | None = keys if shared else None) -> MetaGradient:
        count = num_inner_steps + 1
        # One split, not one fold for each step: each of them takes a tenth of a second to compile.
        step_keys = [task_key] * count if shared or task_key is None else list(jax.random.split(task_key, count))
        expand = partial(oracle.expand, loss, task=task)
        return _task_gradient(expand, params, inner_step_size, step_keys, first_order, max_halvings)

    per_task = over_tasks(layout, one, tasks, *(() if shared or keys is None else (keys,)))
    gradient = jax.tree.map(lambda leaf: jnp.tensordot(weights.astype(leaf.dtype), leaf, axes=1), per_task.gradient)
    # int32 also where x64 is on: these are carried through loops.
    failed, queries = (jnp.sum(count, dtype=jnp.int32) for count in (per_task.failed_queries, per_task.queries))
    return MetaGradient(gradient, failed, jnp.min(per_task.inner_fraction), queries)


def _task_gradient(expand, params, inner_step_size, keys, first_order: bool, max_halvings: int) -> MetaGradient:
    # Chain rule through the steps theta_{k+1} = theta_k - eta g(theta_k), whose Jacobians are I - eta H(theta_k).
    num_inner_steps = len(keys) - 1
    expansion = expand(params, key=keys[0], second_order=num_inner_steps > 0 and not first_order)
    failed, smallest = expansion.failed_queries, jnp.asarray(1.0)
    queries = jnp.asarray(expansion.queries, jnp.int32)
    steps = []
    for step, key in enumerate(keys[1:], start=1):
        ahead = partial(expand, key=key, second_order=False)
        params, following, fraction, asked = _inner_step(
            ahead, params, inner_step_size, expansion.gradient, max_halvings
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


def _inner_step(expand, params: PyTree, step_size, gradient: PyTree, max_halvings: int):
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
    if max_halvings == 0:
        fraction = jnp.ones((), dtype)
        (moved, expansion, queries), _ = attempt(fraction, blank)
    else:
        trial = first_accepted(attempt, before_trials(blank, dtype), max_backtracks=max_halvings, then_none=True)
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
