"""Where the closed loop has its poles."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxlqr.lqr.task import LQRTask
from jaxlqr.plots.style import COLORS, axes_or_new, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def closed_loop_poles(gains: ArrayLike, tasks: LQRTask, *, each_task: bool = False) -> np.ndarray:
    """Eigenvalues of A_i - B_i K_t, complex [steps, tasks, n].

    Arguments:
        gains: a history of gains [steps, m, n], or, with ``each_task``, one for each task [steps, tasks, m, n].
        tasks: a stack of tasks.
        each_task: whether each task has different gains, such as adapted ones.

    >>> import jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 0.5])
    >>> closed_loop_poles([[[0.0]], [[0.25]]], tasks)[:, :, 0].real.round(3).tolist()
    [[0.9, 0.5], [0.65, 0.25]]
    """
    K, A, B = (np.asarray(array) for array in (gains, tasks.A, tasks.B))
    expected = (*((len(A),) if each_task else ()), B.shape[-1], A.shape[-1])
    if A.ndim != 3 or K.shape[1:] != expected or K.ndim != len(expected) + 1:
        raise ValueError(
            f"gains must have shape [steps, {', '.join(map(str, expected))}] for these tasks, got {K.shape}; "
            "for one gain K pass K[None], and stack the tasks."
        )
    return np.linalg.eigvals(A - B @ (K if each_task else K[:, None]))


def plot_poles(
    gains: ArrayLike,
    tasks: LQRTask,
    *,
    ax: "Axes | None" = None,
    each_task: bool = False,
    labels: list[str] | None = None,
) -> "Axes":
    """Pole map: eigenvalues of A_i - B_i K_t in the complex plane with the unit circle, as they move with the gain.

    A colour is a task; a ring marks the poles at the first gain, a cross those at the last, small dots what lies
    between. Outside the circle the task is unstable.

    Arguments:
        gains, tasks, each_task: as in :func:`closed_loop_poles`; one step alone gives crosses.
        ax: axes to draw on; by default those of a new figure.
        labels: one for each task, for the legend, which then stands beside the axes.

    Returns:
        The axes.

    >>> import jaxlqr
    >>> ax = plot_poles(np.linspace(0, 0.5, 5)[:, None, None], jaxlqr.families.scalar(a=[1.2, 0.9]))
    >>> ax.get_xlabel(), [line.get_label() for line in ax.lines if line.get_label()[0] != "_"]
    ('real part', ['unit circle', 'first gain', 'last gain'])
    """
    poles: Any = closed_loop_poles(gains, tasks, each_task=each_task)
    if labels is not None and len(labels) != poles.shape[1]:
        raise ValueError(f"labels must have one entry for each of {poles.shape[1]} tasks, got {len(labels)}.")
    axes = axes_or_new(ax)
    with style():
        angle = np.linspace(0, 2 * np.pi, 200)
        axes.plot(np.cos(angle), np.sin(angle), color="black", linewidth=0.8, label="unit circle")
        axes.plot([], [], "o", color="0.4", markersize=5, markerfacecolor="none", label="first gain")
        axes.plot([], [], "x", color="0.4", markersize=5, label="last gain")
        for number in range(poles.shape[1]):
            color, of = COLORS[number % len(COLORS)], poles[:, number]
            between = of[1:-1].ravel()
            axes.plot(between.real, between.imag, ".", color=color, markersize=1.5, alpha=0.6)
            if len(of) > 1:
                axes.plot(of[0].real, of[0].imag, "o", color=color, markersize=5, markerfacecolor="none")
            label = None if labels is None else labels[number]
            # Beyond the palette, another marker distinguishes tasks of one colour.
            cross = "x+"[number // len(COLORS) % 2]
            axes.plot(of[-1].real, of[-1].imag, cross, color=color, markersize=5, label=label)
        axes.set_aspect("equal", adjustable="datalim")  # a wide panel has room beside the circle
        axes.set(xlabel="real part", ylabel="imaginary part")
        if labels is None:
            axes.legend(loc="upper right", fontsize=6.5)
        else:  # poles may lie anywhere within the axes
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize=6.5)
    return axes
