"""Figure 1, twice: as released above, as a fair comparison below."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.toso2024.curves import Curve
from jaxlqr.plots import median_band, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    ("released", "left"): "meta-training, as released",
    ("released", "middle"): "heterogeneity, as released (three step sizes)",
    ("released", "right"): "adaptation, as released (two step sizes)",
    ("fair", "left"): "meta-training, equal steps, training tasks",
    ("fair", "middle"): "heterogeneity, equal steps",
    ("fair", "right"): "adaptation to held-out tasks, one step rule",
}
# The plotted quantities differ: the paper's gap is for one task from one state.
_LABELS = {
    "released": "J(K) - J(K*), nominal task,\nfrom the paper's x0",
    "fair": "J(K) - J(K*), mean over tasks,\n$\\Sigma_0$ = I/4",
}
_PANELS = ("left", "middle", "right")
# Different dashes distinguish curves that coincide.
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def draw(rows: dict[str, dict[str, dict[str, Curve]]], average_gap: dict[str, float] | None) -> "Figure":
    """Figure with one row of three panels for each entry of ``rows``, "released" or "fair"."""
    figure, axes = new_figure(num_rows=len(rows), num_columns=len(_PANELS), panel_size=(4.0, 3.6))
    with style():
        for row, (version, panels) in zip(axes, rows.items(), strict=True):
            for ax, panel in zip(row, _PANELS, strict=True):
                _draw_panel(ax, panels[panel], _TITLES[version, panel])
            if version == "fair" and average_gap is not None:
                row[0].axhline(average_gap["median"], color="black", linewidth=1, linestyle=":")
                row[0].annotate(
                    "optimum of the average task, untrained",
                    (0.98, average_gap["median"]),
                    xycoords=("axes fraction", "data"),
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="right",
                    fontsize=7,
                )
        for row, version in zip(axes, rows, strict=True):
            row[0].set_ylabel(_LABELS[version])
            row[2].set_xlabel("adaptation iteration")
            for ax in row[:2]:
                ax.set_xlabel("iteration")
            for ax in row:
                ax.legend(loc="upper right")
    return figure


def _draw_panel(ax: "Axes", curves: dict[str, Curve], title: str) -> None:
    for curve, dashes in zip(curves.values(), _DASHES, strict=False):
        median_band(
            ax,
            np.arange(curve.gaps.shape[1]),
            curve.gaps,
            label=curve.label,
            diverged=curve.diverged,
            linestyle=dashes,
        )
    ax.set_yscale("log")
    ax.set_title(title)
