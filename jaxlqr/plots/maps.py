"""Maps: an objective over a plane, a number for each pair of settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxlqr.core.optional import optional
from jaxlqr.plots.style import COLORS, STYLE, axes_or_new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_landscape(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    *,
    ax: "Axes | None" = None,
    radius: ArrayLike | None = None,
    paths: Mapping[str, ArrayLike] | None = None,
    levels: ArrayLike | None = None,
    cmap: str = "viridis",
    colorbar: str | None = "meta-objective",
    legend: bool = True,
) -> "Axes":
    """Filled contours of an objective over a plane; where it is not finite the paper stays white.

    Arguments:
        x, y: coordinates [columns] and [rows].
        values: objective [rows, columns]; infinite or NaN where it is infeasible.
        ax: axes to draw on; by default those of a new figure.
        radius: spectral radius on an even grid between the same ends, of any size, whose level 1, the boundary of
            stability, is drawn in black.
        paths: of optimisers, by name, as coordinates [steps, 2].
        levels: of the contours; unless given, geometric in the excess over the least value: see :func:`contour_levels`.
        cmap: a colour map of matplotlib.
        colorbar: label of the colour bar; None leaves it out.
        legend: of boundary and paths.

    Returns:
        The axes.

    >>> x = y = np.linspace(-1, 1, 9)
    >>> values = 1 + x[:, None] ** 2 + y**2
    >>> ax = plot_landscape(x, y, values, radius=values / 2, paths={"descent": [[1, 1], [0, 0]]})
    >>> ax.lines[-1].get_label()
    'descent'
    """
    colors = optional("matplotlib.colors", "plots", "a figure")
    x, y, values = (np.asarray(array, float) for array in (x, y, values))
    if values.shape != (*y.shape, *x.shape) or values.ndim != 2:
        raise ValueError(f"values must have shape {(*y.shape, *x.shape)}, that of y and x, got {values.shape}.")
    axes = axes_or_new(ax)
    shown = np.ma.masked_invalid(values)
    steps = contour_levels(values) if levels is None else np.asarray(levels, float)
    with style():
        axes.grid(False)
        norm = colors.BoundaryNorm(steps, 256, extend="max")
        filled = axes.contourf(x, y, shown, levels=steps, norm=norm, cmap=cmap, extend="max")
        if colorbar is not None:
            bar = axes.figure.colorbar(filled, ax=axes, label=colorbar)
            bar.ax.tick_params(labelsize=STYLE["xtick.labelsize"])
        if radius is not None:
            of = np.asarray(radius, float)
            if of.min() < 1 < of.max():
                ends = (np.linspace(one[0], one[-1], size) for one, size in zip((x, y), of.shape[::-1], strict=True))
                axes.contour(*ends, of, levels=[1.0], colors="black", linewidths=1.2)
            axes.plot([], [], color="black", linewidth=1.2, label="boundary of stability")
        for number, (name, path) in enumerate((paths or {}).items()):
            place = np.asarray(path, float).T
            # A white line below, so that the colour is visible on any background.
            axes.plot(*place, color="white", linewidth=2.7)
            axes.plot(*place, color=COLORS[(number + 1) % len(COLORS)], linewidth=1.5, label=name)
        axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
        if legend and (paths or radius is not None):
            axes.legend(loc="best", frameon=True, framealpha=0.9)  # on any ground
    return axes


def contour_levels(values: ArrayLike) -> np.ndarray:
    """25 levels, quadratic in the excess over the least value, up to its quantile 0.9 or 20 times it.

    >>> contour_levels([1.0, 2.0, np.inf])[[0, -1]].round(3).tolist()
    [1.0, 1.9]
    """
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        raise ValueError("values must hold a finite entry, got none: nothing of the plane is feasible.")
    least, high = float(np.min(finite)), float(np.quantile(finite, 0.9))
    high = min(max(high, least * 1.01), least * 20) if least > 0 else max(high, least * (1 - 1e-12))
    high = high if high > least else least + 1  # all values are zero
    return least + (high - least) * np.linspace(0, 1, 25) ** 2


def plot_heat_map(
    values: ArrayLike,
    *,
    ax: "Axes | None" = None,
    rows: Sequence[Any],
    columns: Sequence[Any],
    row_label: str = "",
    column_label: str = "",
    limits: tuple[float, float] | None = None,
    number_format: str = "{:.3g}",
    cmap: str = "viridis",
) -> "Axes":
    """A number for each pair of settings, as a shade and in digits; values that are not finite are white with a "-".

    Arguments:
        values: [rows, columns], such as the last gap of a sweep over two axes.
        ax: axes to draw on; by default those of a new figure.
        rows, columns: the settings, for the ticks.
        row_label, column_label: of the axes.
        limits: values of the darkest and the lightest shade; the extremes unless given.
        number_format: of a number in its cell.
        cmap: a colour map of matplotlib, dark at its low end.

    Returns:
        The axes; row 0 is at the bottom.

    >>> ax = plot_heat_map([[1.0, 0.5], [0.2, np.inf]], rows=[0.001, 0.01], columns=["sgd", "adam"])
    >>> [text.get_text() for text in ax.texts]
    ['1', '0.5', '0.2', '-']
    """
    values = np.asarray(values, float)
    if values.shape != (len(rows), len(columns)):
        expected = (len(rows), len(columns))
        raise ValueError(f"values must have shape {expected}, that of rows and columns, got {values.shape}.")
    finite = values[np.isfinite(values)]
    low, high = limits or ((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
    axes = axes_or_new(ax)
    with style():
        axes.grid(False)
        axes.imshow(np.ma.masked_invalid(values), origin="lower", vmin=low, vmax=high, cmap=cmap, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            light = not np.isfinite(value) or value > low + 0.6 * (high - low)
            text = number_format.format(value) if np.isfinite(value) else "-"
            color = "black" if light else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
        axes.set_xticks(range(len(columns)), [_tick(one) for one in columns])
        axes.set_yticks(range(len(rows)), [_tick(one) for one in rows])
        axes.set(xlabel=column_label, ylabel=row_label)
    return axes


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float | np.number) and not isinstance(value, bool) else str(value)
