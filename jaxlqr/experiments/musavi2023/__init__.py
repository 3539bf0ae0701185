"""Figure 1 and Tables I and II of "Convergence of gradient-based MAML in LQR"."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlqr.experiments.musavi2023 import figure
from jaxlqr.experiments.musavi2023.certified import compare
from jaxlqr.experiments.musavi2023.setting import INNER_STEPS, NUM_STEPS, OUTER_STEP, SIGMA0, STARTS, draw
from jaxlqr.experiments.musavi2023.tables import RESOLUTION, table_2, train
from jaxlqr.lqr import optimal_gain
from jaxlqr.lqr.stabilize import average_task
from jaxlqr.output import OutputFolder

NUM_SEEDS, NUM_QUICK_SEEDS = 10, 2


def reproduce(
    out: Path, *, quick: bool = False, num_seeds: int | None = None, seed: int = 0, progress: bool | None = None
) -> dict[str, Any]:
    """Train from four gains, search the grid, compare step-size rules; write ``figure1.png``, ``histories.npz`` and
    ``summary.json`` to ``out``, print the tables, and return the summary.

    Arguments:
        out: output folder; checked before the work begins, written when it is complete.
        quick: 2 draws of ten tasks instead of 10, and no comparison of step-size rules.
        num_seeds: number of draws, at least 1; overrides ``quick``.
        seed: of the draws.
        progress: show progress bars; ``None`` shows them in a terminal or a notebook.
    """
    count = (NUM_QUICK_SEEDS if quick else NUM_SEEDS) if num_seeds is None else num_seeds
    if count < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {count}.")
    folder = OutputFolder(out)
    began = time.perf_counter()
    draws = [draw(key) for key in jax.random.split(jax.random.key(seed), count)]
    drawn = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *draws)
    histories = [train(drawn, start, progress=progress).history for start in range(len(STARTS))]
    histories = [{name: np.asarray(rows) for name, rows in history.items()} for history in histories]
    final = np.stack([np.stack([h["w1"][:, -1, 0], h["w2"][:, -1, 0]], axis=1) for h in histories])
    searched = table_2(drawn)
    averages = np.stack([np.asarray(optimal_gain(average_task(tasks))).ravel() for tasks in draws])
    nearest = np.stack([searched[f"{start.last_step:g}"]["refined"] for start in STARTS])
    summary = {
        "paper": "musavi2023",
        "settings": {
            "seed": seed, "num_seeds": count, "sigma0": SIGMA0, "outer_step": OUTER_STEP, "num_steps": NUM_STEPS,
            "starts": [start._asdict() for start in STARTS], "inner_steps": INNER_STEPS, "resolution": RESOLUTION,
        },
        "table_1": {"final_gains": final, "median": np.median(final, axis=1)},
        "table_2": searched,
        "optimum_of_the_average_task": averages,
        "largest_distance_to_refined_minimiser": np.abs(final - nearest).max(axis=(1, 2)),
        "shortened_steps": [int(np.sum(h["accepted_step"][:, 1:] < 1)) for h in histories],
        "gradient_norm_ratio": [float(np.max(h["gradient_norm"][:, -1] / h["gradient_norm"][:, 0])) for h in histories],
        "certified_rule": None if quick else compare(drawn, progress),
        "wall_time_seconds": time.perf_counter() - began,
        "jax": jax.__version__,
    }  # fmt: skip
    recorded = {f"start{i}_{name}": rows for i, h in enumerate(histories, start=1) for name, rows in h.items()}
    with folder:
        folder.write_figure("figure1.png", figure.draw(draws[0], histories))
        folder.write_arrays("histories.npz", recorded)
        folder.write_json("summary.json", summary)
    _print_tables(summary, final, out)
    return summary


def _print_tables(summary: dict[str, Any], final: np.ndarray, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    first = Table(title="Table I: final gains, median and range over draws")
    for column in ("run", "w1", "w2", "distance to the grid's minimiser"):
        first.add_column(column)
    for number, gains in enumerate(final):
        distance = summary["largest_distance_to_refined_minimiser"][number]
        first.add_row(str(number + 1), *(_cell(gains[:, i]) for i in (0, 1)), f"{distance:.4f}")
    second = Table(title="Table II: minimiser on the grid, refined, median and range over draws")
    for column in ("eta", "w1", "w2"):
        second.add_column(column)
    for step, found in summary["table_2"].items():
        second.add_row(step, *(_cell(found["refined"][:, i]) for i in (0, 1)))
    console = Console()
    console.print(first)
    console.print(second)
    console.print(f"{summary['wall_time_seconds']:.0f} s; figure1.png, histories.npz and summary.json are in {out}")


def _cell(values: np.ndarray) -> str:
    return f"{np.median(values):+.3f} [{values.min():+.3f}, {values.max():+.3f}]"
