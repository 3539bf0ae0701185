"""Figure 1: the four runs in the plane of gains, and how fast they converge."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.landscape import evaluate
from jaxlqr.papers.musavi2023.setting import INNER_STEPS, STARTS, A, B
from jaxlqr.plots import COLORS, median_band, new_figure, plot_landscape, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 360  # points along each side of the map


def draw(tasks: LQRTask, histories: list[dict[str, np.ndarray]]) -> "Figure":
    """``tasks``: tasks of the first draw, for the map; ``histories``: one for each start, over all draws."""
    figure, axes = new_figure(num_rows=1, num_columns=2, panel_size=(4.6, 3.8))
    plane, speed = axes[0]
    first, second = np.linspace(0, 3.6, _SIDE), np.linspace(-5.2, -0.4, _SIDE)
    gains = np.stack(np.meshgrid(first, second), axis=-1)
    values = np.asarray(evaluate(cost, gains.reshape(-1, 1, 2), tasks, INNER_STEPS[-1])).reshape(_SIDE, _SIDE)
    radius = np.abs(np.linalg.eigvals(np.asarray(A) - np.asarray(B) @ gains[:, :, None])).max(axis=2)
    with style():
        levels = np.nanmin(values) * np.geomspace(1, 5, 25)
        plot_landscape(
            first, second, values, ax=plane, radius=radius, levels=levels, cmap="Greys", colorbar=None, legend=False
        )
        for number, (history, start) in enumerate(zip(histories, STARTS, strict=True)):
            color = COLORS[number]
            w1, w2 = (history[name][0, :, 0] for name in ("w1", "w2"))
            plane.plot(w1, w2, ".-", color=color, markersize=3, linewidth=1)
            plane.plot(*start.gain, "o", color=color, label=f"start {number + 1}")
            steps = sorted({start.first_step, start.last_step})
            label = f"start {number + 1}, $\\eta$ = " + " to ".join(f"{step:g}" for step in steps)
            norms = history["gradient_norm"]
            line = median_band(speed, np.arange(norms.shape[1]), norms, label=label, color=color)
            if len(steps) > 1:
                _explain_rise(speed, np.asarray(line.get_ydata(), dtype=float), color)
        title = f"one draw; grey: the objective at $\\eta$ = {INNER_STEPS[-1]:g}, where it is finite"
        plane.set(xlabel="$w_1$", ylabel="$w_2$", title=title)
        plane.legend(loc="lower right")
        speed.set_yscale("log")
        speed.set(xlabel="iteration", ylabel="norm of the meta-gradient", title="all draws: median and quartiles")
        speed.legend()
    return figure


def _explain_rise(ax: "Axes", norms: np.ndarray, color: str) -> None:
    """Write at the end of the curve of the growing inner step why it rises: each inner step has its own objective."""
    ax.annotate(
        "$\\eta$ grows faster than\nthe steps follow the\nmoving minimiser",
        (len(norms) - 1, norms[-1]),
        xytext=(-6, 26),
        textcoords="offset points",
        ha="right",
        fontsize=7,
        color=color,
        arrowprops={"arrowstyle": "->", "color": color},
    )
