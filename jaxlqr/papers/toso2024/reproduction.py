"""Figure 1 of the MAML-LQR paper, as released and as a fair comparison."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from jaxlqr.papers.driver import Outcome, Paper, Part, Request, unchecked
from jaxlqr.papers.toso2024 import fair, figure, released, theory_part
from jaxlqr.papers.toso2024.curves import Curve, count_summary, iterations_until
from jaxlqr.papers.toso2024.tasks import Optima, draw, solve

# Seeds and steps of meta-training; a quick run omits the baselines that need separate compiled programs.
NUM_SEEDS, RELEASED_STEPS, FAIR_STEPS = 20, 500, 200
NUM_QUICK_SEEDS, QUICK_RELEASED_STEPS = 6, 300
ITERATIONS = (0, 50, 100, 200, 300, 500)
TARGETS = (0.1, 0.01)


def _figure1(request: Request) -> Outcome:
    """All panels of Figure 1; a quick run draws one figure of them in place of three.

    A quick run has 6 seeds instead of 20 and 300 steps as released instead of 500, without first-order and model-based
    MAML.
    """
    num_seeds = request.seeds(NUM_QUICK_SEEDS, NUM_SEEDS)
    quick, seed, progress, units = request.quick, request.seed, request.progress, request.units
    released_steps = QUICK_RELEASED_STEPS if quick else RELEASED_STEPS
    task_key, released_key, fair_key = jax.random.split(jax.random.key(seed), 3)
    drawn = draw(task_key, num_seeds)
    # Half of the time is compilation, which one thread does on one core: the parts run side by side.
    with ThreadPoolExecutor(3) as pool:
        optima = pool.submit(units, "optima", lambda: solve(drawn), Optima)
        as_released = pool.submit(released.run, released_key, drawn, optima, released_steps, progress, units)
        as_fair = pool.submit(fair.run, fair_key, drawn, optima, FAIR_STEPS, not quick, progress, units)
        rows = {"released": as_released.result()}
        rows["fair"], average_gap = as_fair.result()
    figures = {"figure1.png": figure.draw(rows, average_gap)}
    for version, panels in rows.items() if not quick else ():
        figures[f"figure1_{version}.png"] = figure.draw({version: panels}, average_gap)
    summary = _summary(rows, average_gap, num_seeds, seed)
    return Outcome(summary, figures, {"curves.npz": _arrays(rows)}, [_table(rows)])


PAPER = Paper(
    "toso2024",
    {
        "figure1": Part(unchecked(_figure1)),
        "theory": Part(unchecked(theory_part.run), in_all=False, summary_file="theory.json"),
    },
)


def _summary(rows, average_gap, num_seeds: int, seed: int) -> dict[str, Any]:
    panels: dict[str, dict[str, Any]] = {panel: {} for panel in ("left", "middle", "right")}
    for version, by_panel in rows.items():
        for panel, curves in by_panel.items():
            panels[panel][version] = {name: curve.summary(ITERATIONS) for name, curve in curves.items()}
    # The curve of the released level represents the left panel; the curve of the printed level is next to it.
    panels["left"]["printed"] = panels["left"]["released"].get("printed")
    panels["left"]["released"] = panels["left"]["released"]["maml"]
    panels["left"]["fair"]["average_task"] = {"gap": average_gap}
    for version in rows:
        panels["right"][version]["iterations_to_gap"] = _iterations(rows[version]["right"])
    return {
        "settings": {"seed": seed, "num_seeds": num_seeds, "released": released.settings(), "fair": fair.settings()},
        "panels": panels,
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


def _table(rows) -> Any:
    from rich.table import Table

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
    return table


def _cell(told: dict[str, Any], n: str) -> str:
    median = told["gap_at"].get(n)
    if median is None:
        return ""
    low, high = told["gap_quartiles_at"][n]
    return f"{median:.3g} [{low:.3g}, {high:.3g}]"
