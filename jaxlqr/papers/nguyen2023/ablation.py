"""How TOW's weights are found, on LQR tasks: iterations of iLQR, full or diagonal matrices, and
what each costs in time (appendices B to D of the paper, on the family ``both`` of :mod:`.lqr`)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm.auto import tqdm

from jaxlqr.meta.trajectory_weighting import WeightMethod
from jaxlqr.papers.nguyen2023.lqr import RULES, STRETCH, Adapted, Run, draw, optimise, run, uniform_history
from jaxlqr.papers.nguyen2023.lqr_study import (
    NUM_STEPS,
    QUICK_STEPS,
    best_uniform,
    ratio,
    timed,
)

FAMILY, BETA, LONGER = "both", 0.1, 100


class Variant(NamedTuple):
    """A way to find the weights."""

    method: WeightMethod
    num_iterations: int


VARIANTS = {
    "iLQR, 1 iteration": Variant("ilqr", 1),
    "iLQR, 2 iterations": Variant("ilqr", 2),
    "iLQR, 10 iterations": Variant("ilqr", 10),
    "diagonal, 1 iteration": Variant("ilqr_diagonal", 1),
    "diagonal, 2 iterations": Variant("ilqr_diagonal", 2),
    "exact gradient": Variant("reverse", 1),
    "Gram gradient": Variant("gram", 1),
}
QUICK_VARIANTS = ("iLQR, 1 iteration", "diagonal, 1 iteration")


class Ablation(NamedTuple):
    """The results; times are for one run in a batch of many, without compilation.

    Attributes:
        gaps: mean adapted cost over its minimum, by variant [seeds, stretches + 1].
        seconds: of a run, by variant.
        decreases: of J, relative, by variant [seeds, stretches].
        weights: of the first seed under the first variant [steps, M].
        scales: of the costs of its tasks [M].
        uniform, uniform_seconds: the same of uniform weights at their best step size [seeds, stretches + 1].
        longer: gap of the same, trained ``LONGER`` times as long, in as many points [seeds, stretches + 1].
        newton, newton_seconds: the same of Newton's method [seeds, iterations + 1].
    """

    gaps: dict[str, np.ndarray]
    seconds: dict[str, float]
    decreases: dict[str, np.ndarray]
    weights: np.ndarray
    scales: np.ndarray
    uniform: np.ndarray
    uniform_seconds: float
    longer: np.ndarray
    newton: np.ndarray
    newton_seconds: float


def ablate(key: Array, quick: bool, num_seeds: int, progress: bool | None) -> Ablation:
    """All variants from the same seeds, tasks and step sizes as the part ``lqr``."""
    num_steps = QUICK_STEPS if quick else NUM_STEPS
    keys = jax.random.split(key, num_seeds)
    tasks = jax.vmap(partial(draw, family=FAMILY))(keys)
    best, newton_seconds = timed(_over_seeds, tasks)
    value = np.asarray(best.value)[:, None]
    (step_sizes, uniform), uniform_seconds = best_uniform(tasks, num_steps)
    runs: dict[str, Run] = {}
    seconds: dict[str, float] = {}
    names = QUICK_VARIANTS if quick else VARIANTS
    given = (keys, tasks, jnp.asarray(step_sizes), jnp.asarray(BETA))
    hidden = None if progress is None else not progress
    for name in tqdm(names, desc="how weights are found", unit="way", disable=hidden):
        runs[name], total = timed(_trained, *given, variant=VARIANTS[name], num_stretches=num_steps // STRETCH)
        seconds[name] = total / num_seeds
    return Ablation(
        gaps={name: np.asarray(one.values) - value for name, one in runs.items()},
        seconds=seconds,
        decreases={name: np.asarray(one.decreases) for name, one in runs.items()},
        weights=np.asarray(next(iter(runs.values())).weights[0]),
        scales=np.asarray(jnp.trace(tasks.task.Q[0], axis1=1, axis2=2)),
        uniform=uniform[:, ::STRETCH] - value,
        longer=np.asarray(_continued(tasks, step_sizes, num_steps=LONGER * num_steps)) - value,
        uniform_seconds=uniform_seconds,
        newton=np.concatenate([np.asarray(best.path), value], axis=1) - value,
        newton_seconds=newton_seconds / num_seeds,
    )


@jax.jit
def _over_seeds(tasks: Adapted):
    return jax.vmap(optimise)(tasks)


@partial(jax.jit, static_argnames="num_steps")
def _continued(tasks: Adapted, step_sizes: Array, *, num_steps: int) -> Array:
    history = jax.vmap(partial(uniform_history, num_steps=num_steps))(tasks, step_sizes)
    return history[:, :: LONGER * STRETCH]


@partial(jax.jit, static_argnames=("variant", "num_stretches"))
def _trained(
    keys: Array, tasks: Adapted, step_sizes: Array, beta: Array, *, variant: Variant, num_stretches: int
) -> Run:
    one = partial(run, jnp.asarray(RULES.index("tow")), num_stretches=num_stretches, **variant._asdict())
    return jax.vmap(one, in_axes=(0, 0, 0, None))(keys, tasks, step_sizes, beta)


def told(found: Ablation) -> dict[str, Any]:
    """The entries of the summary."""
    uniform = found.uniform[:, -1]
    return {
        "gap_over_uniform": {name: ratio(gaps[:, -1], uniform)._asdict() for name, gaps in found.gaps.items()},
        "seconds_over_uniform": {name: each / found.uniform_seconds for name, each in found.seconds.items()},
        "decrease_of_objective": {name: float(np.nanmedian(each)) for name, each in found.decreases.items()},
        "uniform_seconds": found.uniform_seconds,
        "newton_seconds_over_uniform": found.newton_seconds / found.uniform_seconds,
    }
