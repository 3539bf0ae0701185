"""Figure 1 of the MAML-LQR paper, as released and as a fair comparison."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlqr.output import OutputFolder
from jaxlqr.papers.toso2024 import fair, figure, released
from jaxlqr.papers.toso2024.curves import Curve, count_summary, iterations_until
from jaxlqr.papers.toso2024.tasks import Optima, draw, solve
from jaxlqr.papers.toso2024.theory_part import reproduce_theory
from jaxlqr.papers.units import Units

# Seeds and steps of meta-training; a quick run leaves out the baselines that are programs of their own to compile.
NUM_SEEDS, RELEASED_STEPS, FAIR_STEPS = 20, 500, 200
NUM_QUICK_SEEDS, QUICK_RELEASED_STEPS = 6, 300
ITERATIONS = (0, 50, 100, 200, 300, 500)
TARGETS = (0.1, 0.01)


PARTS = ("figure1", "theory")


def reproduce(
    out: Path,
    *,
    quick: bool = False,
    num_seeds: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
    part: str = "figure1",
    units: Units | None = None,
) -> dict[str, Any]:
    """Run all panels of Figure 1, write ``figure1.png``, ``figure1_released.png``, ``figure1_fair.png``,
    ``curves.npz`` and ``summary.json`` to ``out``, print a table, and return the summary; a quick run only writes the
    first figure.

    Arguments:
        out: output folder; checked before the work begins, written when it is complete.
        quick: 6 seeds instead of 20 and 300 steps as released instead of 500, without first-order and model-based MAML.
        num_seeds: number of seeds, at least 1; overrides ``quick``.
        seed: of all random numbers.
        progress: show progress bars; ``None`` shows them in a terminal or a notebook.
        units: where finished units are kept, see :mod:`jaxlqr.papers.units`; nowhere unless given.
        part: ``"figure1"``, or ``"theory"`` for :func:`reproduce_theory`, which has nothing in common with it.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}.")
    units = units or Units()
    if part == "theory":
        return reproduce_theory(out, quick=quick, num_seeds=num_seeds, seed=seed, progress=progress, units=units)
    num_seeds = (NUM_QUICK_SEEDS if quick else NUM_SEEDS) if num_seeds is None else num_seeds
    if num_seeds < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {num_seeds}.")
    released_steps = QUICK_RELEASED_STEPS if quick else RELEASED_STEPS
    folder = OutputFolder(out)
    began = time.perf_counter()
    task_key, released_key, fair_key = jax.random.split(jax.random.key(seed), 3)
    drawn = draw(task_key, num_seeds)
    # Half of the time is compilation, which one thread does on one core: the parts run side by side.
    with ThreadPoolExecutor(3) as pool:
        optima = pool.submit(units, "optima", lambda: solve(drawn), Optima)
        as_released = pool.submit(released.run, released_key, drawn, optima, released_steps, progress, units)
        as_fair = pool.submit(fair.run, fair_key, drawn, optima, FAIR_STEPS, not quick, progress, units)
        rows = {"released": as_released.result()}
        rows["fair"], average_gap = as_fair.result()
    summary = _summary(rows, average_gap, num_seeds, seed, time.perf_counter() - began)
    with folder:
        folder.write_figure("figure1.png", figure.draw(rows, average_gap))
        for version, panels in rows.items() if not quick else ():
            folder.write_figure(f"figure1_{version}.png", figure.draw({version: panels}, average_gap))
        folder.write_arrays("curves.npz", _arrays(rows))
        folder.write_json("summary.json", summary)
    _print_table(rows, summary, out)
    return summary


def _summary(rows, average_gap, num_seeds: int, seed: int, wall_time: float) -> dict[str, Any]:
    panels: dict[str, dict[str, Any]] = {panel: {} for panel in ("left", "middle", "right")}
    for version, by_panel in rows.items():
        for panel, curves in by_panel.items():
            panels[panel][version] = {name: curve.summary(ITERATIONS) for name, curve in curves.items()}
    # The curve of the released level stands for the left panel; that of the printed level is beside it.
    panels["left"]["printed"] = panels["left"]["released"].get("printed")
    panels["left"]["released"] = panels["left"]["released"]["maml"]
    panels["left"]["fair"]["average_task"] = {"gap": average_gap}
    for version in rows:
        panels["right"][version]["iterations_to_gap"] = _iterations(rows[version]["right"])
    return {
        "paper": "toso2024",
        "settings": {"seed": seed, "num_seeds": num_seeds, "released": released.settings(), "fair": fair.settings()},
        "panels": panels,
        "wall_time_seconds": wall_time,
        "jax": jax.__version__,
    }


def _iterations(curves: dict[str, Curve]) -> dict[str, Any]:
    """Iterations to each target by start, and the advantage of a start over the one that was not meta-trained."""
    told: dict[str, Any] = {}
    for target in TARGETS:
        counts = {name: iterations_until(curve.gaps, target) for name, curve in curves.items()}
        told[str(target)] = {name: count_summary(count) for name, count in counts.items()}
    return told


def _arrays(rows) -> dict[str, np.ndarray]:
    return {
        f"{panel}_{version}_{name}": curve.gaps
        for version, panels in rows.items()
        for panel, curves in panels.items()
        for name, curve in curves.items()
    }


def _print_table(rows, summary: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    from jaxlqr.console import open_console

    table = Table(title="toso2024, Figure 1: gap, median \\[quartiles] over seeds")
    shown = ITERATIONS[1:]
    for column in ("panel", "version", "curve", *(f"n = {n}" for n in shown), "diverged"):
        table.add_column(column, justify="left" if column in ("panel", "version", "curve") else "right")
    for version, panels in rows.items():
        for panel, curves in panels.items():
            for curve in curves.values():
                told = curve.summary(ITERATIONS)
                cells = [_cell(told, str(n)) for n in shown]
                table.add_row(panel, version, curve.label, *cells, f"{told['num_diverged']}/{told['num_seeds']}")
    console = open_console()
    console.print(table)
    console.print(f"{summary['wall_time_seconds']:.0f} s; figures, curves.npz and summary.json are in {out}")


def _cell(told: dict[str, Any], n: str) -> str:
    median = told["gap_at"].get(n)
    if median is None:
        return ""
    low, high = told["gap_quartiles_at"][n]
    return f"{median:.3g} [{low:.3g}, {high:.3g}]"
