"""Figure of TOW on LQR tasks: curves, final gaps against the prior's precision, and the weights."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.papers.nguyen2023.lqr import STRETCH
from jaxlqr.papers.nguyen2023.lqr_study import SHOWN_BETA, LqrStudy, betas, ratio
from jaxlqr.plots import COLORS, median_band, new_figure, plot_weights, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "tow": "TOW",
    "normalised": "normalised to sum one",
    "sums": "only their sums",
    "permuted": "permuted among tasks",
    "mirrored": "sign flipped",
}
_MARKERS = "osv^D"


def draw(studies: dict[str, LqrStudy], quick: bool) -> "Figure":
    """One column for each family."""
    figure, axes = new_figure(num_rows=3, num_columns=len(studies), panel_size=(3.6, 2.6))
    with style():
        for column, (family, one) in enumerate(studies.items()):
            axes[0, column].set_title(family, loc="left")
            _curves(axes[0, column], one, betas(quick).index(SHOWN_BETA))
            _ratios(axes[1, column], one, betas(quick))
            _weights(axes[2, column], one)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _curves(ax: "Axes", one: LqrStudy, index: int) -> None:
    steps = STRETCH * np.arange(one.uniform.shape[1])
    median_band(ax, steps, one.uniform / one.uniform[:, :1], label="uniform, best step", color=COLORS[-1])
    for (rule, label), color in zip(LABELS.items(), COLORS, strict=False):
        gaps = one.gaps[rule][:, index]
        line = median_band(
            ax, steps, gaps / gaps[:, :1], label=None, color=color, linestyle="--" if rule != "tow" else "-"
        )
        line.set_label(label)
    # In the last iterations the gap is rounding, of either sign.
    newton = np.maximum(one.newton / one.newton[:, :1], 1e-16)
    median_band(ax, np.arange(newton.shape[1]), newton, label="Newton, same Hessians", color="0.6", linestyle=":")
    ax.set_yscale("log")
    ax.set_ylim(1e-4, 2)
    ax.set_xlabel("step")
    ax.set_ylabel(f"gap over the first, beta = {SHOWN_BETA:g}")


def _ratios(ax: "Axes", one: LqrStudy, precisions: tuple[float, ...]) -> None:
    uniform = one.uniform[:, -1]
    shift = 1.09 ** np.arange(-2, 3)  # side by side, so that no interval hides another
    for i, rule in enumerate(LABELS):
        found = [ratio(one.gaps[rule][:, j, -1], uniform) for j in range(len(precisions))]
        median, low, high = (np.array([getattr(r, name) for r in found]) for name in ("median", "low", "high"))
        shown = np.isfinite(median)
        x, median, low, high = (row[shown] for row in (np.array(precisions) * shift[i], median, low, high))
        low, high = (np.where(np.isfinite(end), end, median) for end in (low, high))
        ax.errorbar(x, median, [median - low, high - median], fmt=_MARKERS[i], color=COLORS[i], markersize=4)
    lost = [LABELS[rule] for rule in LABELS if not np.isfinite(ratio(one.gaps[rule][:, 0, -1], uniform).median)]
    if lost:
        words = f"unstable in most runs: {', '.join(lost)}"
        ax.text(0.02, 0.3, words, transform=ax.transAxes, va="top", fontsize=7)
    ax.axhline(1.0, color=COLORS[-1], linewidth=1)
    same_time = ratio(one.same_time, uniform).median
    if same_time > 1e-6:
        ax.axhline(same_time, color=COLORS[-1], linewidth=1, linestyle=":")
        ax.annotate("uniform, same time", (precisions[-1], same_time), va="bottom", fontsize=7)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("precision beta of the prior on the weights")
    ax.set_ylabel("final gap over uniform's")


def _weights(ax: "Axes", one: LqrStudy) -> None:
    plot_weights(one.weights, ax=ax, order=np.trace(one.tasks.task.Q, axis1=1, axis2=2), order_label="cheap tasks")
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set_ylim(bottom=0)
