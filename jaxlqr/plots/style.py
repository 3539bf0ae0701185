"""The style of all figures: readable on paper, safe for colour-blind readers, and without side effects on import.

Figures are plain ``matplotlib.figure.Figure`` objects, made without pyplot, so they need no display and leave no global
state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.core.optional import optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, darkest first, without yellow, which vanishes on white paper."""

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.5,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.facecolor": "white",
}
"""Settings of matplotlib within :func:`style`."""


@contextmanager
def style() -> Iterator[None]:
    """Within this block matplotlib makes figures, titles and legends in the style of the library.

    >>> with style():
    ...     figure, axes = new_figure()
    ...     legend = axes[0, 0].legend(*[[axes[0, 0].plot([0, 1])[0]], ["line"]])
    >>> legend.get_frame_on()
    False
    """
    matplotlib = optional("matplotlib", "plots", "a figure")
    cycler = optional("cycler", "plots", "a figure").cycler  # comes with matplotlib
    settings: dict[Any, Any] = {**STYLE, "axes.prop_cycle": cycler(color=COLORS)}
    with matplotlib.rc_context(settings):
        yield


def new_figure(
    *, num_rows: int = 1, num_columns: int = 1, panel_size: tuple[float, float] = (3.4, 2.6)
) -> "tuple[Figure, np.ndarray]":
    """A figure in the style of the library and its axes, an array [num_rows, num_columns]; sizes in inches.

    >>> figure, axes = new_figure(num_rows=1, num_columns=3)
    >>> axes.shape
    (1, 3)
    """
    figure_class = optional("matplotlib.figure", "plots", "a figure").Figure
    width, height = panel_size
    with style():
        figure = figure_class(figsize=(width * num_columns, height * num_rows), layout="constrained")
        axes = figure.subplots(num_rows, num_columns, squeeze=False)
        for ax in axes.flat:
            # Tick labels are otherwise made when the figure is drawn, in whatever style rules by then.
            ax.tick_params(labelsize=STYLE["xtick.labelsize"])
    return figure, axes


def axes_or_new(ax: "Axes | None") -> "Axes":
    """``ax``, or, where it is None, the axes of a new figure of one panel, ``ax.figure``.

    >>> axes_or_new(None).figure.axes == [axes_or_new(None)]
    False
    """
    return new_figure()[1][0, 0] if ax is None else ax
