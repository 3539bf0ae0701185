"""The meta-objective of scalar tasks along the gain, with all its stationary points."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.commands.landscape.curve import Study
from jaxlqr.plots import COLORS, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(studies: dict[str, Study]) -> "Figure":
    """One panel for each study, three in a row; a name is the number of its figure, or empty."""
    columns = min(3, len(studies))
    figure, axes = new_figure(
        num_rows=-(-len(studies) // columns), num_columns=columns, panel_size=(3.4 if columns > 1 else 6.0, 2.8)
    )
    with style():
        for ax, (name, study) in zip(axes.flat, studies.items(), strict=False):
            _draw_panel(ax, study)
            ax.set_title(f"Figure {name}: {study.example.claim}" if name else study.example.claim)
        for ax in axes.flat[len(studies) :]:
            ax.set_axis_off()
        for ax in axes[-1]:
            ax.set_xlabel("gain K")
        for row in axes:
            row[0].set_ylabel("cost after adaptation")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, 3 * axes.shape[1]))  # a panel holds 3
    return figure


def _draw_panel(ax: "Axes", study: Study) -> None:
    values, points = study.values, study.points
    mean, gains = values.mean(axis=1), study.gains
    shown = np.where(np.isfinite(mean), mean, np.nan)
    each = np.where(np.isfinite(values), values, np.nan)
    ax.plot(
        gains, each, color="#999999", linewidth=0.7, linestyle="--", label=["each task"] + [None] * (each.shape[1] - 1)
    )
    ax.plot(gains, shown, color=COLORS[0], label="mean over tasks")
    for index, label, face in ((points.minima, "local minimum", COLORS[1]), (points.maxima, "local maximum", "white")):
        where = points.params[index].ravel()
        ax.plot(where, points.values[index], "o", color=COLORS[1], markerfacecolor=face, markersize=5, label=label)
    ax.axvline(
        float(study.optima.mean()), color="black", linewidth=0.8, linestyle=":", label="mean of the optimal gains"
    )
    # One or two tasks are shown whole; more of them would leave no height for their mean.
    bottom = float(np.min(values)) if values.shape[1] <= 2 else points.least
    top = max([*points.values[points.maxima], points.values.max()])
    height = max(top - bottom, 0.15 * points.least)
    ax.set_ylim(bottom - 0.2 * height, top + 0.6 * height)
    inside = gains[np.isfinite(mean)]
    ax.set_xlim(inside[0], inside[-1])
