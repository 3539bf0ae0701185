"""The figure of a sweep: the last gap against each axis, and over the first two together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.plots import COLORS, band, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS, _TICKS = 12, 6


def sweep_figure(columns: Mapping[str, Sequence[Any]], axes: Sequence[str]) -> "Figure":
    """One panel for each axis but the seeds: median and quartiles of the last gap over all runs with that value.

    On an axis with more than 12 values, as in a random search, neighbours are grouped. Failed runs (not completed, or
    with an infeasible start) are omitted from the curves and counted in the title.
    """
    shown = [name for name in axes if name not in ("seed", "task_seed")] or list(axes)[:1]
    good = np.array([s == "COMPLETED" for s in columns["status"]]) & np.asarray(columns["feasible_start"], bool)
    gap = np.asarray(columns["gap_last"], float)
    good &= np.isfinite(gap)
    with style():
        figure, grid = new_figure(num_rows=1, num_columns=len(shown))
        for ax, name in zip(grid[0], shown, strict=True):
            _panel(ax, name, columns[name], gap, good)
        grid[0, 0].set_ylabel("last gap, median over tasks")
        failed = int(np.sum(~good))
        figure.suptitle(f"{len(gap)} runs" + (f", {failed} of them failed and left out" if failed else ""), fontsize=9)
    return figure


def _panel(ax: "Axes", name: str, values: Sequence[Any], gap: np.ndarray, good: np.ndarray) -> None:
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    groups = _groups(np.asarray(values, float)) if numeric else _named(values)
    points = [
        (place, np.quantile(gap[chosen & good], (0.25, 0.5, 0.75))) for place, chosen in groups if np.any(chosen & good)
    ]
    if points:
        places = [place for place, _ in points]
        low, middle, high = np.array([quartiles for _, quartiles in points]).T
        band(ax, places, middle, low, high, color=COLORS[0], marker="o", markersize=3)
        if np.all(low > 0) and np.max(high) > 10 * np.min(low):
            ax.set_yscale("log")
        if numeric and min(places) > 0 and (max(places) > 20 * min(places) or _is_scale(name)):
            ax.set_xscale("log")
            if len(places) <= _TICKS:
                ax.set_xticks(places, [f"{place:g}" for place in places])
                ax.set_xticks([], minor=True)
    if not numeric:
        ax.set_xticks([place for place, _ in groups], sorted({str(value) for value in values}))
    ax.set_xlabel(name.replace("_", " "))


def _is_scale(name: str) -> bool:
    """Whether factors matter and not differences, as for step sizes and radii."""
    return name in ("inner_step", "outer_step", "radius")


def _groups(values: np.ndarray) -> list[tuple[float, np.ndarray]]:
    distinct = np.unique(values)
    if len(distinct) <= _BINS:
        return [(value, values == value) for value in distinct.tolist()]
    edges = np.quantile(values, np.linspace(0, 1, _BINS + 1))
    member = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
    return [(float(np.median(values[member == k])), member == k) for k in range(_BINS) if np.any(member == k)]


def _named(values: Sequence[Any]) -> list[tuple[float, np.ndarray]]:
    names = np.array([str(value) for value in values])
    return [(float(place), names == name) for place, name in enumerate(sorted(set(names.tolist())))]
