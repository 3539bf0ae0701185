"""The meta-objective as a landscape: finite where parameters and adapted parameters are feasible, else infinite."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import num_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.meta.maml import adapt
from jaxlqr.oracles.protocol import Loss, step_along

#: Losses (points times tasks) in flight at a time: what fits the second cache at n = 4. With sixteen times as many, a
#: loss takes 1.4 times as long.
CHUNK = 1024
# Parts for each core: a part within the stabilising set takes several times as long as one outside.
_PARTS_PER_CORE = 6


def task_values(
    loss: Loss, params: PyTree, tasks: PyTree, inner_step_size: Array | float, num_inner_steps: int = 1
) -> Array:
    r"""Values [M] of :math:`h_i(\theta) = J_i(\theta - \eta \nabla J_i(\theta))`, differentiable where they are finite.

    :math:`h_i = +\infty` unless both :math:`\theta` and the adapted parameters are feasible, that is unless
    :math:`\theta` is MAML-stabilising (musavi2023, Definition 2).
    """

    def one(task: PyTree) -> Array:
        if num_inner_steps == 0:
            return jnp.where(jnp.isfinite(value := loss(params, task)), value, jnp.inf)
        # Together, so that what value and gradient share is computed once.
        before, gradient = jax.value_and_grad(loss)(params, task)
        moved = step_along(params, inner_step_size, gradient)
        after = loss(adapt(loss, moved, task, inner_step_size, num_inner_steps=num_inner_steps - 1), task)
        return jnp.where(jnp.isfinite(before) & jnp.isfinite(after), after, jnp.inf)

    return jax.vmap(one)(tasks)


def mean_value(
    loss: Loss, params: PyTree, tasks: PyTree, inner_step_size: Array | float, num_inner_steps: int = 1
) -> Array:
    r"""The landscape :math:`h(\theta) = \frac1M \sum_i h_i(\theta)`, a scalar."""
    return jnp.mean(task_values(loss, params, tasks, inner_step_size, num_inner_steps))


def evaluate(
    loss: Loss,
    grid: Any,
    tasks: PyTree,
    inner_step_size: float | Array,
    *,
    num_inner_steps: int = 1,
    per_task: bool = False,
    max_points: int | None = None,
) -> Array:
    r"""Values of the meta-objective :math:`h(\theta) = \frac1M \sum_i J_i(\theta - \eta \nabla J_i(\theta))` on a grid.

    Arguments:
        loss: function (params, task) -> scalar, unbatched; +inf marks infeasible parameters.
        grid: parameters [points, ...], for LQR gains [points, m, n]; any pytree with that leading axis.
        tasks: pytree with a leading task axis M.
        inner_step_size: adaptation step size eta, positive.
        num_inner_steps: number of adaptation steps; 0 is the plain multi-task objective.
        per_task: return the values of each task, [points, M], and not their mean.
        max_points: points evaluated together, which bounds the memory; some 1000 losses unless given.
            On a CPU, so many are in flight on each core.

    Returns:
        Values [points]; +inf where the parameters, or the adapted ones, are infeasible for some task.

    Raises:
        ValueError: when an argument does not fit, or no point of the grid is feasible.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 0.9], b=1.0, q=[1.0, 2.0])
    >>> grid = jnp.linspace(-0.05, 1.85, 5).reshape(-1, 1, 1)
    >>> print(jnp.round(evaluate(jaxlqr.cost, grid, tasks, inner_step_size=0.02), 2))
    [ inf 2.12 2.25 3.21  inf]

    Source: musavi2023, equation (5), divided by the number of tasks; molybog2021, equation (2).
    """
    check_step(inner_step_size)
    count = num_tasks(grid)
    size = max(1, CHUNK // num_tasks(tasks)) if max_points is None else max_points
    if size < 1:
        raise ValueError(f"max_points must be at least 1, got {max_points}.")
    values = in_parts(
        partial(_evaluate, loss, num_inner_steps, min(size, count), per_task),
        min(size, count),
        grid,
        tasks,
        inner_step_size,
    )
    if not bool(jnp.any(jnp.isfinite(values))):
        raise ValueError(nowhere_feasible(count, num_tasks(tasks)))
    return values


@compiled(static=("num_inner_steps", "max_points", "per_task"))
def _evaluate(loss: Loss, num_inner_steps: int, max_points: int, per_task: bool, grid, tasks, inner_step_size) -> Array:
    def one(params: PyTree) -> Array:
        values = task_values(loss, params, tasks, inner_step_size, num_inner_steps)
        return values if per_task else jnp.mean(values)

    return lax.map(one, grid, batch_size=max_points)


def in_parts(function: Callable[..., PyTree], max_points: int, grid: PyTree, *args: Any) -> PyTree:
    """``function(grid, *args)``, on a CPU for parts of the grid on all cores: XLA runs a loop of small steps on one.

    All parts have one size, a multiple of ``max_points``, so that they share a compiled function.
    """
    count = num_tasks(grid)
    cores = _num_cores() if jax.default_backend() == "cpu" else 1
    size = -(-count // (cores * _PARTS_PER_CORE * max_points)) * max_points
    if cores == 1 or size >= count:
        return function(grid, *args)
    # The last part is filled up with points of the first.
    grid = jax.tree.map(lambda leaf: np.resize(leaf, (-(-count // size) * size, *np.shape(leaf)[1:])), grid)
    parts = [jax.tree.map(lambda leaf, i=i: leaf[i : i + size], grid) for i in range(0, count, size)]
    with ThreadPoolExecutor(cores) as pool:
        found = list(pool.map(lambda part: jax.block_until_ready(function(part, *args)), parts))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *found)


def _num_cores() -> int:
    # The cores that this process may use; on macOS all cores.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def nowhere_feasible(num_points: int, count: int) -> str:
    """The message for a grid with an infinite landscape at all points."""
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
