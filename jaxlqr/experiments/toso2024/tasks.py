"""The tasks of all panels, with their optima: drawn and solved once, since each compilation costs seconds."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from jaxlqr.families import boeing, perturb
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import solve_discrete_are

NUM_DRAWN, NUM_HELD_OUT = 15, 3  # 80 % to train on, 20 % unseen
LEVELS = (0.001, 0.01, 0.015)


class Drawn(NamedTuple):
    """Tasks of one heterogeneity level; task 0 is the nominal one, the last three are held out.

    Attributes:
        tasks: [seeds, 15, ...].
        values: cost-to-go matrices of the optima [seeds, 15, 4, 4].
        average_gain: optimum of the average of the tasks that are not held out [seeds, 2, 4].
    """

    tasks: LQRTask
    values: np.ndarray
    average_gain: np.ndarray


@jax.jit
def _solve(tasks: LQRTask) -> tuple[Array, Array]:
    def one(task: LQRTask) -> tuple[Array, Array]:
        return solve_discrete_are(task.A, task.B, task.Q, task.R, method="doubling"), optimal_gain(
            task, method="doubling"
        )

    return jax.vmap(jax.vmap(jax.vmap(one)))(tasks)


def draw(key: Array, num_seeds: int) -> dict[float, Drawn]:
    """Tasks for each level and ``num_seeds`` seeds; a seed has the same directions of heterogeneity at all levels."""
    seeds = jax.random.split(key, num_seeds)
    by_level = [
        jax.vmap(lambda seed, level=level: perturb(seed, boeing(), NUM_DRAWN, level))(seeds) for level in LEVELS
    ]
    # NumPy, here and where the panels are put together: each jnp operation of a new shape is compiled.
    tasks = jax.tree.map(lambda *leaves: np.stack(leaves), *by_level)
    # The average task goes along as a sixteenth, to be solved by the same compiled program.
    kept = NUM_DRAWN - NUM_HELD_OUT
    extended = jax.tree.map(
        lambda leaf: np.concatenate([leaf, leaf[:, :, :kept].mean(axis=2, keepdims=True)], axis=2), tasks
    )
    values, gains = _solve(extended)
    return {
        level: Drawn(
            jax.tree.map(lambda leaf, i=i: leaf[i], tasks),
            np.asarray(values[i, :, :NUM_DRAWN]),
            np.asarray(gains)[i, :, NUM_DRAWN],
        )
        for i, level in enumerate(LEVELS)
    }
