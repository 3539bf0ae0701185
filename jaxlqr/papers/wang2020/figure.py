"""Adaptation curves, and what a policy does before and after one step on a task it has not seen."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.families.gridworld import MOVES
from jaxlqr.papers.wang2020.learn import LABELS, MAX_STEPS
from jaxlqr.papers.wang2020.settings import SIZE
from jaxlqr.plots import COLORS, band, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEWEST = 4  # splits
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (1, 3)))


def draw_adaptation(curves: dict[str, dict[str, np.ndarray]], optima: dict[str, float], num_splits: int) -> "Figure":
    """One panel for each family of tasks.

    Arguments:
        curves: by title, then by start: mean and both ends of its interval [3, MAX_STEPS + 1].
        optima: mean return of the optima by title.
        num_splits: number of splits that the intervals are over. Bands need at least four splits: bands of two splits
            are wider than the whole range of returns.
    """
    columns = min(2, len(curves))
    figure, axes = new_figure(num_rows=-(-len(curves) // columns), num_columns=columns, panel_size=(4.2, 3.3))
    with style():
        for number, (ax, (title, of)) in enumerate(zip(axes.flat, curves.items(), strict=False)):
            told = title if num_splits >= _FEWEST else f"{title} (mean of {num_splits}; no intervals)"
            _draw_curves(ax, told, of, optima[title], num_splits >= _FEWEST)
            if number == 0:
                ax.legend(loc="lower right", fontsize=6.5)
    return figure


def draw_policies(maps: dict[str, tuple[np.ndarray, np.ndarray]], goal: int) -> "Figure":
    """Policies [S, A] with their visitation [S] by title, of one task on the gridworld and its goal."""
    figure, axes = new_figure(num_rows=2, num_columns=-(-len(maps) // 2), panel_size=(3.6, 3.1))
    with style():
        for ax, (title, (policy, visits)) in zip(axes.flat, maps.items(), strict=True):
            _draw_map(ax, title, policy, visits, goal)
    return figure


def _draw_curves(ax: "Axes", title: str, curves: dict[str, np.ndarray], optimal: float, intervals: bool) -> None:
    steps = np.arange(MAX_STEPS + 1)
    for (name, (mean, low, high)), dashes, color in zip(curves.items(), _DASHES, COLORS, strict=False):
        if intervals:
            band(ax, steps, mean, low, high, label=LABELS[name], color=color, alpha=0.12, linestyle=dashes)
        else:
            ax.plot(steps, mean, color=color, label=LABELS[name], linestyle=dashes)
    ax.axhline(optimal, color="black", linewidth=0.8)
    ax.annotate(
        "optimum of each task",
        (1, optimal),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=7,
    )
    ax.set(xlabel="proximal steps on the task", ylabel="return on held-out tasks", title=title)
    # Where intervals are wider than the range of returns they are cut, not the curves.
    ax.set_ylim(0, 1.15 * optimal)


def _draw_map(ax: "Axes", title: str, policy: np.ndarray, visits: np.ndarray, goal: int) -> None:
    """Arrows: the mean move in each cell; shade: how often the cell is visited; a ring: the goal."""
    down, right = (policy @ np.array(MOVES)).T.reshape(2, SIZE, SIZE)
    with np.errstate(divide="ignore"):
        shade = np.log10(visits.reshape(SIZE, SIZE))
    image = ax.imshow(shade, cmap="Blues", vmin=-4, vmax=0)
    ax.quiver(right, -down, scale=12, width=0.006, color="black", pivot="mid")
    row, column = divmod(goal, SIZE)
    ax.plot(column, row, "o", markersize=17, markerfacecolor="none", markeredgecolor=COLORS[1], markeredgewidth=1.5)
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="visitation, powers of ten")
