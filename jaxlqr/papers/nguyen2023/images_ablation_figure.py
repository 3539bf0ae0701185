"""Figure of how TOW's weights are found on images, and of the weights of tasks that stay the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.nguyen2023.images import STRETCH
from jaxlqr.papers.nguyen2023.images_ablation import LOOK, ImagesAblation
from jaxlqr.plots import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":")


def draw(found: ImagesAblation, summary: dict[str, Any]) -> "Figure":
    """Accuracy against updates and against time by number of directions, one stretch by every way, fixed tasks."""
    figure, axes = new_figure(num_rows=2, num_columns=2, panel_size=(4.6, 3.1))
    seeds = f"mean and range of {summary['num_seeds']} seeds"
    with style():
        updates = LOOK * STRETCH * np.arange(found.curves["uniform"].shape[1])
        _curves(axes[0, 0], found, {name: updates for name in found.curves})  # noqa: C420, for its type
        axes[0, 0].set(xlabel="update", title=f"number of directions: {seeds}")
        axes[0, 0].legend(fontsize=7, loc="lower right")
        _curves(axes[0, 1], found, found.seconds)
        axes[0, 1].set(xlabel="seconds of training", title="the same against time")
        _ways(axes[1, 0], found, summary)
        _fixed(axes[1, 1], found)
    return figure


def _curves(ax: "Axes", found: ImagesAblation, places: Mapping[str, Any]) -> None:
    for number, (name, curve) in enumerate(found.curves.items()):
        rows, color = 100 * curve, COLORS[number]
        ax.plot(places[name], rows.mean(axis=0), color=color, linestyle=_DASHES[number], label=name)
        ax.fill_between(places[name], rows.min(axis=0), rows.max(axis=0), color=color, alpha=0.1, linewidth=0)
    ax.set(ylabel="accuracy on test alphabets, %")


def _ways(ax: "Axes", found: ImagesAblation, summary: dict[str, Any]) -> None:
    names = list(found.ways)
    for place, name in enumerate(names):
        falls = 100 * found.ways[name][:, 0]
        ax.plot(falls, np.full(len(falls), -place), "o", color=COLORS[0], markersize=3, alpha=0.6)
        ax.plot(np.median(falls), -place, "|", color="black", markersize=12)
        cosine = summary["ways"][name]["cosine"]
        ax.annotate(f"{cosine:.3f}", (1.01, -place), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    ax.set_yticks(-np.arange(len(names)), names)
    ax.set(xlabel="decrease of J in one stretch, % (dots: seeds)", ylim=(-len(names) + 0.5, 0.5))
    ax.set_title(f"{summary['num_params_of_ways']} parameters; right: cosine with the exact descent", loc="right")


def _fixed(ax: "Axes", found: ImagesAblation) -> None:
    from matplotlib import colormaps

    first = found.fixed[:, 0]  # the first step of the stretch
    order = np.argsort(np.argsort(found.losses.mean(axis=0)))
    colors = colormaps["viridis"](0.9 * order / max(len(order) - 1, 1))
    updates = LOOK * STRETCH * np.arange(len(first))
    for rows, color in zip(first.T, colors, strict=True):
        ax.plot(updates, rows, ".-", color=color, linewidth=1)
    ax.axhline(1, color="black", linewidth=0.8, linestyle="--")
    ax.set(xlabel="update", ylabel="M u (dark: tasks of small loss)", title="weights of ten fixed tasks, MAML, one run")
