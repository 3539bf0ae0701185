"""The meta-objective as a landscape: finite where parameters and adapted parameters are feasible, else infinite."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.meta.objective import adapt, num_tasks
from jaxlqr.oracles.protocol import Loss, PyTree

#: Losses (points times tasks) in flight at a time: some tens of megabytes for systems of a few states.
CHUNK = 16_384


def task_values(
    loss: Loss, params: PyTree, tasks: PyTree, inner_step_size: Array | float, num_inner_steps: int = 1
) -> Array:
    r"""Values [M] of :math:`h_i(\theta) = J_i(\theta - \eta \nabla J_i(\theta))`, differentiable where they are finite.

    :math:`h_i = +\infty` unless both :math:`\theta` and the adapted parameters are feasible, that is unless
    :math:`\theta` is MAML-stabilising (musavi2023, Definition 2).
    """

    def one(task: PyTree) -> Array:
        before = loss(params, task)
        after = loss(adapt(loss, params, task, inner_step_size, num_inner_steps), task)
        return jnp.where(jnp.isfinite(before) & jnp.isfinite(after), after, jnp.inf)

    return jax.vmap(one)(tasks)


def mean_value(
    loss: Loss, params: PyTree, tasks: PyTree, inner_step_size: Array | float, num_inner_steps: int = 1
) -> Array:
    r"""The landscape :math:`h(\theta) = \frac1M \sum_i h_i(\theta)`, a scalar."""
    return jnp.mean(task_values(loss, params, tasks, inner_step_size, num_inner_steps))


def evaluate(
    loss: Loss,
    tasks: PyTree,
    grid: Any,
    inner_step_size: float | Array,
    *,
    num_inner_steps: int = 1,
    per_task: bool = False,
    chunk_size: int | None = None,
) -> Array:
    r"""Values of the meta-objective :math:`h(\theta) = \frac1M \sum_i J_i(\theta - \eta \nabla J_i(\theta))` on a grid.

    Arguments:
        loss: function (params, task) -> scalar, unbatched; +inf marks infeasible parameters.
        tasks: pytree with a leading task axis M.
        grid: parameters [points, ...], for LQR gains [points, m, n]; any pytree with that leading axis.
        inner_step_size: adaptation step size eta, positive.
        num_inner_steps: number of adaptation steps; 0 is the plain multi-task objective.
        per_task: return the values of each task, [points, M], and not their mean.
        chunk_size: points evaluated together, which bounds the memory; some 16,000 losses unless given.

    Returns:
        Values [points]; +inf where the parameters, or the adapted ones, are infeasible for some task.

    Raises:
        ValueError: when an argument does not fit, or no point of the grid is feasible.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 0.9], b=1.0, q=[1.0, 2.0])
    >>> grid = jnp.linspace(-0.05, 1.85, 5).reshape(-1, 1, 1)
    >>> print(jnp.round(evaluate(jaxlqr.cost, tasks, grid, inner_step_size=0.02), 2))
    [ inf 2.12 2.25 3.21  inf]

    Source: musavi2023, equation (5), divided by the number of tasks; molybog2021, equation (2).
    """
    check_step(inner_step_size)
    count = num_tasks(grid)
    size = max(1, CHUNK // num_tasks(tasks)) if chunk_size is None else chunk_size
    if size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}.")
    values = _evaluate(loss, num_inner_steps, min(size, count), tasks, grid, inner_step_size)
    if not bool(jnp.any(jnp.isfinite(values))):
        raise ValueError(nowhere_feasible(count, num_tasks(tasks)))
    return values if per_task else jnp.mean(values, axis=1)


@partial(jax.jit, static_argnames=("loss", "num_inner_steps", "chunk_size"))
def _evaluate(loss: Loss, num_inner_steps: int, chunk_size: int, tasks, grid, inner_step_size) -> Array:
    def one(params: PyTree) -> Array:
        return task_values(loss, params, tasks, inner_step_size, num_inner_steps)

    return lax.map(one, grid, batch_size=chunk_size)


def nowhere_feasible(num_points: int, count: int) -> str:
    """The message for a grid on which the landscape is infinite everywhere."""
    return (
        f"grid must hold a point that is feasible for every task before and after adaptation, but the objective is "
        f"infinite at all of its {num_points} points for {count} tasks; move the grid towards a stabilising gain, such "
        "as an optimal one, or reduce inner_step_size."
    )


def check_step(inner_step_size: Any) -> None:
    """Raise ``ValueError`` unless the adaptation step size is a positive finite number."""
    if isinstance(inner_step_size, Tracer):
        return
    step = float(inner_step_size)
    if not (step > 0 and math.isfinite(step)):
        raise ValueError(
            f"inner_step_size must be positive and finite, got {step}; without adaptation, pass num_inner_steps=0 to "
            "evaluate."
        )
