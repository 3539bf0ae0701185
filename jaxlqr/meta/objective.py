r"""The meta-objective :math:`\sum_i w_i\, J_i(\theta - \eta \nabla J_i(\theta))` and its gradient, for any loss."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.oracles.exact import ExactOracle
from jaxlqr.oracles.protocol import Loss, Oracle, PyTree, step_along

Perturbations = Literal["independent", "shared"]


class MetaGradient(NamedTuple):
    """Meta-gradient, a pytree like the parameters, and the number of failed cost queries over all tasks."""

    gradient: PyTree
    failed_queries: Array


def num_tasks(tasks: PyTree) -> int:
    """Length of the leading task axis."""
    lengths = {leaf.shape[0] if leaf.ndim else None for leaf in map(jnp.asarray, jax.tree.leaves(tasks))}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            f"tasks must be a pytree of arrays with one common leading task axis, got leading sizes {lengths}; use "
            "stack_tasks([task]) for a single task."
        )
    (length,) = lengths
    if length == 0:
        raise ValueError("tasks must hold at least one task, got a leading axis of length 0.")
    return length  # type: ignore[return-value]


def adapt(loss: Loss, params: PyTree, task: PyTree, inner_step_size: float | Array, num_inner_steps: int = 1) -> PyTree:
    """Parameters after ``num_inner_steps`` exact gradient steps on one task; differentiable."""
    for _ in range(num_inner_steps):
        params = step_along(params, inner_step_size, jax.grad(loss)(params, task))
    return params


def maml_loss(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    inner_step_size: float | Array,
    num_inner_steps: int = 1,
    weights: Array | None = None,
) -> Array:
    r"""Meta-objective :math:`\sum_i w_i\, J_i(\bar\theta_i)` with :math:`\bar\theta_i` the adapted parameters.

    Arguments:
        loss: function (params, task) -> scalar, unbatched.
        params: pytree of parameters, a gain [m, n] for LQR.
        tasks: pytree with a leading task axis M.
        inner_step_size: step size of the adaptation.
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
    losses = jax.vmap(lambda task: loss(adapt(loss, params, task, inner_step_size, num_inner_steps), task))(tasks)
    return jnp.sum(weights * losses)


def maml_gradient(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    inner_step_size: float | Array,
    oracle: Oracle | None = None,
    key: Array | None = None,
    *,
    num_inner_steps: int = 1,
    weights: Array | None = None,
    first_order: bool = False,
    perturbations: Perturbations = "independent",
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

    Returns:
        A pytree like ``params``; NaN where the loss of some adapted task is infinite.

    >>> import jax.numpy as jnp
    >>> quadratic = lambda params, task: (params - task) ** 2 / 2
    >>> float(maml_gradient(quadratic, jnp.array(1.0), jnp.array([1.0, -1.0]), inner_step_size=0.5))
    0.25
    """
    estimate = meta_estimate(
        loss,
        params,
        tasks,
        inner_step_size,
        ExactOracle() if oracle is None else oracle,
        key,
        num_inner_steps=num_inner_steps,
        weights=weights,
        first_order=first_order,
        perturbations=perturbations,
    )
    return estimate.gradient


def meta_estimate(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    inner_step_size: float | Array,
    oracle: Oracle,
    key: Array | None,
    *,
    num_inner_steps: int,
    weights: Array | None,
    first_order: bool,
    perturbations: Perturbations,
) -> MetaGradient:
    """:func:`maml_gradient` together with the number of failed cost queries."""
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

    def one(task: PyTree, task_key: Array | None) -> MetaGradient:
        step_keys = [
            task_key if shared or task_key is None else jax.random.fold_in(task_key, step)
            for step in range(num_inner_steps + 1)
        ]
        return _task_gradient(loss, params, task, inner_step_size, oracle, step_keys, first_order)

    per_task = jax.vmap(one, in_axes=(0, None if shared or keys is None else 0))(tasks, keys)
    gradient = jax.tree.map(lambda leaf: jnp.tensordot(weights.astype(leaf.dtype), leaf, axes=1), per_task.gradient)
    return MetaGradient(gradient, jnp.sum(per_task.failed_queries))


def _task_gradient(loss, params, task, inner_step_size, oracle: Oracle, keys, first_order: bool) -> MetaGradient:
    # Chain rule through the steps theta_{k+1} = theta_k - eta g(theta_k), whose Jacobians are I - eta H(theta_k).
    *inner_keys, outer_key = keys
    expansions = []
    for key in inner_keys:
        expansions.append(oracle.expand(loss, params, task, key, second_order=not first_order))
        params = step_along(params, inner_step_size, expansions[-1].gradient)
    outer = oracle.expand(loss, params, task, outer_key, second_order=False)
    gradient, failed = outer.gradient, outer.failed_queries
    for expansion in reversed(expansions):
        failed = failed + expansion.failed_queries
        if not first_order:
            gradient = step_along(gradient, inner_step_size, expansion.hessian_vector_product(gradient))
    return MetaGradient(gradient, failed)


def _weights(tasks: PyTree, weights: Array | None) -> Array:
    count = num_tasks(tasks)
    if weights is None:
        return jnp.full(count, 1 / count)
    weights = jnp.asarray(weights)
    if weights.shape != (count,):
        raise ValueError(f"weights must have shape ({count},), one for each task, got {weights.shape}.")
    return weights
