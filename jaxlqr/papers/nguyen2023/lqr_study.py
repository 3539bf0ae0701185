"""The rules of :mod:`jaxlqr.papers.nguyen2023.lqr` compared over seeds, per step and per second."""

import time
from functools import partial
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm.auto import tqdm

from jaxlqr.lqr import LQRTask
from jaxlqr.papers.nguyen2023.lqr import (
    FAMILIES,
    RULES,
    STRETCH,
    Adapted,
    Run,
    draw,
    optimise,
    run,
    uniform_after,
    uniform_history,
)
from jaxlqr.papers.units import Units

if TYPE_CHECKING:
    from rich.table import Table

BETAS = (10.0, 1.0, 0.1, 0.01)
SHOWN_BETA = 0.1  # of the curves
NUM_STEPS, NUM_SEEDS = 200, 10
QUICK_STEPS, QUICK_SEEDS, QUICK_BETAS = 50, 3, (10.0, 0.1)
STEP_SIZES = np.geomspace(1e-6, 1e-3, 31)  # a factor of 1.26 apart
_SOLVED = 1e-10  # relative gap at which Newton's method counts as done


class LqrStudy(NamedTuple):
    """One family.

    Attributes:
        gaps: over the optimum, before every stretch and at the end, by rule [seeds, betas, stretches + 1].
        uniform: the same of uniform weights at their best step size [seeds, stretches + 1].
        newton: the same of Newton's method, before every iteration [seeds, iterations].
        same_time: gap of uniform weights after the time that TOW took [seeds].
        cost_ratio: time of a step of TOW over that of a uniform step, in batches of many runs.
        step_sizes: best for uniform weights [seeds].
        weights: chosen by TOW at ``SHOWN_BETA`` for the first seed [steps, M].
        tasks: of the first seed [M].
    """

    gaps: dict[str, np.ndarray]
    uniform: np.ndarray
    newton: np.ndarray
    same_time: np.ndarray
    cost_ratio: float
    step_sizes: np.ndarray
    weights: np.ndarray
    tasks: Adapted


def study(
    key: Array, *, quick: bool, num_seeds: int, progress: bool | None, units: Units | None = None
) -> dict[str, LqrStudy]:
    """All families, in the order of ``FAMILIES``."""
    families = tqdm(FAMILIES, desc="TOW on LQR", unit="family", disable=None if progress is None else not progress)
    keep = units or Units()
    return {
        family: keep(f"lqr, {family}", partial(_study, key, family, quick, num_seeds), LqrStudy, Adapted, LQRTask)
        for family in families
    }


def betas(quick: bool) -> tuple[float, ...]:
    """Precisions of the prior on the weights."""
    return QUICK_BETAS if quick else BETAS


def _study(key: Array, family: str, quick: bool, num_seeds: int) -> LqrStudy:
    num_steps = QUICK_STEPS if quick else NUM_STEPS
    keys = jax.random.split(key, num_seeds)
    tasks = jax.vmap(partial(draw, family=family))(keys)
    best = jax.vmap(optimise)(tasks)
    value = np.asarray(best.value)[:, None]
    (step_sizes, uniform), plain_time = best_uniform(tasks, num_steps)
    runs, tow_time = _runs(keys, tasks, jnp.asarray(step_sizes), jnp.array(betas(quick)), num_steps)
    longer = jax.vmap(uniform_after, in_axes=(0, 0, None))(
        tasks, step_sizes, jnp.asarray(round(tow_time / plain_time * num_steps))
    )
    return LqrStudy(
        gaps={rule: np.asarray(runs.values)[:, :, i] - value[..., None] for i, rule in enumerate(RULES)},
        uniform=uniform[:, ::STRETCH] - value,
        newton=np.asarray(best.path) - value,
        same_time=np.asarray(longer) - value[:, 0],
        cost_ratio=tow_time / plain_time,
        step_sizes=step_sizes,
        weights=np.asarray(runs.weights)[0, betas(quick).index(SHOWN_BETA), RULES.index("tow")],
        tasks=jax.tree.map(lambda leaf: np.asarray(leaf[0]), tasks),
    )


def _runs(keys: Array, tasks: Adapted, step_sizes: Array, precisions: Array, num_steps: int) -> tuple[Run, float]:
    """Runs of all rules, leading axes [seeds, betas, rules], and the seconds of one."""
    rules = jnp.arange(len(RULES))
    found, seconds = timed(_over_all, rules, keys, tasks, step_sizes, precisions, num_stretches=num_steps // STRETCH)
    return found, seconds / (len(keys) * len(precisions) * len(RULES))


@partial(jax.jit, static_argnames="num_stretches")
def _over_all(
    rules: Array, keys: Array, tasks: Adapted, step_sizes: Array, precisions: Array, *, num_stretches: int
) -> Run:
    train = partial(run, method="ilqr", num_stretches=num_stretches)
    over_rules = jax.vmap(train, in_axes=(0, None, None, None, None))
    over_betas = jax.vmap(over_rules, in_axes=(None, None, None, None, 0))
    return jax.vmap(over_betas, in_axes=(None, 0, 0, 0, None))(rules, keys, tasks, step_sizes, precisions)


def best_uniform(tasks: Adapted, num_steps: int) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """For every seed the step size that ends lowest [seeds] and its history [seeds, num_steps + 1]; and the seconds of
    one run."""
    found, seconds = timed(_over_step_sizes, tasks, jnp.asarray(STEP_SIZES), num_steps=num_steps)
    histories = np.asarray(found)
    best = np.argmin(histories[:, :, -1], axis=0)
    num_seeds = histories.shape[1]
    return (STEP_SIZES[best], histories[best, np.arange(num_seeds)]), seconds / (len(STEP_SIZES) * num_seeds)


@partial(jax.jit, static_argnames="num_steps")
def _over_step_sizes(tasks: Adapted, step_sizes: Array, *, num_steps: int) -> Array:
    over_seeds = jax.vmap(partial(uniform_history, num_steps=num_steps), in_axes=(0, None))
    return jax.vmap(over_seeds, in_axes=(None, 0))(tasks, step_sizes)


_compiled: dict[Any, Any] = {}


def timed(function: Any, *args: Any, **static: Any) -> tuple[Any, float]:
    """The result of a jitted function, and its seconds without those to compile, once for the same shapes."""
    leaves, structure = jax.tree.flatten(jax.eval_shape(lambda *every: every, *args))
    key = (function, structure, *leaves, *static.items())
    if key not in _compiled:
        _compiled[key] = function.lower(*args, **static).compile()
    began = time.perf_counter()
    found = jax.block_until_ready(_compiled[key](*args))
    return found, time.perf_counter() - began


class Ratio(NamedTuple):
    """Median over seeds with its 95 % interval (of order statistics; NaN with fewer than six seeds), and how many of
    the runs left the stabilising set."""

    median: float
    low: float
    high: float
    num_unstable: int


def ratio(gaps: np.ndarray, reference: np.ndarray) -> Ratio:
    """Final gaps [seeds] over those of the reference [seeds]."""
    values = np.sort(gaps / reference)
    rank = _rank(len(values))
    low, high = (np.nan, np.nan) if rank is None else (values[rank], values[-1 - rank])
    return Ratio(float(np.median(values)), float(low), float(high), int(np.sum(~np.isfinite(values))))


def _rank(count: int) -> int | None:
    """Largest k for which the k-th smallest and k-th largest of ``count`` values, counted from 0, enclose the median of
    their distribution with a probability of at least 95 %: at most k heads in ``count`` throws have at most 2.5 %."""
    tail, rank = 0.0, None
    for k in range(count):
        tail += comb(count, k) / 2**count
        if 2 * tail > 0.05:
            break
        rank = k
    return rank


def told(one: LqrStudy, quick: bool) -> dict[str, Any]:
    """The entries of the summary for one family."""
    uniform = one.uniform[:, -1]
    solved = one.newton <= _SOLVED * one.newton[:, :1]
    tow, shown = one.gaps["tow"], betas(quick)
    return {
        "step_sizes": one.step_sizes,
        "uniform_relative_gap": np.median(uniform / one.uniform[:, 0]),
        "gap_over_uniform": {
            rule: {f"{beta:g}": ratio(gaps[:, i, -1], uniform)._asdict() for i, beta in enumerate(shown)}
            for rule, gaps in one.gaps.items()
        },
        # The effect of the weighting in addition to the larger steps, seed by seed.
        "tow_over": {
            rule: {
                f"{beta:g}": ratio(tow[:, i, -1], one.gaps[rule][:, i, -1])._asdict() for i, beta in enumerate(shown)
            }
            for rule in ("sums", "permuted")
        },
        "uniform_same_time_over_uniform": ratio(one.same_time, uniform)._asdict(),
        "tow_step_over_uniform_step": one.cost_ratio,
        "newton_iterations": np.argmax(solved, axis=1),
    }


def arrays(one: LqrStudy) -> dict[str, np.ndarray]:
    """The entries of the archive for one family."""
    gaps = {f"gap_{rule}": rows for rule, rows in one.gaps.items()}
    names = ("uniform", "newton", "same_time", "step_sizes", "weights")
    return gaps | {name: np.asarray(getattr(one, name)) for name in names}


def table(family: str, summary: dict[str, Any]) -> "Table":
    """Final gaps of one family over those of uniform weights, by rule and precision of the prior."""
    from rich.table import Table

    rules = summary["gap_over_uniform"]
    title = (
        f"nguyen2023, LQR, {family}: final gap over uniform's, median [95 %]; (n): runs that left the stabilising set"
    )
    found = Table("rule", *(f"beta {beta}" for beta in next(iter(rules.values()))), title=title)
    for rule, row in rules.items():
        found.add_row(rule, *(cell(entry) for entry in row.values()))
    for rule, row in summary["tow_over"].items():
        found.add_row(f"tow over {rule}, seed by seed", *(cell(entry) for entry in row.values()))
    found.add_row("uniform, same time", cell(summary["uniform_same_time_over_uniform"]))
    iterations = summary["newton_iterations"]
    ratio = f"a step of TOW takes {summary['tow_step_over_uniform_step']:.0f} uniform steps"
    found.caption = f"{ratio}; Newton's method is done after {min(iterations)} to {max(iterations)} iterations"
    return found


def cell(entry: dict[str, float]) -> str:
    """A ratio in a table: median, its interval if there is one, and the number of unstable runs if any."""
    from rich.markup import escape  # "[inf, inf]" would be taken for markup

    interval = "" if np.isnan(entry["low"]) else f" [{entry['low']:.3g}, {entry['high']:.3g}]"
    lost = f" ({entry['num_unstable']})" if entry["num_unstable"] else ""
    return escape(f"{entry['median']:.3g}{interval}{lost}")
