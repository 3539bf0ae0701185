"""States and inputs of a system over time, under one or more gains."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxlqr.lqr.task import LQRTask
from jaxlqr.plots.style import COLORS, axes_or_new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = (":", "-", "--", "-.")


def plot_trajectories(
    gains: Mapping[str, ArrayLike],
    task: LQRTask,
    x0: ArrayLike,
    *,
    ax: "Axes | None" = None,
    signal: Literal["states", "inputs"] = "states",
    horizon: int = 40,
) -> "Axes":
    """States or inputs of one task under several gains, such as before and after adaptation, from one initial state.

    Arguments:
        gains: by name, each [m, n]; the first is drawn dotted, the second solid. u = -K x.
        task: one task.
        x0: initial state [n].
        ax: axes to draw on; by default those of a new figure.
        signal: the drawn signal; each entry has a colour.
        horizon: number of stages.

    Returns:
        The axes.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]])
    >>> K = jaxlqr.optimal_gain(task)
    >>> ax = plot_trajectories({"before": 0.2 * K, "after": K}, task, [1.0, 0.0])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['$x_1$', '$x_2$', 'before', 'after']
    """
    if signal not in ("states", "inputs"):
        raise ValueError(f'signal must be "states" or "inputs", got {signal!r}.')
    A, B, start = (np.asarray(array, float) for array in (task.A, task.B, x0))
    if start.shape != A.shape[:1]:
        raise ValueError(f"x0 must have shape {A.shape[:1]}, that of the state, got {start.shape}.")
    if len(gains) > len(_DASHES) or not gains:
        raise ValueError(f"gains must hold one to {len(_DASHES)} gains by name, got {len(gains)}.")
    axes = axes_or_new(ax)
    symbol, count = ("x", A.shape[0]) if signal == "states" else ("u", B.shape[1])
    with style():
        for entry in range(count):
            axes.plot([], [], color=COLORS[entry % len(COLORS)], label=f"${symbol}_{entry + 1}$")
        for (name, gain), dashes in zip(gains.items(), _DASHES, strict=False):
            rows = _simulate(np.asarray(gain, float), A, B, start, horizon)[signal == "inputs"]
            for entry, values in enumerate(rows.T):
                axes.plot(values, color=COLORS[entry % len(COLORS)], linestyle=dashes, linewidth=1.2)
            axes.plot([], [], color="0.4", linestyle=dashes, label=name)
        axes.set(xlabel="time step", ylabel=signal)
        axes.legend(loc="best", ncols=2)
    return axes


def _simulate(
    K: np.ndarray, A: np.ndarray, B: np.ndarray, x: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    states, inputs = [], []
    for _ in range(horizon):
        states.append(x)
        inputs.append(-K @ x)
        x = A @ x + B @ inputs[-1]
    return np.array(states), np.array(inputs)
