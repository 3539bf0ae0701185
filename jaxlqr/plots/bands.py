"""Curves with bands, which show the spread around a median or a mean."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def band(
    ax: "Axes",
    x: ArrayLike,
    middle: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    label: str | None = None,
    color: str | None = None,
    alpha: float = 0.2,
    band_label: str | None = None,
    **line: Any,
) -> "Line2D":
    """Draw a curve with a band from ``low`` to ``high``, in its colour; ``line`` holds properties of the curve.

    Returns:
        The line of the curve.

    >>> from jaxlqr.plots import new_figure
    >>> ax = new_figure()[1][0, 0]
    >>> band(ax, [0, 1], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], label="mean and interval", marker="o").get_marker()
    'o'
    >>> len(ax.collections)
    1
    """
    (drawn,) = ax.plot(x, middle, label=label, color=color, **line)
    ax.fill_between(x, low, high, color=drawn.get_color(), alpha=alpha, linewidth=0, label=band_label)
    return drawn


def median_band(
    ax: "Axes",
    x: ArrayLike,
    rows: ArrayLike,
    *,
    label: str | None = None,
    color: str | None = None,
    quantiles: tuple[float, float] = (0.25, 0.75),
    diverged: ArrayLike | None = None,
    linestyle: str = "-",
    marker: str | None = None,
) -> "Line2D":
    """Draw the median of ``rows`` over its first axis, with a band between two quantiles.

    Arguments:
        ax: axes to draw on.
        x: abscissa [steps].
        rows: one row for each seed [seeds, steps]; diverged runs hold NaN or infinities.
        label: for the legend; the number of diverged runs is appended.
        color: of line and band; the next of the axes' own unless given.
        quantiles: of the band.
        diverged: which rows diverged [seeds], booleans; those that are not finite throughout unless given.
        linestyle, marker: of the median.

    Returns:
        The line of the median. A diverged run is omitted at all steps, so that the population is the same along the
        curve. If no run remains, the line is empty and the legend states it.

    >>> from jaxlqr.plots import new_figure
    >>> _, axes = new_figure()
    >>> line = median_band(axes[0, 0], [0, 1], [[3.0, 1.0], [5.0, 2.0], [4.0, float("nan")]], label="demo")
    >>> line.get_ydata().tolist(), line.get_label()
    ([4.0, 1.5], 'demo (1 of 3 diverged)')
    """
    x, rows = np.asarray(x), np.asarray(rows, dtype=float)
    if rows.ndim != 2 or x.shape != rows.shape[1:]:
        raise ValueError(f"rows must have shape [seeds, steps] with steps = {x.shape}, got {rows.shape}.")
    low, high = quantiles
    if not 0 <= low <= high <= 1:
        raise ValueError(f"quantiles must be two increasing numbers in [0, 1], got {quantiles}.")
    lost = ~np.all(np.isfinite(rows), axis=1)
    if diverged is not None:
        given = np.asarray(diverged, dtype=bool)
        if given.shape != lost.shape:
            raise ValueError(f"diverged must have one entry for each of {len(rows)} rows, got shape {given.shape}.")
        lost |= given
    if label is not None and lost.any():
        label = f"{label} ({int(lost.sum())} of {len(rows)} diverged)"
    kept = rows[~lost]
    if len(kept) == 0:
        (line,) = ax.plot([], [], label=label, color=color, linestyle=linestyle)
        return line
    bottom, middle, top = np.quantile(kept, [low, 0.5, high], axis=0)
    if len(kept) == 1:
        (line,) = ax.plot(x, middle, label=label, color=color, linestyle=linestyle, marker=marker)
        return line
    return band(ax, x, middle, bottom, top, label=label, color=color, linestyle=linestyle, marker=marker)
