"""Measured and promised gap against the iteration, and how conservative each constant is."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.toso2024.certified.runs import Run
from jaxlqr.plots import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(runs: list[Run], content: dict[str, Any]) -> "Figure":
    """One panel of the runs, the largest gap over tasks relative to the first, and one of the ratios at K0."""
    figure, axes = new_figure(num_rows=1, num_columns=2, panel_size=(4.6, 3.6))
    with style():
        _draw_runs(axes[0, 0], runs, content)
        _draw_ratios(axes[0, 1], content["rows"])
    return figure


def _draw_runs(ax: "Axes", runs: list[Run], content: dict[str, Any]) -> None:
    for run, color in zip(runs, COLORS, strict=False):
        numbers = np.arange(1, len(run.gap))
        # Different widths distinguish runs that coincide.
        wide = 3.0 if run.name == "sublevel" else 1.5
        ax.plot(numbers, np.max(run.gap[1:] / run.gap[0], axis=1), color=color, label=run.label, linewidth=wide)
        ax.plot(numbers, np.max(run.guarantee[1:] / run.gap[0], axis=1), color=color, linestyle="--")
    ax.plot([], [], color="black", linestyle="--", label="promised for it")
    ax.axhline(content["settings"]["epsilon"], color="black", linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    ax.set_xscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel("largest gap over tasks, over the first gap")
    plan = content["model_free_plan"]
    if not plan["run"]:
        ax.set_title(f"model-free would need {plan['queries']:.1e} queries: not run")
    _legend_below(ax)


def _draw_ratios(ax: "Axes", rows: list[dict[str, Any]]) -> None:
    places = np.arange(len(rows))[::-1]
    for form, color, marker in (("printed", COLORS[1], "s"), ("corrected", COLORS[0], "o")):
        ratios = np.array([row["ratio"][form] for row in rows], float)
        shown = np.isfinite(ratios) & (ratios > 0)
        ax.scatter(ratios[shown], places[shown], color=color, marker=marker, s=22, label=form, zorder=3)
    ax.axvline(1.0, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yticks(places, [f"{row['name']} ({row['source']})" for row in rows])
    ax.set_xlabel("measured / bound at K0; above 1 it is violated")
    _legend_below(ax)


def _legend_below(ax: "Axes") -> None:
    """A legend under the axes: curves and marks may lie anywhere within."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
