"""The tasks of all panels and their optima: drawn and solved once, since each compilation costs seconds."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxlqr.families import boeing, perturb
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import Regulator, discrete_lqr

NUM_DRAWN, NUM_HELD_OUT = 15, 3  # 80 % to train on, 20 % unseen
LEVELS = (0.001, 0.01, 0.015)
#: Of the left panel as printed: levels of A, B, Q and R.
PRINTED_LEVELS = (1.2e-3, 1.1e-3, 1.4e-3, 1.2e-3)


class Optima(NamedTuple):
    """Solutions for the tasks of one heterogeneity level.

    Attributes:
        values: cost-to-go matrices of the optima [seeds, 15, 4, 4].
        average_gain: optimum of the average of the tasks that are not held out [seeds, 2, 4].
        average_costs: its costs [seeds, 15].
    """

    values: np.ndarray
    average_gain: np.ndarray
    average_costs: np.ndarray


def draw(key: Array, num_seeds: int) -> dict[float, LQRTask]:
    """Tasks [seeds, 15, ...] by level; task 0 is the nominal one, the last three are held out.

    A seed has the same directions of heterogeneity at all levels.
    """
    seeds = jax.random.split(key, num_seeds)
    by_level = {
        level: jax.vmap(lambda seed, level=level: perturb(seed, boeing(), NUM_DRAWN, level))(seeds) for level in LEVELS
    }
    # NumPy, here and where the panels are put together: each jnp operation of a new shape is compiled.
    return jax.tree.map(np.asarray, by_level)


def draw_as_printed(key: Array, num_seeds: int, num_tasks: int) -> LQRTask:
    """Tasks [seeds, num_tasks, ...] by the appendix of the paper: A + a Z_a and so on, a uniform on (0, level).

    The masks Z are not printed; here they are ones. Task 0 is the nominal one, as released.
    """
    nominal = boeing()
    leaves = (nominal.A, nominal.B, nominal.Q, nominal.R)
    shares = np.array(jax.random.uniform(key, (num_seeds, num_tasks, len(leaves), 1, 1)))
    shares[:, 0] = 0
    factors = shares * np.array(PRINTED_LEVELS).reshape(-1, 1, 1)
    # NumPy arrays, as in draw; the loop that takes them moves them to the device.
    moved: Any = [np.asarray(leaf) + factors[:, :, i] * np.ones(leaf.shape) for i, leaf in enumerate(leaves)]
    moved.append(np.broadcast_to(nominal.Sigma0, (num_seeds, num_tasks, *nominal.Sigma0.shape)))
    return LQRTask(*moved)


@jax.jit
def _solve(tasks: LQRTask) -> tuple[Regulator, Array]:
    """Optima of the tasks, with the average task as the last one, and the costs of its optimum."""

    def one(task: LQRTask) -> Regulator:
        return discrete_lqr(task.A, task.B, task.Q, task.R)

    best = jax.vmap(jax.vmap(jax.vmap(one)))(tasks)
    costs = jax.vmap(jax.vmap(jax.vmap(cost, in_axes=(None, 0))))(best.gain[:, :, -1], tasks)
    return best, costs


def solve(drawn: dict[float, LQRTask]) -> dict[float, Optima]:
    """Optima of the tasks of all levels, in one compiled program."""
    # The average task goes along as a sixteenth.
    kept = NUM_DRAWN - NUM_HELD_OUT
    extended = jax.tree.map(
        lambda *leaves: np.stack(
            [np.concatenate([x, x[:, :kept].mean(axis=1, keepdims=True)], axis=1) for x in leaves]
        ),
        *drawn.values(),
    )
    (gains, values), costs = jax.tree.map(np.asarray, _solve(extended))
    return {
        level: Optima(values[i, :, :NUM_DRAWN], gains[i, :, NUM_DRAWN], costs[i, :, :NUM_DRAWN])
        for i, level in enumerate(drawn)
    }
