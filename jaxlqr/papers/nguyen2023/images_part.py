"""The part ``images``: task weights on few-shot classification, as tables, a figure and arrays."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.nguyen2023 import images_figure
from jaxlqr.papers.nguyen2023.images import NUM_TASKS, STRETCH
from jaxlqr.papers.nguyen2023.images_study import (
    NUM_CURVE,
    NUM_SEEDS,
    NUM_TEST,
    QUICK_CURVE,
    QUICK_SEEDS,
    QUICK_SETTINGS,
    QUICK_TEST,
    SETTINGS,
    ImagesPlan,
    best_length,
    check,
    load,
    study,
    updates,
)
from jaxlqr.papers.statistics import student_interval

if TYPE_CHECKING:
    from rich.table import Table

REFERENCE = "uniform"
Found = dict[str, dict[str, dict[str, np.ndarray]]]


def prepare(request: Request) -> Callable[[], Outcome]:
    """Read and check the data; ValueError when they cannot be read, or cannot fill the episodes."""
    quick = request.quick
    plan = ImagesPlan(
        data=load(request.data),
        settings=QUICK_SETTINGS if quick else SETTINGS,
        num_seeds=request.num_seeds or (QUICK_SEEDS if quick else NUM_SEEDS),
        seed=request.seed,
        num_test=QUICK_TEST if quick else NUM_TEST,
        num_curve=QUICK_CURVE if quick else NUM_CURVE,
        folder=None if request.out is None else request.out / "images_runs",
    )
    check(plan)
    return partial(_run, plan, request.progress)


def _run(plan: ImagesPlan, progress: bool | None) -> Outcome:
    found = study(plan, progress)
    best = {name: best_length(rules, REFERENCE) for name, rules in found.items()}
    told = {
        name: {rule: tell(rules[rule], rules[REFERENCE], rules[best[name]]) for rule in rules}
        for name, rules in found.items()
    }
    summary = {
        "data": plan.data.source,
        "num_seeds": plan.num_seeds,
        "num_test_tasks": plan.num_test,
        "tasks_per_update": NUM_TASKS,
        "updates_per_stretch": STRETCH,
        "intervals": "95 %, Student's t over seeds; differences to uniform weights are paired by seed",
        "best_step": "of those tried, by the mean accuracy at the end of the curves, on other tasks than the test's",
        "best_uniform": best,
        "at_best_steps": _at_best_steps(found, best),
        "differences": _count(told),
        "results": told,
    }
    return Outcome(
        summary=summary,
        figures={"tow_images.png": images_figure.draw(found, told, best)},
        arrays={"tow_images.npz": _arrays(found)},
        tables=[table(name, told[name], plan, best[name]) for name in told],
    )


def _count(told: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """How many intervals of differences to uniform weights there are, and which of them leave out zero."""
    intervals = {
        f"{name}: {rule}": one["ahead_of_uniform"]
        for name, rules in told.items()
        for rule, one in rules.items()
        if rule != REFERENCE
    }
    return {
        "intervals": len(intervals),
        "above_zero": [name for name, one in intervals.items() if one["low"] > 0],
        "below_zero": [name for name, one in intervals.items() if one["high"] < 0],
    }


def _at_best_steps(found: Found, best: dict[str, str]) -> dict[str, Any]:
    """TOW at its best step size against uniform weights at theirs, where other sizes were tried for TOW."""
    compared = {}
    for name, rules in found.items():
        rule = best_length(rules, "tow, beta 10")
        if sum(each.startswith("tow, beta 10") and "step" in each for each in rules):
            told = tell(rules[rule], rules[REFERENCE], rules[best[name]])
            compared[name] = {"tow": rule, "uniform": best[name], "ahead": told["ahead_of_best_uniform"]}
    return compared


def tell(rule: dict[str, np.ndarray], reference: dict[str, np.ndarray], best: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a rule reached, in percent: mean and interval over seeds, the same of the differences to uniform weights at
    the same step size and at their best, and the half width of the interval over test tasks, as in Table 1."""
    accuracy, uniform, best_uniform = (
        100 * each["accuracy"][:, :, -1].astype(float) for each in (rule, reference, best)
    )  # [seeds, tasks]
    by_seed = accuracy.mean(axis=1)
    over_tasks = accuracy.mean(axis=0)
    told = {
        "accuracy": _named(student_interval(by_seed)),
        "ahead_of_uniform": _named(student_interval(by_seed - uniform.mean(axis=1))),
        "ahead_of_best_uniform": _named(student_interval(by_seed - best_uniform.mean(axis=1))),
        "half_width_over_tasks": 1.96 * over_tasks.std(ddof=1) / np.sqrt(len(over_tasks)),
        "accuracy_by_inner_steps": 100 * rule["accuracy"].astype(float).mean(axis=(0, 1)),
        "seconds": np.median(rule["seconds"][:, -1]),
        "updates": updates(rule["curve"])[-1],
        "weights_over_uniform": {
            "spread": rule["weights"].std(axis=2).mean(),
            "mean": rule["weights"].mean(),
            "largest": rule["weights"].max(),
        },
    }
    for key in ("runs_accuracy", "all_classes_accuracy"):
        if key in rule:
            rows, uniform = (100 * each[key][:, :, -1].astype(float).mean(axis=1) for each in (rule, reference))
            told[key] = _named(student_interval(rows))
            told[f"{key}_ahead"] = _named(student_interval(rows - uniform))
    return told


def _named(rows: np.ndarray) -> dict[str, float]:
    return dict(zip(("mean", "low", "high"), map(float, rows), strict=True))


def _arrays(found: Found) -> dict[str, np.ndarray]:
    named = {}
    for name, rules in found.items():
        for rule, rows in rules.items():
            words = "_".join(f"{name} {rule}".replace(",", "").split())
            named |= {f"{words}_{key}": value for key, value in rows.items() if key != "weights"}
    return named


def table(name: str, told: dict[str, dict[str, Any]], plan: ImagesPlan, best: str) -> "Table":
    """One setting: accuracies on test tasks and on tasks from the published runs, differences, seconds."""
    from rich.table import Table

    seeds = "1 seed" if plan.num_seeds == 1 else f"95 % over {plan.num_seeds} seeds"
    made = Table(title=f"nguyen2023, {name}: accuracy in percent, ± {seeds}\n{plan.data.source}")
    published = any("runs_accuracy" in one for one in told.values())
    columns = (
        "weights",
        "test tasks",
        "ahead of uniform",
        "of its best step",
        *["published runs"] * published,
        "seconds",
    )
    for column in columns:
        made.add_column(column, justify="left" if column == "weights" else "right")
    for rule, one in told.items():
        ahead = "" if rule == REFERENCE else _cell(one["ahead_of_uniform"], "+.2f")
        further = "" if rule == best else _cell(one["ahead_of_best_uniform"], "+.2f")
        runs = [_cell(one["runs_accuracy"])] if published else []
        words = rule.replace("tow, beta", "tow") + (" (best)" if rule == best != REFERENCE else "")
        made.add_row(words, _cell(one["accuracy"]), ahead, further, *runs, f"{one['seconds']:.1f}")
    return made


def _cell(told: dict[str, float], form: str = ".1f") -> str:
    half = "" if np.isnan(told["high"]) else f" ± {told['high'] - told['mean']:{form.removeprefix('+')}}"
    return f"{told['mean']:{form}}{half}"
