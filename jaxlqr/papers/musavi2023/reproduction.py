"""Figure 1 and Tables I and II of "Convergence of gradient-based MAML in LQR"."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxlqr.lqr import optimal_gain
from jaxlqr.lqr.stabilize import average_task
from jaxlqr.papers.driver import Outcome, Paper, Part, Request, unchecked
from jaxlqr.papers.musavi2023 import figure, report
from jaxlqr.papers.musavi2023.certified import compare
from jaxlqr.papers.musavi2023.setting import INNER_STEPS, NUM_STEPS, OUTER_STEP, SIGMA0, STARTS, draw
from jaxlqr.papers.musavi2023.tables import RESOLUTION, entries, table_2, train
from jaxlqr.papers.musavi2023.theory.margins import random_margins
from jaxlqr.papers.musavi2023.theory.statements import table
from jaxlqr.papers.units import Units
from jaxlqr.training import Output

NUM_SEEDS, NUM_QUICK_SEEDS = 10, 2
#: States and inputs of the random instances on which the inequalities are evaluated, and how many there are of each.
SIZES, QUICK_SIZES, NUM_INSTANCES = ((1, 1), (2, 1), (4, 2)), ((1, 1),), 100


def _run(request: Request) -> Outcome:
    """Train from four gains, search the grid, compare step-size rules, and evaluate every inequality of the theory.

    A quick run has 2 draws of ten tasks instead of 10, no comparison of step-size rules, and inequalities for n = 1.
    """
    count = request.seeds(NUM_QUICK_SEEDS, NUM_SEEDS)
    quick, seed, progress, units = request.quick, request.seed, request.progress, request.units
    draws = [draw(key) for key in jax.random.split(jax.random.key(seed), count)]
    drawn = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *draws)
    output = Output(metrics=entries, progress=progress)
    histories = [
        units.train(f"start {start}", partial(train, drawn, start), output).history for start in range(len(STARTS))
    ]
    histories = [{name: np.asarray(rows) for name, rows in history.items()} for history in histories]
    final = np.stack([np.stack([h["w1"][:, -1, 0], h["w2"][:, -1, 0]], axis=1) for h in histories])
    searched = units("table 2", partial(table_2, drawn))
    averages = np.stack([np.asarray(optimal_gain(average_task(tasks))).ravel() for tasks in draws])
    nearest = np.stack([searched[f"{start.last_step:g}"]["refined"] for start in STARTS])
    summary = {
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
        "certified_rule": None if quick else compare(drawn, progress, units=units),
        "inequalities": _inequalities(QUICK_SIZES if quick else SIZES, seed, progress, units),
    }  # fmt: skip
    recorded = {f"start{i}_{name}": rows for i, h in enumerate(histories, start=1) for name, rows in h.items()}
    return Outcome(
        summary=summary,
        figures={"figure1.png": figure.draw(draws[0], histories)},
        arrays={"histories.npz": recorded},
        tables=report.tables(summary),
    )


def _inequalities(sizes: Iterable[tuple[int, int]], seed: int, progress: bool | None, units: Units) -> dict[str, Any]:
    from tqdm.auto import tqdm

    shown = tqdm(sizes, desc="inequalities", unit="size", disable=None if progress is None else not progress)
    named = {f"n={n}, m={m}": partial(random_margins, seed, n, m, NUM_INSTANCES) for n, m in shown}
    return {name: units(f"inequalities {name}", lambda draw=draw: table(draw())) for name, draw in named.items()}


PAPER = Paper("musavi2023", {"all": Part(unchecked(_run), files=("figure1.png", "histories.npz", "summary.json"))})
