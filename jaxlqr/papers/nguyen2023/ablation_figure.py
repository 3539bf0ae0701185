"""Figure of how TOW's weights are found: iterations, diagonal matrices, time, and the weights themselves."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.papers.nguyen2023.ablation import LONGER, Ablation
from jaxlqr.papers.nguyen2023.lqr import STRETCH
from jaxlqr.plots import COLORS, median_band, new_figure, plot_weights, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR = 1e-12  # of relative gaps that are drawn: below, it is rounding
_SHOWN = 1e-10  # least gap on the axis against time


def draw(found: Ablation) -> "Figure":
    """Gap against step by number of iterations and by method, gap against time, and shares of the tasks."""
    figure, axes = new_figure(num_rows=2, num_columns=2, panel_size=(4.2, 3.0))
    iterated = [name for name in found.gaps if name.startswith("iLQR")]
    others = [iterated[0], *(name for name in found.gaps if name not in iterated)]
    colors: dict[str, str] = dict(zip(found.gaps, COLORS, strict=False))
    with style():
        _against_steps(axes[0, 0], found, iterated, colors)
        axes[0, 0].set_title("number of iLQR iterations", loc="left")
        _against_steps(axes[0, 1], found, others, colors)
        axes[0, 1].set_title("full or diagonal matrices, or a gradient", loc="left")
        _against_time(axes[1, 0], found, colors)
        _shares(axes[1, 1], found)
    return figure


def _relative(gaps: np.ndarray) -> np.ndarray:
    return np.maximum(gaps / gaps[:, :1], _FLOOR)


def _against_steps(ax: "Axes", found: Ablation, names: list[str], colors: dict[str, str]) -> None:
    steps = STRETCH * np.arange(found.uniform.shape[1])
    ax.plot(steps, np.median(_relative(found.uniform), axis=0), color="0.5", label="uniform")
    for name, dashes in zip(names, ("-", "--", ":", "-.", (0, (5, 5))), strict=False):
        line = median_band(ax, steps, _relative(found.gaps[name]), label=name, color=colors[name])
        line.set_linestyle(dashes)  # curves may coincide
    ax.set(yscale="log", xlabel="step", ylabel="gap over the first")
    ax.legend()


def _against_time(ax: "Axes", found: Ablation, colors: dict[str, str]) -> None:
    def curve(gaps: np.ndarray, seconds: float, name: str, color: str, dashes: str = "-") -> None:
        times = seconds * np.arange(1, gaps.shape[1]) / (gaps.shape[1] - 1)
        ax.plot(1e3 * times, np.median(_relative(gaps), axis=0)[1:], color=color, linestyle=dashes, label=name)

    curve(found.longer, LONGER * found.uniform_seconds, "uniform, continued", "0.5")
    curve(found.newton, found.newton_seconds, "Newton, same Hessians", "black", ":")
    for name, gaps in found.gaps.items():
        curve(gaps, found.seconds[name], name, colors[name])
    ax.set(xscale="log", yscale="log", xlabel="milliseconds of a run, in a batch", ylabel="gap over the first")
    ax.set_ylim(_SHOWN, 2)  # Newton's method goes on down to rounding
    ax.set_title("the same against time", loc="left")
    ax.legend(fontsize=6, loc="lower right")


def _shares(ax: "Axes", found: Ablation) -> None:
    first = found.weights[::STRETCH]  # the last weights of a stretch never matter
    shares = first / np.sum(first, axis=1, keepdims=True)
    plot_weights(shares, ax=ax, steps=STRETCH * np.arange(len(shares)), order=found.scales)
    ax.set_ylabel("share of a task (dark: cheap tasks)")
    total = ax.twinx()
    total.plot(STRETCH * np.arange(len(first)), np.sum(first, axis=1), color=COLORS[1], linestyle=":")
    total.set_ylabel("sum of the weights (dotted)", color=COLORS[1])
    total.grid(visible=False)
    ax.set_title("weights of the first seed, first step of a stretch", loc="left")
