"""Tables I and II: the ends of training, and the minima of a search over a grid."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.landscape import evaluate
from jaxlqr.papers.musavi2023.setting import INNER_STEPS, NUM_STEPS, OUTER_STEP, STARTS, stabilising_grid
from jaxlqr.training import Output, TrainingResult, meta_train

RESOLUTION, REFINED = 0.05, 0.0025


@dataclass(frozen=True)
class GrowingSteps:
    """An inner step that grows geometrically to ``last`` at iterate ``num_steps``, and a fixed outer step."""

    first: float
    last: float
    num_steps: int
    outer_step: float

    def inner(self, params: Array, tasks: LQRTask, step: Array) -> Array:
        """The inner step at this step number."""
        return self.first * (self.last / self.first) ** (step / self.num_steps)

    def outer(self, params: Array, tasks: LQRTask, inner_step_size: Array, gradient: Array, step: Array) -> Array:
        """The outer step."""
        return jnp.asarray(self.outer_step)


def entries(params: Array, task: LQRTask) -> dict[str, Array]:
    """What is recorded: the two entries of the gain."""
    return {"w1": params[0, 0], "w2": params[0, 1]}


def train(
    tasks: LQRTask,
    start: int,
    *,
    num_steps: int = NUM_STEPS,
    output: Output = Output(metrics=entries),
) -> TrainingResult:
    """Run number ``start`` of the paper for every draw; ``tasks`` has axes [draws, tasks, ...].

    The safeguard is on: a step that would leave the stabilising set is halved, which the fourth start needs at first.
    """
    gain, first, last = STARTS[start]
    # One rule for all runs, also those with a constant step: what differs is a number of the rule.
    rule = GrowingSteps(first, last, NUM_STEPS, OUTER_STEP)
    gains = np.broadcast_to(np.array([gain]), (tasks.A.shape[0], 1, 2))
    return meta_train(cost, gains, tasks, num_steps=num_steps, step_rule=rule, batched=True, output=output)


def grid_minimiser(tasks: LQRTask, inner_step_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Best gains [2] on the grid of the paper and on a finer one around it, for one draw."""
    coarse = stabilising_grid(RESOLUTION)
    best = _best(tasks, coarse, inner_step_size)
    offsets = np.arange(-RESOLUTION, RESOLUTION + REFINED / 2, REFINED)
    around = best + np.stack(np.meshgrid(offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return best.ravel(), _best(tasks, around, inner_step_size).ravel()


def _best(tasks: LQRTask, grid: np.ndarray, inner_step_size: float) -> np.ndarray:
    return grid[int(np.argmin(np.asarray(evaluate(cost, grid, tasks, inner_step_size))))]


def table_2(drawn: LQRTask) -> dict[str, Any]:
    """Grid minimisers [draws, 2] for every inner step, coarse and refined."""
    draws = [jax.tree.map(lambda leaf, i=i: leaf[i], drawn) for i in range(drawn.A.shape[0])]
    found = {step: [grid_minimiser(tasks, step) for tasks in draws] for step in INNER_STEPS}
    return {
        f"{step:g}": {name: np.array([pair[i] for pair in pairs]) for i, name in enumerate(("grid", "refined"))}
        for step, pairs in found.items()
    }
