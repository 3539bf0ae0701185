"""How often a random family is epsilon-global, against how much its tasks differ and against the inner step.

Fractions for claims that the paper supports with one example each. A family has five scalar tasks around a = b = q = r
= 1, each of these numbers times 1 + level u with u uniform on (-1, 1); sigma0 is 1. It counts as epsilon-global when no
local minimum of its meta-objective lies higher above the least value than a given share of that.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.landscape.objective import in_parts, task_values
from jaxlqr.papers.units import Units

NUM_TASKS, NUM_FAMILIES, NUM_QUICK_FAMILIES = 5, 1000, 100
LEVELS = (0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6)
INNER_STEPS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
#: Epsilon, in units of the least value of the family.
TOLERANCES = (1e-3, 1e-2, 1e-1)
# Between the ends of the interval of gains that stabilise all tasks of a family.
_NUM_POINTS, _FAMILIES_TOGETHER = 2000, 4


def family(key: Array, level: Array | float) -> LQRTask:
    """Five scalar tasks, a stack.

    >>> family(jax.random.key(0), 0.1).A.shape
    (5, 1, 1)
    """
    a, b, q, r = 1 + level * jax.random.uniform(key, (4, NUM_TASKS, 1, 1), minval=-1.0, maxval=1.0)
    return LQRTask(a, b, q, r, jnp.ones_like(a))


def stabilising_interval(tasks: LQRTask) -> tuple[Array, Array]:
    """Ends of the gains with |a - b k| < 1 for all scalar tasks with b > 0; not in order when there are none."""
    return jnp.max((tasks.A - 1) / tasks.B), jnp.min((tasks.A + 1) / tasks.B)


def relative_excess(tasks: LQRTask, inner_step_size: Array | float) -> Array:
    """Height of the worst local minimum above the least value, in units of that, a scalar; NaN without a minimum.

    Minima are computed on a grid over :func:`stabilising_interval`; outside this interval the objective is infinite.
    Between grid points a minimum is the one of the parabola through three points, so equal minima have equal values.
    """
    low, high = stabilising_interval(tasks)
    gains = low + (high - low) * (jnp.arange(_NUM_POINTS) + 0.5) / _NUM_POINTS

    def one(gain: Array) -> Array:
        return jnp.mean(task_values(scalar_cost, gain.reshape(1, 1), tasks, inner_step_size))

    values = jnp.where(low < high, jax.vmap(one)(gains), jnp.inf)
    left, middle, right = values[:-2], values[1:-1], values[2:]
    # A minimum next to an infinite value is where the set ends, not where the slope vanishes.
    inside = (middle < left) & (middle <= right) & jnp.isfinite(left) & jnp.isfinite(right)
    bend = jnp.where(inside, left - 2 * middle + right, 1.0)
    lowest = middle - jnp.where(inside, right - left, 0.0) ** 2 / (8 * bend)
    least = jnp.min(jnp.where(inside, lowest, jnp.inf))
    worst = jnp.max(jnp.where(inside, lowest, -jnp.inf))
    return jnp.where(jnp.any(inside), (worst - least) / least, jnp.nan)


@jax.jit
def _excesses(keys: Array, level: Array, inner_step_size: Array) -> Array:
    def one(key: Array) -> Array:
        return relative_excess(family(jax.random.wrap_key_data(key), level), inner_step_size)

    return lax.map(one, keys, batch_size=_FAMILIES_TOGETHER)


def phase_diagram(
    num_families: int, seed: int = 0, *, progress: bool | None = None, units: Units | None = None
) -> dict[str, Any]:
    """Fractions [tolerances, levels, inner steps] of epsilon-global families, with Wilson's 95 % intervals.

    The same families are drawn at every inner step, and the same numbers u at every level. Families without a feasible
    minimum count as not epsilon-global; their share is returned, too, [levels, inner steps].
    """
    from tqdm.auto import tqdm

    if num_families < 1:
        raise ValueError(f"num_families must be at least 1, got {num_families}.")
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), num_families)))
    cells = [(level, step) for level in LEVELS for step in INNER_STEPS]
    shown = tqdm(cells, desc="phase diagram", unit="cell", disable=None if progress is None else not progress)
    keep = units or Units()

    def look(cell: tuple[float, float]) -> Array:
        return in_parts(_excesses, _FAMILIES_TOGETHER, keys, *map(jnp.asarray, cell))

    rows = [keep(f"phase {level:g} {step:g}", partial(look, (level, step))) for level, step in shown]
    found = np.asarray(rows).reshape(len(LEVELS), len(INNER_STEPS), num_families)
    good = np.stack([found <= tolerance for tolerance in TOLERANCES])  # false for NaN
    low, high = wilson(good.sum(axis=-1), num_families)
    return {
        "seed": seed, "num_families": num_families, "num_tasks": NUM_TASKS, "levels": LEVELS,
        "inner_steps": INNER_STEPS, "tolerances": TOLERANCES, "fraction": good.mean(axis=-1), "low": low, "high": high,
        "without_minimum": np.isnan(found).mean(axis=-1),
    }  # fmt: skip


def wilson(successes: np.ndarray, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of 95 % for a fraction, its two ends, each shaped like ``successes``.

    >>> low, high = wilson(np.array([0, 50]), 100)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.404], [0.037, 0.596])

    Source: Wilson, J. Amer. Statist. Assoc. 22 (1927).
    """
    z = 1.959964  # normal quantile of 97.5 %
    share = np.asarray(successes) / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At 0 and 1 the ends are exact, and rounding must not change them.
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)
