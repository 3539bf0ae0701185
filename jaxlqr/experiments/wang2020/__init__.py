"""Meta-learned starts for one proximal step, against the starts one would otherwise use, on tasks held out."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlqr.experiments.wang2020 import bounds, figure
from jaxlqr.experiments.wang2020.learn import LABELS, Learned, learn
from jaxlqr.experiments.wang2020.settings import NUM_TASKS, SETTINGS
from jaxlqr.mdp import proximal_step, visitation
from jaxlqr.output import OutputFolder

NUM_SPLITS, NUM_STEPS, NUM_INSTANCES = 5, 150, 200
QUICK_SPLITS, QUICK_STEPS, QUICK_INSTANCES = 2, 60, 50
SHOWN_STEPS = (0, 1, 2, 5, 10)
# Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom; beyond, the last one, which is too wide.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def reproduce(
    out: Path, *, quick: bool = False, num_seeds: int | None = None, seed: int = 0, progress: bool | None = None
) -> dict[str, Any]:
    """Learn, adapt and compare; write ``adaptation.png``, ``curves.npz`` and ``summary.json`` to ``out``, print a table
    and return the summary.

    Arguments:
        out: output folder; checked before the work begins, written when it is complete.
        quick: 2 splits and 60 steps instead of 5 and 150, and the gridworld only.
        num_seeds: number of splits into 20 training and 20 held-out tasks, at least 1; overrides ``quick``.
        seed: of all random numbers.
        progress: show progress bars; ``None`` shows them in a terminal or a notebook.
    """
    num_splits = (QUICK_SPLITS if quick else NUM_SPLITS) if num_seeds is None else num_seeds
    if num_splits < 1:
        raise ValueError(f"the number of splits must be at least 1, got {num_splits}.")
    num_steps = QUICK_STEPS if quick else NUM_STEPS
    folder = OutputFolder(out)
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(seed), len(SETTINGS) + 1)
    names = ["gridworld"] if quick else list(SETTINGS)
    learned = {
        name: learn(key, SETTINGS[name], num_splits, num_steps, progress)
        for name, key in zip(names, keys, strict=False)
    }
    gaps, sides = bounds.draw(keys[-1], QUICK_INSTANCES if quick else NUM_INSTANCES)
    summary = {
        "paper": "wang2020",
        "settings": {
            "seed": seed,
            "num_splits": num_splits,
            "num_steps": num_steps,
            "num_training_tasks": NUM_TASKS,
            "num_held_out_tasks": NUM_TASKS,
            "eta": {name: SETTINGS[name].eta for name in names},
            "intervals": "95 %, Student's t over splits",
        },
        "returns": {name: _told(results) for name, results in learned.items()},
        "theorem_3_5": bounds.tightness(gaps, sides),
        "wall_time_seconds": time.perf_counter() - began,
        "jax": jax.__version__,
    }
    grid = learned["gridworld"]
    curves = {name: interval(rows.mean(axis=1)) for name, rows in grid.returns.items()}
    with folder:
        folder.write_figure("adaptation.png", figure.draw(curves, float(grid.optimal.mean()), _maps(grid), gaps, sides))
        folder.write_arrays("curves.npz", _arrays(learned, gaps, sides))
        folder.write_json("summary.json", summary)
    _print_tables(summary, out)
    return summary


def interval(rows: np.ndarray) -> np.ndarray:
    """Mean of ``rows`` [splits, ...] and the ends of its 95 % interval, [3, ...]; NaN ends for one split."""
    mean, count = rows.mean(axis=0), len(rows)
    if count == 1:
        return np.stack([mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)])
    point = _STUDENT[min(count - 2, len(_STUDENT) - 1)]
    half = point * rows.std(axis=0, ddof=1) / np.sqrt(count)
    return np.stack([mean, mean - half, mean + half])


def _told(learned: Learned) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, rows in learned.returns.items():
        mean, low, high = interval(rows.mean(axis=1))
        told[name] = {str(k): {"mean": mean[k], "interval": [low[k], high[k]]} for k in SHOWN_STEPS}
    mean, low, high = interval(learned.optimal.mean(axis=1))
    # Splits share their draw among the starts: differences are paired.
    ahead = learned.returns["exact"].mean(axis=1)[:, 1]
    told["ahead_after_one_step"] = {
        name: dict(zip(("mean", "low", "high"), interval(ahead - rows.mean(axis=1)[:, 1]), strict=True))
        for name, rows in learned.returns.items()
        if name != "exact"
    }
    return told | {"optimum": {"mean": mean, "interval": [low, high]}}


def _maps(grid: Learned) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The meta-learned policy of the first split on its first held-out task, before and after one step."""
    task = jax.tree.map(lambda leaf: leaf[0, 0], grid.held_out)
    before = task.policy(grid.params["exact"][0])
    after = proximal_step(task.mdp, before, SETTINGS["gridworld"].eta)
    titles = ("meta-learned policy", "after one step on a held-out task")
    return {
        title: (np.asarray(policy), np.asarray(visitation(task.mdp, policy)).sum(axis=1))
        for title, policy in zip(titles, (before, after), strict=True)
    }


def _arrays(learned: dict[str, Learned], gaps: np.ndarray, sides: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    returns = {f"{name}_{start}": rows for name, of in learned.items() for start, rows in of.returns.items()}
    optima = {f"{name}_optimum": of.optimal for name, of in learned.items()}
    return returns | optima | {"gap": gaps} | {f"bound_{form}": rows for form, rows in sides.items()}


def _print_tables(summary: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, told in summary["returns"].items():
        best = told["optimum"]["mean"]
        table = Table(title=f"wang2020, {name}: held-out return, mean [95 % interval]; optimum {best:.3f}")
        for column in ("start", *(f"{k} step{'s' * (k != 1)}" for k in SHOWN_STEPS)):
            table.add_column(column, justify="left" if column == "start" else "right")
        for start, label in LABELS.items():
            table.add_row(label, *(_cell(told[start][str(k)]) for k in SHOWN_STEPS))
        console.print(table)
    table = Table("form", "bound / gap, median", "quartiles", "violated", title="Theorem 3.5 on random instances")
    for form, told in summary["theorem_3_5"].items():
        quartiles = f"[{told['low']:.3g}, {told['high']:.3g}]"
        table.add_row(form, f"{told['median']:.3g}", quartiles, f"{told['violated']:.0%}")
    console.print(table)
    console.print(f"{summary['wall_time_seconds']:.0f} s; adaptation.png, curves.npz and summary.json are in {out}")


def _cell(told: dict[str, Any]) -> str:
    low, high = told["interval"]
    return f"{told['mean']:.3f} [{low:.3f}, {high:.3f}]"
