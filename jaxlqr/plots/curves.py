"""Weights of tasks over time, and errors of estimates against their price."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxlqr.core.optional import optional
from jaxlqr.plots.bands import median_band
from jaxlqr.plots.style import axes_or_new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_weights(
    weights: ArrayLike,
    *,
    ax: "Axes | None" = None,
    steps: ArrayLike | None = None,
    order: ArrayLike | None = None,
    order_label: str | None = None,
) -> "Axes":
    """Weights of the tasks over training, a line for each, with the uniform weight as a dashed line.

    Arguments:
        weights: [steps, tasks].
        ax: axes to draw on; by default those of a new figure.
        steps: abscissa [steps]; 0, 1, ... unless given.
        order: a number for each task [tasks], such as its cost: tasks with small ones are dark, with large ones light.
        order_label: name of the dark end, for the label of the ordinate, such as "cheap tasks".

    Returns:
        The axes.

    >>> ax = plot_weights([[0.5, 0.5], [0.7, 0.3], [0.8, 0.2]], order=[1.0, 10.0], order_label="cheap tasks")
    >>> ax.lines[0].get_ydata().tolist(), ax.get_ylabel()
    ([0.5, 0.7, 0.8], 'weight (dark: cheap tasks)')
    """
    colormaps = optional("matplotlib", "plots", "a figure").colormaps
    rows = np.asarray(weights, float)
    if rows.ndim != 2:
        raise ValueError(f"weights must have shape [steps, tasks], got {rows.shape}.")
    count = rows.shape[1]
    rank = np.arange(count) if order is None else np.argsort(np.argsort(np.asarray(order)))
    if rank.shape != (count,):
        raise ValueError(f"order must have one number for each of {count} tasks, got shape {rank.shape}.")
    axes = axes_or_new(ax)
    x = np.arange(len(rows)) if steps is None else np.asarray(steps)
    with style():
        for of, color in zip(rows.T, colormaps["viridis"](rank / max(count - 1, 1) * 0.9), strict=True):
            axes.plot(x, of, color=color, linewidth=1)
        axes.axhline(1 / count, color="black", linewidth=0.8, linestyle="--")
        axes.set(xlabel="step", ylabel="weight" + (f" (dark: {order_label})" if order_label else ""))
    return axes


def plot_sample_complexity(
    samples: ArrayLike,
    errors: ArrayLike,
    *,
    ax: "Axes | None" = None,
    label: str | None = None,
    color: str | None = None,
    quantiles: tuple[float, float] = (0.05, 0.95),
    rate: float | None = None,
    **curve: Any,
) -> "Axes":
    """Error of an estimate against its samples, both logarithmic: median and quantile band over repeats.

    Arguments:
        samples: [counts]; or whatever else the error depends on, such as radii.
        errors: [repeats, counts].
        ax: axes to draw on, also from another such plot; by default those of a new figure.
        label, color: of the curve.
        quantiles: of the band.
        rate: exponent of a dotted line through the first median, such as -1/2 of Monte Carlo.
        curve: ``linestyle`` and ``marker`` of the median, a dot unless given.

    Returns:
        The axes.

    >>> generator = np.random.default_rng(0)
    >>> counts = np.array([10, 100, 1000])
    >>> ax = plot_sample_complexity(counts, abs(generator.normal(size=(50, 3))) / np.sqrt(counts), rate=-0.5)
    >>> ax.get_xscale(), ax.lines[1].get_label()
    ('log', 'rate -0.5')
    """
    axes = axes_or_new(ax)
    with style():
        line = median_band(
            axes, samples, errors, label=label, color=color, quantiles=quantiles, **{"marker": ".", **curve}
        )
        drawn = np.asarray(line.get_ydata(), float)
        if rate is not None and drawn.size:
            x = np.asarray(samples, float)
            guide = drawn[0] * (x / x[0]) ** rate
            axes.plot(x, guide, color="black", linewidth=0.8, linestyle=":", label=f"rate {rate:g}")
        axes.set(xscale="log", yscale="log", xlabel="samples", ylabel="relative error")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
    return axes
