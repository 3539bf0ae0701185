"""The theory beside measurements: heterogeneity and sample complexity, ``jaxlqr reproduce toso2024 --part theory``."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxlqr.families import boeing
from jaxlqr.lqr import make_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.toso2024 import theory_figure, theory_heterogeneity, theory_samples

NUM_SEEDS, NUM_REPEATS = 20, 100
NUM_QUICK_SEEDS, NUM_QUICK_REPEATS = 3, 20
_MILD = "two states, one input"


def nominal_tasks() -> dict[str, LQRTask]:
    """The nominal systems by name."""
    return {_MILD: make_task([[1.0, 0.2], [0.0, 1.1]], [[0.0], [0.5]]), "Boeing, released": boeing()}


def run(request: Request) -> Outcome:
    """Both studies: the gap against heterogeneity, and the errors of the estimates.

    The seeds are families at each level. A quick run has 3 instead of 20, and 20 repeated estimates instead of 100.
    """
    num_seeds = request.seeds(NUM_QUICK_SEEDS, NUM_SEEDS)
    quick, seed, progress, units = request.quick, request.seed, request.progress, request.units
    first, second = jax.random.split(jax.random.key(seed))
    tasks = nominal_tasks()
    look = partial(theory_heterogeneity.study, first, num_seeds=num_seeds, progress=progress, units=units)
    gaps = {
        name: units(name, partial(look, task, descend=name == _MILD), theory_heterogeneity.Heterogeneity)
        for name, task in tasks.items()
    }
    estimate = partial(theory_samples.study, second, tasks[_MILD], NUM_QUICK_REPEATS if quick else NUM_REPEATS)
    samples = units("samples", estimate, theory_samples.Samples)
    content = {
        "part": "theory",
        "settings": {
            "seed": seed,
            "num_seeds": num_seeds,
            "num_tasks": theory_heterogeneity.NUM_TASKS,
            "num_repeats": samples.by_count.shape[1],
        },
        "heterogeneity": {name: found.summary() for name, found in gaps.items()},
        "samples": samples.summary(),
    }
    arrays: dict[str, np.ndarray] = {"levels": theory_heterogeneity.LEVELS, "radii": theory_samples.RADII}
    for name, found in gaps.items():
        key = name.split(",")[0].replace(" ", "_").lower()
        arrays |= {f"{key}_{field}": getattr(found, field) for field in ("optimum", "bound_6", "bound_7")}
    arrays |= {"counts": samples.counts, "by_count": samples.by_count, "by_radius": samples.by_radius}
    figures = {
        "heterogeneity.png": theory_figure.draw_heterogeneity(gaps),
        "samples.png": theory_figure.draw_samples(samples),
    }
    return Outcome(content, figures, {"theory.npz": arrays}, _tables(content))


def _tables(content: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    slopes = Table("nominal system", "slope of the gap", "bound (6) / gap", "bound (7) / gap", title="heterogeneity")
    for name, told in content["heterogeneity"].items():
        slope = told["optimum"]["slope"]
        ratios = (f"{np.min(told[f'bound_{i}_over_gap']):.2g}" for i in (6, 7))
        slopes.add_row(name, f"{slope['mean']:.3f} [{slope['low']:.3f}, {slope['high']:.3f}]", *ratios)
    table = Table("estimate", "slope", "samples needed", "predicted", "good radii, exact", "rollouts", title="samples")
    for name in theory_samples.ESTIMATES:
        told = content["samples"][name]
        cells = [f"{told[key]:.2g}" for key in ("slope", "samples_measured")]
        cells.append(f"{told['samples_predicted']['corrected']:.2g}")
        cells += [f"{low:.1g} to {high:.1g}" for low, high in told["good_radii"].values()]
        table.add_row(name, *cells)
    return [slopes, table]
