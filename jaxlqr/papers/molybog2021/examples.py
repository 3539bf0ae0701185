"""The parameters of the figures, which the paper lacks (erratum L1), and the search for Figures 3b to 3d.

All tasks are scalar with b = 1 and sigma0 = 1; a = 1 by default.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.commands.landscape.curve import Example
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.landscape.objective import task_values

#: Nearly all of the gains that stabilise a = b = 1, in steps of 1/1000, and somewhat beyond.
GRID = np.linspace(-0.1, 2.1, 2201).reshape(-1, 1, 1)

#: Number of draws of eleven tasks in the search; about one in a thousand has the whole pattern of the paper.
NUM_DRAWS = 4000

# The second hit of search(jax.random.key(0)); Figures 3b and 3c use the first two and five tasks.
STATE_COSTS = (0.75, 1.08, 0.23, 1.41, 1.35, 1.50, 1.07, 0.37, 1.95, 1.88, 1.00)
INPUT_COSTS = (0.58, 0.10, 0.79, 0.41, 2.47, 2.51, 3.42, 1.04, 3.50, 3.17, 3.68)


def examples() -> dict[str, Example]:
    """The figures of the paper by number.

    >>> {name: example.tasks.A.shape[0] for name, example in examples().items()}
    {'1': 1, '2': 2, '3a': 5, '3b': 2, '3c': 5, '3d': 11}
    """
    similar = scalar(
        a=[1.0, 1.01, 0.99, 1.005, 0.995],
        b=[1.0, 0.99, 1.01, 1.005, 0.995],
        q=[1.0, 1.02, 0.98, 1.01, 0.99],
        r=[1.0, 0.98, 1.02, 1.01, 0.99],
    )
    shown = {
        "1": Example(scalar(a=1.0), 0.08, "one task: three minima of equal value"),
        "2": Example(scalar(a=1.0, q=[1.0, 0.7], r=[1.0, 0.7]), 0.1, "two scaled copies: spurious minima"),
        "3a": Example(similar, 0.1, "five similar tasks: epsilon-global"),
    }
    for letter, count in (("b", 2), ("c", 5), ("d", 11)):
        tasks = scalar(a=1.0, q=STATE_COSTS[:count], r=INPUT_COSTS[:count])
        shown[f"3{letter}"] = Example(tasks, 0.08, f"{count} tasks with common dynamics")
    return shown


class Found(NamedTuple):
    """Result of :func:`search` for one draw: costs [11], and the excess and the minimisers for 2, 5 and 11 tasks."""

    q: Array
    r: Array
    excess: Array
    minimisers: Array
    mean_optimum: Array


def search(key: Array, num_draws: int = NUM_DRAWS, inner_step_size: float = 0.08) -> list[Found]:
    """Find draws of eleven tasks with common dynamics with the pattern of Figures 3b to 3d, on a coarse grid.

    State costs are uniform on (0.1, 2) and input costs on (0.1, 4), rounded to two decimals. The search keeps a draw
    with three properties. The excess of the worst minimum decreases from 2 to 5 to 11 tasks, to zero. With two tasks
    the global minimiser is at least 0.2 from both optima. With eleven it is within 0.1 of the mean of the optima.
    """
    state_key, input_key = jax.random.split(key)
    q = jnp.round(jax.random.uniform(state_key, (num_draws, 11), minval=0.1, maxval=2.0), 2)
    r = jnp.round(jax.random.uniform(input_key, (num_draws, 11), minval=0.1, maxval=4.0), 2)
    found = _look(q, r, jnp.asarray(inner_step_size))
    excess, minimisers, optima = (np.asarray(x) for x in (found.excess, found.minimisers, found.mean_optimum))
    first = optima[:, :2]
    good = (excess[:, 0] > 0.01) & (excess[:, 0] > excess[:, 1]) & (excess[:, 1] > 1e-4) & (excess[:, 2] == 0)
    good &= np.min(np.abs(minimisers[:, :1] - first), axis=1) > 0.2
    good &= np.abs(minimisers[:, 2] - optima.mean(axis=1)) < 0.1
    kept = [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in np.flatnonzero(good)]
    return [one._replace(mean_optimum=jnp.mean(one.mean_optimum)) for one in kept]


@jax.jit
def _look(q: Array, r: Array, inner_step_size: Array) -> Found:
    grid = jnp.linspace(-0.1, 2.1, 441)

    def one(q: Array, r: Array) -> Found:
        ones = jnp.ones((len(q), 1, 1), q.dtype)
        tasks = LQRTask(ones, ones, q[:, None, None], r[:, None, None], ones)
        values = jax.vmap(lambda k: task_values(scalar_cost, k.reshape(1, 1), tasks, inner_step_size))(grid)
        means = jnp.stack([jnp.mean(values[:, :count], axis=1) for count in (2, 5, 11)])
        inside = (means[:, 1:-1] < means[:, :-2]) & (means[:, 1:-1] < means[:, 2:])
        worst = jnp.max(jnp.where(inside, means[:, 1:-1], -jnp.inf), axis=1)
        # The scalar Riccati equation with a = b = 1: p^2 = q (p + r), k = p / (r + p).
        p = (q + jnp.sqrt(q**2 + 4 * q * r)) / 2
        return Found(q, r, worst - jnp.min(means, axis=1), grid[jnp.argmin(means, axis=1)], p / (r + p))

    return jax.lax.map(lambda pair: one(*pair), (q, r), batch_size=64)
