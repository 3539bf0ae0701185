"""Figure of the five optimal trajectories, and of how the gradient falls on the way to them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.plots import COLORS, new_figure, style
from jaxlqr.trajectory import IlqrResult
from jaxlqr.trajectory.problems import TrajectoryProblem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CAR_LENGTH, _CAR_WIDTH = 0.5, 0.25  # drawn smaller than its axle's distance of 2 m, to separate positions


def draw(problems: dict[str, TrajectoryProblem], found: dict[str, dict[str, IlqrResult]]) -> "Figure":
    """One panel for each problem, of the solution of iLQR, and one of the gradients."""
    figure, axes = new_figure(num_rows=2, num_columns=3, panel_size=(3.6, 3.0))
    with style():
        for ax, (name, problem) in zip(axes.flat, problems.items(), strict=False):
            _DRAWN[name](ax, np.asarray(found[name]["iLQR"].states), problem)
        _gradients(axes[1, 2], found)
    return figure


def _pendulum(ax: "Axes", states: np.ndarray, p: TrajectoryProblem) -> None:
    times = p.time_step * np.arange(len(states))
    ax.plot(times, states[:, 0], label="angle, rad")
    ax.plot(times, states[:, 1], label="rate, rad/s")
    ax.axhline(np.pi, color="black", linewidth=0.8, linestyle="--")
    ax.set(title="pendulum: swing up (dashed: upright)", xlabel="time, s")
    ax.legend()


def _cart_pole(ax: "Axes", states: np.ndarray, p: TrajectoryProblem) -> None:
    from matplotlib import colormaps

    length = p.params["length"]
    for x, angle, shade in zip(states[:, 0], states[:, 1], np.linspace(0, 0.9, len(states)), strict=True):
        color = colormaps["viridis"](shade)
        ax.plot([x, x + length * np.sin(angle)], [0, -length * np.cos(angle)], color=color, linewidth=0.7)
    ax.plot(states[:, 0], 0 * states[:, 0], color="black", linewidth=2)
    ax.plot(states[:, 0] + length * np.sin(states[:, 1]), -length * np.cos(states[:, 1]), color=COLORS[1], linewidth=1)
    ax.set(title="cart-pole: swing up (dark to light)", xlabel="position, m", ylabel="height, m")
    ax.set_aspect("equal", "datalim")


def _planar(ax: "Axes", states: np.ndarray, p: TrajectoryProblem) -> None:
    arm = p.params["arm"]
    ax.plot(states[:, 0], states[:, 1], color=COLORS[0], linewidth=1)
    for x, z, tilt in states[::3, :3]:
        across, up = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
        ends = np.array([x, z]) + arm * np.outer([-1, 1], across)
        ax.plot(ends[:, 0], ends[:, 1], color="black", linewidth=1)
        ax.plot(*np.transpose([[x, z], [x, z] + 0.15 * up]), color=COLORS[1], linewidth=1)
    ax.plot(0, 0, "o", color=COLORS[2])
    ax.set(title="planar quadrotor: upside down to hover", xlabel="x, m", ylabel="z, m")
    ax.set_aspect("equal", "datalim")


def _car(ax: "Axes", states: np.ndarray, p: TrajectoryProblem) -> None:
    box = np.array([[0, 1, 1, 0, 0], [-0.5, -0.5, 0.5, 0.5, -0.5]]) * [[_CAR_LENGTH], [_CAR_WIDTH]]
    ax.plot(states[:, 0], states[:, 1], color=COLORS[0], linewidth=1)
    for x, y, heading in states[:: len(states) // 10, :3]:
        turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
        ax.plot(*(turn @ box + [[x], [y]]), color="black", linewidth=0.8)
    ax.plot(0, 0, "o", color=COLORS[2])
    ax.set(title="car parking (boxes: not to scale)", xlabel="x, m", ylabel="y, m")
    ax.set_aspect("equal", "datalim")


def _quadrotor(ax: "Axes", states: np.ndarray, p: TrajectoryProblem) -> None:
    times = p.time_step * np.arange(len(states))
    for place, label in enumerate(("x, m", "y, m", "z, m")):
        ax.plot(times, states[:, place], label=label, color=COLORS[place])
    for place, label in enumerate(("roll, rad", "pitch, rad", "yaw, rad")):
        ax.plot(times, states[:, 6 + place], label=label, color=COLORS[place], linestyle="--")
    ax.set(title="quadrotor, 12 states: to hover", xlabel="time, s")
    ax.legend(ncols=2)


def _gradients(ax: "Axes", found: dict[str, dict[str, IlqrResult]]) -> None:
    for (name, of), color in zip(found.items(), COLORS, strict=False):
        for (solver, result), dashes in zip(of.items(), ("-", ":"), strict=False):
            norms = result.history["gradient_norm"][: int(result.iterations) + 1]
            label = name.replace("_", " ") if solver == "iLQR" else None
            ax.plot(np.arange(1, len(norms) + 1), norms, color=color, linestyle=dashes, linewidth=1, label=label)
    ax.set(xscale="log", yscale="log", xlabel="iterate", title="gradient, relative to its terms (dotted: DDP)")
    ax.legend(fontsize=7)


_DRAWN: "dict[str, Callable[[Axes, np.ndarray, TrajectoryProblem], None]]" = {
    "pendulum": _pendulum,
    "cart_pole": _cart_pole,
    "planar_quadrotor": _planar,
    "car_parking": _car,
    "quadrotor": _quadrotor,
}
