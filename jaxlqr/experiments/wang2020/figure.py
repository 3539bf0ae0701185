"""One figure: adaptation curves, what a policy does before and after one step, and the bounds against the gap."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.experiments.wang2020.learn import LABELS, MAX_STEPS
from jaxlqr.experiments.wang2020.settings import SIZE
from jaxlqr.families.gridworld import MOVES
from jaxlqr.plots import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 3)))


def draw(
    curves: dict[str, np.ndarray],
    optimal: float,
    maps: "dict[str, tuple[np.ndarray, np.ndarray]]",
    gaps: np.ndarray,
    bounds: dict[str, np.ndarray],
) -> "Figure":
    """The figure.

    Arguments:
        curves: mean and both ends of its interval by start, [3, MAX_STEPS + 1].
        optimal: mean return of the optima.
        maps: policy [S, A] and visitation [S] by title, of the same task.
        gaps, bounds: of :func:`jaxlqr.experiments.wang2020.bounds.draw`.
    """
    figure, axes = new_figure(2, 2, panel_size=(4.2, 3.6))
    with style():
        _draw_curves(axes[0, 0], curves, optimal)
        _draw_bounds(axes[0, 1], gaps, bounds)
        for ax, (title, (policy, visits)) in zip(axes[1], maps.items(), strict=True):
            _draw_map(ax, title, policy, visits)
    return figure


def _draw_curves(ax: "Axes", curves: dict[str, np.ndarray], optimal: float) -> None:
    steps = np.arange(MAX_STEPS + 1)
    for (name, (mean, low, high)), dashes, color in zip(curves.items(), _DASHES, COLORS, strict=False):
        ax.plot(steps, mean, label=LABELS[name], linestyle=dashes, color=color)
        ax.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
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
    ax.set(xlabel="proximal steps on the task", ylabel="return on held-out tasks", title="adaptation, 9 x 9 goals")
    # Intervals from two splits are wider than the range of returns: they are cut, not the curves.
    ax.set_ylim(0, 1.15 * optimal)
    ax.legend(loc="lower right", fontsize=7)


def _draw_bounds(ax: "Axes", gaps: np.ndarray, bounds: dict[str, np.ndarray]) -> None:
    for (form, rows), marker, color in zip(bounds.items(), "osv^", COLORS, strict=False):
        ax.plot(gaps, rows, marker, color=color, label=form, markersize=3, alpha=0.6, linestyle="none")
    ends = np.array([gaps.min(), gaps.max()])
    ax.plot(ends, ends, color="black", linewidth=0.8, label="equality")
    ax.set(xscale="log", yscale="log", xlabel="gap", ylabel="right side of Theorem 3.5", title="bound against gap")
    ax.legend(loc="lower right", fontsize=7)


def _draw_map(ax: "Axes", title: str, policy: np.ndarray, visits: np.ndarray) -> None:
    """Arrows: the mean move in each cell; shade: how often the cell is visited."""
    down, right = (policy @ np.array(MOVES)).T.reshape(2, SIZE, SIZE)
    with np.errstate(divide="ignore"):
        shade = np.log10(visits.reshape(SIZE, SIZE))
    image = ax.imshow(shade, cmap="Blues", vmin=-4, vmax=0)
    ax.quiver(right, -down, scale=12, width=0.006, color="black", pivot="mid")
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="visitation, powers of ten")
