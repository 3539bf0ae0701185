"""Meta-learned starts for one proximal step, against the starts one would otherwise use, on tasks held out."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxlqr.mdp import proximal_step, visitation
from jaxlqr.papers.driver import Outcome, Paper, Part, Request, unchecked
from jaxlqr.papers.statistics import student_interval
from jaxlqr.papers.wang2020 import bounds, figure, samples, theory_figure, widths
from jaxlqr.papers.wang2020.learn import LABELS, STEP_SIZES, Learned, learn
from jaxlqr.papers.wang2020.settings import BUMP_WIDTH, NUM_TASKS, SETTINGS

NUM_SPLITS, NUM_STEPS, NUM_INSTANCES = 5, 150, 200
QUICK_SPLITS, QUICK_STEPS, QUICK_INSTANCES = 2, 60, 50
SHOWN_STEPS = (0, 1, 2, 5, 10)
FILES = ("adaptation.png", "policies.png", "theory.png", "curves.npz", "summary.json")


def _run(request: Request) -> Outcome:
    """Learn, adapt and compare, on splits into 20 training and 20 held-out tasks, which the seeds count.

    A quick run has 2 splits and 60 steps instead of 5 and 150, the first gridworld only, no networks and no samples.
    """
    num_splits = request.seeds(QUICK_SPLITS, NUM_SPLITS)
    quick, seed, progress, units = request.quick, request.seed, request.progress, request.units
    num_steps = QUICK_STEPS if quick else NUM_STEPS
    *keys, bound_key, width_key, sample_key = jax.random.split(jax.random.key(seed), len(SETTINGS) + 3)
    names = ["gridworld"] if quick else list(SETTINGS)
    learned = {
        name: learn(key, SETTINGS[name], num_splits, num_steps, progress, units=units)
        for name, key in zip(names, keys, strict=False)
    }
    instances = partial(bounds.draw, bound_key, QUICK_INSTANCES if quick else NUM_INSTANCES)
    gaps, sides = units("theorem 3.5", instances)
    used, networks, errors = widths.WIDTHS, {}, {}
    if not quick:
        networks = widths.sweep(width_key, used, widths.NUM_NETWORKS, progress, units)
        errors = samples.complexity(sample_key, samples.COUNTS, samples.NUM_ESTIMATES, units)
    summary = {
        "settings": {
            "seed": seed,
            "num_splits": num_splits,
            "num_steps": num_steps,
            "num_training_tasks": NUM_TASKS,
            "num_held_out_tasks": NUM_TASKS,
            "step_sizes": STEP_SIZES._asdict(),
            "width_of_bumps": BUMP_WIDTH,
            "chosen": "step sizes and width on development tasks, by papers/wang2020/choose.py",
            "eta": {name: SETTINGS[name].eta for name in names},
            "intervals": "95 %, Student's t over splits",
        },
        "returns": {name: _told(results) for name, results in learned.items()},
        "theorem_3_5": bounds.tightness(gaps, sides),
        "networks": _networks(used, networks),
        "samples": {name: _errors(told) for name, told in errors.items()},
    }
    curves, optima = {}, {}
    for name, results in learned.items():
        title = SETTINGS[name].title
        curves[title] = {start: student_interval(rows.mean(axis=1)) for start, rows in results.returns.items()}
        optima[title] = float(results.optimal.mean())
    return Outcome(
        summary=summary,
        figures={
            "adaptation.png": figure.draw_adaptation(curves, optima, num_splits),
            "policies.png": figure.draw_policies(*_maps(learned["gridworld"])),
            "theory.png": theory_figure.draw_theory(gaps, sides, used, networks, errors),
        },
        arrays={"curves.npz": _arrays(learned, gaps, sides) | _flat(networks) | _flat(errors)},
        tables=_tables(summary),
    )


PAPER = Paper("wang2020", {"all": Part(unchecked(_run), files=FILES)})


def _told(learned: Learned) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, rows in learned.returns.items():
        mean, low, high = student_interval(rows.mean(axis=1))
        told[name] = {str(k): {"mean": mean[k], "interval": [low[k], high[k]]} for k in SHOWN_STEPS}
    mean, low, high = student_interval(learned.optimal.mean(axis=1))
    # Splits share their draw among the starts: differences are paired.
    ahead = learned.returns["exact"].mean(axis=1)[:, 1]
    told["ahead_after_one_step"] = {
        name: dict(zip(_ENDS, student_interval(ahead - rows.mean(axis=1)[:, 1]), strict=True))
        for name, rows in learned.returns.items()
        if name != "exact"
    }
    return told | {"optimum": {"mean": mean, "interval": [low, high]}}


def _maps(grid: Learned) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
    """Policies of the first split on its first held-out task, before and after one step, and the task's goal."""
    task = jax.tree.map(lambda leaf: leaf[0, 0], grid.held_out)
    maps = {}
    for name, title in (("exact", "meta-learned"), ("average", "average return")):
        before = task.policy(grid.params[name][0])
        after = proximal_step(task.mdp, before, SETTINGS["gridworld"].eta)
        for policy, when in ((before, "before"), (after, "after one step")):
            maps[f"{title}, {when}"] = (np.asarray(policy), np.asarray(visitation(task.mdp, policy)).sum(axis=1))
    return maps, int(np.asarray(task.mdp.r)[:, 0].argmax())


def _networks(used: tuple[int, ...], networks: dict[str, Any]) -> dict[str, Any]:
    """Fitted slopes with intervals over networks, and medians by width."""
    told: dict[str, Any] = {"widths": list(used)}
    for kind, rows in networks.items():
        fitted = {name: student_interval(widths.slopes(used, rows[name])) for name in ("drift", "error")}
        told[kind] = {f"{name}_slope": dict(zip(_ENDS, three, strict=True)) for name, three in fitted.items()}
        for name in widths.FEATURES:
            told[kind][f"relative_residual_{name}"] = np.median(rows[f"residual_{name}"] / rows["target"], axis=1)
        told[kind]["violated"] = float(np.mean(rows["bound"] < rows["gap"]))
    return told


def _errors(told: dict[str, np.ndarray]) -> dict[str, Any]:
    """Slope of the error against the number of transitions with its interval over estimates, and medians."""
    used = told["transitions"]
    slope = student_interval(widths.slopes(tuple(used), told["errors"]))
    medians = np.median(told["errors"], axis=1)
    return {"transitions": used, "median_error": medians, "slope": dict(zip(_ENDS, slope, strict=True))}


_ENDS = ("mean", "low", "high")


def _arrays(learned: dict[str, Learned], gaps: np.ndarray, sides: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    returns = {f"{name}_{start}": rows for name, of in learned.items() for start, rows in of.returns.items()}
    optima = {f"{name}_optimum": of.optimal for name, of in learned.items()}
    return returns | optima | {"gap": gaps} | {f"bound_{form}": rows for form, rows in sides.items()}


def _flat(nested: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{outer}_{inner}": rows for outer, of in nested.items() for inner, rows in of.items()}


def _tables(summary: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    found = []
    for name, told in summary["returns"].items():
        best = told["optimum"]["mean"]
        table = Table(
            title=f"wang2020, {SETTINGS[name].title}: held-out return, mean [95 % interval]; optimum {best:.3f}"
        )
        for column in ("start", *(f"{k} step{'s' * (k != 1)}" for k in SHOWN_STEPS)):
            table.add_column(column, justify="left" if column == "start" else "right")
        for start, label in LABELS.items():
            table.add_row(label, *(_cell(told[start][str(k)]) for k in SHOWN_STEPS))
        found.append(table)
    table = Table("form", "bound / gap, median", "quartiles", "violated", title="Theorem 3.5 on random instances")
    for form, told in summary["theorem_3_5"].items():
        quartiles = f"[{told['low']:.3g}, {told['high']:.3g}]"
        table.add_row(form, f"{told['median']:.3g}", quartiles, f"{told['violated']:.0%}")
    return [*found, table, *(_studies(summary) if summary["samples"] else [])]


def _studies(summary: dict[str, Any]) -> list[Any]:
    from rich.table import Table

    networks = Table(
        "slopes against width", "drift", "linearisation error", "bound violated", title="networks in a ball"
    )
    for kind in ("policy", "regressor"):
        told = summary["networks"][kind]
        cells = (_slope(told[f"{name}_slope"]) for name in ("drift", "error"))
        networks.add_row(kind, *cells, f"{told['violated']:.0%}")
    table = Table("sampled meta-gradients", "transitions", "relative error", "slope", title="sample complexity")
    for name, told in summary["samples"].items():
        ends = (f"{told[key][0]:.3g} to {told[key][-1]:.3g}" for key in ("transitions", "median_error"))
        table.add_row(samples.LABELS[name], *ends, _slope(told["slope"]))
    return [networks, table]


def _slope(told: dict[str, float]) -> str:
    return f"{told['mean']:.2f} [{told['low']:.2f}, {told['high']:.2f}]"


def _cell(told: dict[str, Any]) -> str:
    low, high = told["interval"]
    return f"{told['mean']:.3f} [{low:.3f}, {high:.3f}]"
