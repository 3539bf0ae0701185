"""The map of a plane with stationary points and paths, and an animation over the inner step."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.commands.landscape.study import PlaneStudy
from jaxlqr.io.console import counted
from jaxlqr.meta.landscape import Kind
from jaxlqr.plots import COLORS, animation, contour_levels, new_figure, plot_landscape, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = {Kind.MINIMUM: "o", Kind.MAXIMUM: "^", Kind.SADDLE: "X", Kind.DEGENERATE: "s"}
_NAMES = {Kind.MINIMUM: "local minimum", Kind.MAXIMUM: "maximum", Kind.SADDLE: "saddle", Kind.DEGENERATE: "degenerate"}
_MILLISECONDS = 200  # a frame
_WIDTHS = (4.0, 2.6, 1.2, 1.4)  # of the paths


def draw_plane(study: PlaneStudy) -> "Figure":
    """The objective in colours, the boundary of the stabilising set, stationary points and paths."""
    figure, axes = new_figure(num_rows=1, num_columns=1, panel_size=(7.0, 5.2))
    ax = axes[0, 0]
    with style():
        _map(ax, study, study.x, study.y, study.values)
        places = {name: study.plane.coordinates(path.gains).T for name, path in study.paths.items()}
        # A white line below, so that the colour is visible on any background; later paths are thinner where paths
        # agree.
        for place, width in zip(places.values(), _WIDTHS, strict=True):
            ax.plot(*place, color="white", linewidth=width + 1.2)
        for number, (name, place) in enumerate(places.items()):
            label = f"{name}: {study.paths[name].last_value:.4g}"
            ax.plot(*place, color=COLORS[number + 1], linewidth=_WIDTHS[number], label=label)
        begin = study.plane.coordinates(next(iter(study.paths.values())).gains[0])
        ax.plot(*begin, "D", color="black", markersize=5, label="start of the paths")
        _points(ax, study)
        ax.set_title(
            f"{counted(len(study.tasks.A), 'task')}, inner step {study.inner_step:.3g}; paths with their last value\n"
            "(white within the boundary: some adapted gain does not stabilise)"
        )
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def animate(study: PlaneStudy, inner_steps: np.ndarray, rows: list[np.ndarray]) -> bytes:
    """The map for each inner step as a GIF, in the colours of one scale."""
    x = np.linspace(study.x[0], study.x[-1], rows[0].shape[1])
    y = np.linspace(study.y[0], study.y[-1], rows[0].shape[0])
    levels = contour_levels(np.concatenate([values.ravel() for values in rows]))

    def frames() -> "Iterator[Figure]":
        for step, values in zip(inner_steps, rows, strict=True):
            figure, axes = new_figure(num_rows=1, num_columns=1, panel_size=(4.6, 3.6))
            _map(axes[0, 0], study, x, y, values, levels)
            with style():
                axes[0, 0].set_title(f"inner step {step:.2e}")
            yield figure

    return animation(frames(), milliseconds=_MILLISECONDS, back=True)


def _map(
    ax: "Axes", study: PlaneStudy, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: np.ndarray | None = None
) -> None:
    plot_landscape(x, y, values, ax=ax, radius=study.radius, levels=levels, legend=False)
    ax.set(xlabel="along the first direction", ylabel="along the second direction")


def _points(ax: "Axes", study: PlaneStudy) -> None:
    points = study.points
    if len(points.values) == 0:
        return
    place, away = study.plane.coordinates(points.params), study.plane.distance(points.params)
    on = away <= 1e-6 * np.max(np.linalg.norm(study.points.params.reshape(len(away), -1), axis=1))
    for kind in Kind:
        for index, face, suffix in ((on, COLORS[1], ""), (~on, "none", ", off the plane")):
            chosen = index & (points.kinds == kind)
            if not chosen.any():
                continue
            color = "white" if kind == Kind.SADDLE and suffix == "" else face
            ax.plot(
                *place[chosen].T, _MARKERS[kind], markerfacecolor=color, markeredgecolor="black", markersize=7,
                label=_NAMES[kind] + suffix, linestyle="none",
            )  # fmt: skip
