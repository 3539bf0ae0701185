"""Runs with the step sizes, radii and samples of toso2024, next to its guarantees: ``jaxlqr certified``."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlqr.commands.train import load_start
from jaxlqr.core.limits import check_count, check_history, check_seed
from jaxlqr.families.several_files import find_files
from jaxlqr.io.output import OutputFolder
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.toso2024.certified.figure import draw
from jaxlqr.papers.toso2024.certified.runs import Run, model_based, model_free, model_free_plan
from jaxlqr.papers.toso2024.theory import sublevel_suprema
from jaxlqr.papers.toso2024.theory.report import report

RESULT_FILES = ("certified.png", "runs.npz", "certified.json")
_MOST_QUERIES = 1e12  # a day of the fastest accelerator


@dataclass(frozen=True, kw_only=True)
class CertifiedSettings:
    """Settings of :func:`certified`.

    Attributes:
        epsilon: accuracy, relative to the first gap of each task.
        delta: probability that a model-free run misses it.
        max_steps: cap of the iterations of each run; guarantees for more iterations are only reported.
        max_queries: a model-free run that needs more cost queries is omitted, and the result states it.
        sublevel_samples: gains of the sub-level set over which the constants are maximised.
        seed: of these gains, of the directions of the report and of the zeroth-order oracle.
    """

    epsilon: float = 0.1
    delta: float = 0.05
    max_steps: int = 5000
    max_queries: float = 1e9
    sublevel_samples: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in (0, 1), got {getattr(self, name)}.")
        check_count(self.max_steps, "max_steps", 1, 2**31 - 1)
        check_count(self.sublevel_samples, "sublevel_samples", 1, 1_000_000)
        if not 0 <= self.max_queries <= _MOST_QUERIES:
            raise ValueError(f"max_queries must lie between 0 and {_MOST_QUERIES:g}, got {self.max_queries}.")
        check_seed(self.seed)


def certified(
    tasks_file: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: CertifiedSettings,
    *,
    gain_file: str | Path | None = None,
    dt: float | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Write the figure, the curves and the numbers of :func:`study` to the folder ``out``; return the numbers.

    Arguments:
        tasks_file, gain_file, dt: as for training; without a gain, the gain of the tasks file or the optimum of the
            average task, which leaves little to improve.
        out: output folder.
        settings: of the runs.
        progress: show progress bars; ``None`` shows them in a terminal or a notebook.
    """
    tasks_files = find_files(tasks_file)
    folder = OutputFolder(out, RESULT_FILES, inputs=(*tasks_files, gain_file))
    tasks, K0, source = load_start(tasks_files, gain_file, dt=dt)
    check_history(settings.max_steps, 1, len(tasks.A), K0.size, "max_steps")
    runs, content = study(tasks, K0, settings, progress=progress)
    told = {"command": "certified", "tasks_files": [str(path) for path in tasks_files], "dt": dt, "gain": source}
    content = told | content
    with folder:
        folder.write_figure("certified.png", draw(runs, content))
        folder.write_arrays(
            "runs.npz",
            {f"{run.name}_{key}": getattr(run, key) for run in runs for key in ("gap", "guarantee", "gains")},
        )
        folder.write_json("certified.json", content)
    return content


def study(
    tasks: LQRTask, K0: jax.Array, settings: CertifiedSettings, *, progress: bool | None = None
) -> tuple[list[Run], dict[str, Any]]:
    """The runs and their summary as plain numbers. The model-based runs have the steps of Theorem 1 over the sub-level
    set and at each iterate. The model-free run has the steps of Theorem 2, if its queries are within the limit."""
    began = time.perf_counter()
    key, report_key, run_key = jax.random.split(jax.random.key(settings.seed), 3)
    told = report(tasks, K0, epsilon=settings.epsilon, delta=settings.delta, key=report_key)
    worst, spread = sublevel_suprema(key, K0, tasks, num_samples=settings.sublevel_samples)
    runs = [
        model_based(
            tasks, K0, worst, spread, settings.epsilon, settings.max_steps, at_iterate=at_iterate, progress=progress
        )
        for at_iterate in (False, True)
    ]
    plan = model_free_plan(tasks, K0, worst, spread, settings.epsilon, settings.delta)
    plan["run"] = bool(plan["queries"] <= settings.max_queries)
    if plan["run"]:
        runs.append(model_free(run_key, tasks, K0, plan, settings.max_steps, progress=progress))
    content = {
        "settings": asdict(settings),
        "num_tasks": told["num_tasks"],
        "levels": told["levels"],
        "runs": {run.name: run.summary(settings.epsilon) for run in runs},
        "model_free_plan": plan,
        "rows": told["rows"],
        "wall_seconds": round(time.perf_counter() - began, 3),
    }
    return runs, content


def show(content: dict[str, Any], out: str | Path) -> None:
    """Print the numbers as a table."""
    from rich.table import Table

    from jaxlqr.io.console import open_console

    console = open_console()
    title = (
        f"{content['num_tasks']} tasks: iterations to {content['settings']['epsilon']:g} of the first gap, or the bias"
    )
    table = Table(title=title, title_justify="left")
    for column in ("run", "promised", "measured", "run to", "outer step", "sub-level set kept", "guarantee kept"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for run in content["runs"].values():
        cells = [_count(run["iterations"][key]) for key in ("promised", "measured")]
        kept = ["yes" if run[key] else "NO" for key in ("stays", "holds")]
        table.add_row(run["label"], *cells, str(run["num_steps"]), f"{run['outer_step'][0]:.3g}", *kept)
    console.print(table)
    plan = content["model_free_plan"]
    console.print(
        f"model-free: {plan['iterations']:.3g} iterations of {plan['samples']:.3g} samples for each estimate, "
        f"{plan['queries']:.3g} cost queries"
        + ("." if plan["run"] else f": more than {content['settings']['max_queries']:.3g}, so not run."),
        soft_wrap=True,
    )
    console.print(
        f"wrote {', '.join(RESULT_FILES)} to {out}; {content['wall_seconds']:.1f} s", soft_wrap=True, markup=False
    )


def _count(value: float | None) -> str:
    return "not reached" if value is None or not np.isfinite(value) else f"{value:.0f}"
