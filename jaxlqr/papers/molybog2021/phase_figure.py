"""The phase diagram: how often a random family is epsilon-global."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.plots import COLORS, band, new_figure, plot_heat_map, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Which of the tolerances is mapped, and which rows and columns of the map are drawn as curves with their intervals.
_TOLERANCE, _EVERY = 1, 2


def draw(found: dict[str, Any]) -> "Figure":
    """The map at one tolerance, and cuts through it with 95 % intervals, of what ``phase_diagram`` found."""
    figure, axes = new_figure(num_rows=1, num_columns=3, panel_size=(4.2, 3.6))
    levels, steps, epsilon = found["levels"], found["inner_steps"], found["tolerances"][_TOLERANCE]
    fraction, low, high = (np.asarray(found[name])[_TOLERANCE] for name in ("fraction", "low", "high"))
    with style():
        left, middle, right = axes[0]
        _map(left, fraction, levels, steps, epsilon)
        for number, column in enumerate(range(0, len(steps), _EVERY)):
            _curve(
                middle, levels, (x[:, column] for x in (fraction, low, high)), f"$\\eta$ = {steps[column]:g}", number
            )
        for number, row in enumerate(range(1, len(levels), _EVERY)):
            _curve(right, steps, (x[row] for x in (fraction, low, high)), f"level {levels[row]:g}", number)
        middle.set(xlabel="heterogeneity (level)", ylabel="fraction of families", title="cuts, with 95 % intervals")
        right.set(xlabel="inner step $\\eta$", title=f"{found['num_families']} families a point")
        for ax in (middle, right):
            ax.set(xscale="log", ylim=(-0.03, 1.32), yticks=np.linspace(0, 1, 6))
            ax.legend(loc="upper center", ncols=2)
    return figure


def _map(ax: "Axes", fraction: np.ndarray, levels: Any, steps: Any, epsilon: float) -> None:
    plot_heat_map(
        100 * fraction, ax=ax, rows=levels, columns=steps, row_label="heterogeneity (level)",
        column_label="inner step $\\eta$", limits=(0, 100), number_format="{:.0f}",
    )  # fmt: skip
    ax.set_title(f"% of families with all minima within\n{100 * epsilon:g} % of the least value", fontsize=10)


def _curve(ax: "Axes", x: Any, curve: Any, label: str, number: int) -> None:
    middle, low, high = curve
    band(
        ax,
        x,
        middle,
        low,
        high,
        label=label,
        color=COLORS[number],
        alpha=0.25,
        marker="o",
        markersize=3.5,
        linewidth=1.2,
    )
