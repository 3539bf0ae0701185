"""Bound against gap, networks of growing width, and errors of sampled meta-gradients."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.wang2020 import samples, widths
from jaxlqr.plots import COLORS, median_band, new_figure, plot_sample_complexity, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEATURES = {"omega": "features at the point", "initial": "features at initialisation", "kernel": "infinite width"}


def draw_theory(
    gaps: np.ndarray,
    bounds: dict[str, np.ndarray],
    used: tuple[int, ...],
    networks: dict[str, dict[str, np.ndarray]],
    errors: dict[str, dict[str, np.ndarray]],
) -> "Figure":
    """The figure; of a quick run, without networks and errors, the first panel alone.

    Arguments:
        gaps, bounds: of :func:`jaxlqr.papers.wang2020.bounds.draw`.
        used, networks: widths, and their summary from :func:`jaxlqr.papers.wang2020.widths.sweep`.
        errors: of :func:`jaxlqr.papers.wang2020.samples.complexity`.
    """
    complete = bool(networks and errors)
    figure, axes = new_figure(num_rows=2 if complete else 1, num_columns=3 if complete else 1, panel_size=(3.7, 3.1))
    with style():
        _draw_bounds(axes[0, 0], gaps, bounds)
        if not complete:
            return figure
        _draw_samples(axes[0, 1], errors)
        for ax, name, title in (
            (axes[0, 2], "drift", "feature drift in the ball"),
            (axes[1, 0], "error", "linearisation error in the ball"),
        ):
            _draw_powers(ax, used, networks, name, title)
        for ax, kind in ((axes[1, 1], "policy"), (axes[1, 2], "regressor")):
            _draw_residuals(ax, used, networks[kind], f"residual, {kind}")
    return figure


def _draw_bounds(ax: "Axes", gaps: np.ndarray, bounds: dict[str, np.ndarray]) -> None:
    for (form, rows), marker, color in zip(bounds.items(), "osv^", COLORS, strict=False):
        ax.plot(gaps, rows, marker, color=color, label=form, markersize=3, alpha=0.6, linestyle="none")
    ends = np.array([gaps.min(), gaps.max()])
    ax.plot(ends, ends, color="black", linewidth=0.8, label="equality")
    ax.set(xscale="log", yscale="log", xlabel="gap", ylabel="right side of Theorem 3.5", title="bound against gap")
    # Two decades above the points are the legend's.
    ax.set_ylim(top=1e2 * max(rows[np.isfinite(rows)].max() for rows in bounds.values()))
    ax.legend(loc="upper left", fontsize=6.5, ncols=3)


def _draw_samples(ax: "Axes", errors: dict[str, dict[str, np.ndarray]]) -> None:
    for (name, told), color, dashes in zip(errors.items(), COLORS, ("-", "--", "-.", ":"), strict=False):
        plot_sample_complexity(
            told["transitions"], told["errors"].T, ax=ax, label=samples.LABELS[name], color=color,
            quantiles=(0.25, 0.75), linestyle=dashes,
        )  # fmt: skip
    ax.set(xlabel="simulated transitions a task", title="sampled meta-gradients")
    ax.legend(loc="lower left", fontsize=6.5)


def _draw_powers(ax: "Axes", used: tuple[int, ...], networks: Any, name: str, title: str) -> None:
    for (kind, told), color in zip(networks.items(), COLORS, strict=False):
        slope = widths.slopes(used, told[name]).mean()
        line = median_band(ax, used, told[name].T, label=f"{kind}: slope {slope:.2f}", color=color)
        line.set_marker(".")
    ax.set(xscale="log", yscale="log", xlabel="width", ylabel=title.split(" in ")[0], title=title)
    ax.legend(loc="lower left", fontsize=7)


def _draw_residuals(ax: "Axes", used: tuple[int, ...], told: dict[str, np.ndarray], title: str) -> None:
    for (name, label), color, dashes in zip(_FEATURES.items(), COLORS, ("-", "--", ":"), strict=False):
        # Each relative to its own target, which differs from network to network.
        line = median_band(
            ax, used, (told[f"residual_{name}"] / told["target"]).T, label=label, color=color, linestyle=dashes
        )
        line.set_marker(".")
    ax.set(xscale="log", xlabel="width", ylabel="residual / norm of the target", title=title)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best", fontsize=7)
