"""Histories of training: gap, cost and whatever else was recorded, against the step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxlqr.plots.bands import median_band
from jaxlqr.plots.style import COLORS, axes_or_new, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxlqr.training import TrainingResult

_LABELS = {
    "loss": "loss",
    "cost": "cost J(K)",
    "gap": "gap J(K) - J(K*)",
    "gradient_norm": "norm of the meta-gradient",
    "spectral_radius": "spectral radius of A - BK",
    "accepted_step": "accepted fraction of the step",
    "failed_queries": "failed cost queries",
}


def plot_history(
    history: "TrainingResult | Mapping[str, ArrayLike]",
    key: str,
    *,
    ax: "Axes | None" = None,
    label: str | None = None,
    color: str | None = None,
    over: Literal["tasks", "runs"] = "tasks",
    quantiles: tuple[float, float] = (0.25, 0.75),
    log: bool | None = None,
) -> "Axes":
    """Plot one entry of a training history against the step: its median, with a quantile band.

    Arguments:
        history: a :class:`jaxlqr.TrainingResult` or its ``history``.
        key: the entry.
        ax: axes to draw on; those of a new figure (``ax.figure``) unless given.
        label, color: of the curve.
        over: what median and band are over. ``"tasks"``: the history of one run, with the tasks in its columns, if the
            entry has any. ``"runs"``: a batched history, whose runs come first; its tasks are averaged.
        quantiles: of the band.
        log: logarithmic ordinate; where all values are positive unless given.

    Returns:
        The axes.

    >>> ax = plot_history({"gap": np.geomspace(1, 0.01, 12).reshape(6, 2)}, "gap")
    >>> ax.get_yscale(), ax.get_xlabel()
    ('log', 'step')
    """
    rows = _rows(history, key, over)
    axes = axes_or_new(ax)
    steps = np.arange(rows.shape[1])
    # Row 0 has no accepted step: NaN there marks no divergence.
    defined = ~np.all(np.isnan(rows), axis=0)
    line = median_band(axes, steps[defined], rows[:, defined], label=label, color=color, quantiles=quantiles)
    drawn = np.asarray(line.get_ydata(), dtype=float)
    with style():
        finish_axes(axes, key, drawn, log=log)
    return axes


def plot_training(result: "TrainingResult | Mapping[str, ArrayLike]") -> "Figure":
    """Overview of one training run: cost (or loss), gap, gradient norm, spectral radius and accepted step.

    Thin lines are tasks. For cost and loss, which training minimises, the thick line is the mean over tasks, next to
    the line of the worst task. For other entries it is the median. Panels without an entry in the history, as for
    losses other than LQR, are omitted. Histories of batched runs are for :func:`plot_history`.

    >>> figure = plot_training({"loss": np.ones((3, 2)), "gradient_norm": np.ones(3), "accepted_step": np.ones(3)})
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['loss', 'norm of the meta-gradient', 'accepted fraction of the step']
    """
    entries = _entries(result)
    keys = ["cost" if "cost" in entries else "loss", "gap", "gradient_norm", "spectral_radius", "accepted_step"]
    keys = [key for key in keys if key in entries]
    if not keys:
        raise ValueError(f"the history has none of the entries that are plotted, only {sorted(entries)}.")
    columns = {4: 2}.get(len(keys), min(len(keys), 3))
    figure, axes = new_figure(num_rows=-(-len(keys) // columns), num_columns=columns)
    with style():
        for ax, key in zip(axes.flat, keys, strict=False):
            _plot_tasks(ax, _rows(entries, key, "tasks"), key)
    for ax in axes.flat[len(keys) :]:
        ax.remove()
    return figure


def _plot_tasks(ax: "Axes", rows: np.ndarray, key: str) -> None:
    finite = np.where(np.isfinite(rows), rows, np.nan)
    steps = np.arange(rows.shape[1])
    if len(rows) == 1:
        marker = {"marker": ".", "markersize": 3, "linestyle": "none"} if key == "accepted_step" else {}
        ax.plot(steps, finite[0], color=COLORS[0], **marker)
    else:
        # Beyond a few dozen tasks the lines are a grey area, which a sample of them shows as well.
        shown = finite[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 50)).astype(int))]
        ax.plot(steps, shown.T, color="#999999", linewidth=0.5)
        # A task that diverged counts as worse than every other one, so that no summary flatters.
        counted = np.where(np.isfinite(rows), rows, np.inf)
        of_all = {f"median of {len(rows)} tasks": np.median(counted, axis=0)}
        if key in ("cost", "loss"):
            of_all = {f"mean of {len(rows)} tasks": np.mean(counted, axis=0), "worst task": np.max(counted, axis=0)}
        for (label, curve), color in zip(of_all.items(), (COLORS[0], COLORS[1]), strict=False):
            ax.plot(steps, np.where(np.isfinite(curve), curve, np.nan), color=color, label=label)
    if key == "spectral_radius":
        ax.axhline(1.0, color=COLORS[1], linestyle="--", linewidth=1.0, label="stability limit")
    if key == "accepted_step":
        ax.set_ylim(-0.05, 1.05)
    finish_axes(ax, key, finite, log=None if key in ("cost", "gap", "loss", "gradient_norm") else False)
    ax.set_title(ax.get_ylabel(), loc="left")
    ax.set_ylabel("")


def finish_axes(ax: "Axes", key: str, values: ArrayLike, *, log: bool | None = None) -> None:
    """Label the axes of a plot of the history entry ``key``, with a legend if anything has a label.

    The ordinate is logarithmic if ``log``, or, unless given, if the finite ``values`` drawn on it are positive.
    """
    from matplotlib.ticker import MaxNLocator

    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if log is None:
        # A gap at rounding level may be zero or below for a step or two: those are left out, not the scale.
        log = bool(finite.size and np.quantile(finite, 0.05) > 0)
    if log:
        _logarithmic(ax, finite[finite > 0])
    locator = ax.xaxis.get_major_locator()
    if isinstance(locator, MaxNLocator):  # not where a user made the axis logarithmic
        locator.set_params(integer=True)
    ax.set_xlabel("step")
    ax.set_ylabel(_LABELS.get(key, key.replace("_", " ")))
    ax.margins(x=0.02)
    if ax.get_legend_handles_labels()[0]:
        # The search for the best place takes seconds, and warns, when there are many points to avoid.
        ax.legend(loc="best" if finite.size <= 20_000 else "upper right")


def _logarithmic(ax: "Axes", values: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_yscale("log", nonpositive="mask")
    ax.yaxis.set_minor_formatter(NullFormatter())
    if values.size and np.ptp(np.log10(values)) < 2:
        # Powers of ten alone would be one label, or none.
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _entries(history: Any) -> Mapping[str, ArrayLike]:
    return history if isinstance(history, Mapping) else history.history


def _rows(history: Any, key: str, over: str) -> np.ndarray:
    """The entry ``key`` as [tasks or runs, steps]."""
    if over not in ("tasks", "runs"):
        raise ValueError(f'over must be "tasks" or "runs", got {over!r}.')
    entries = _entries(history)
    if key not in entries:
        raise ValueError(f"the history has no entry {key!r}; it has {', '.join(sorted(entries))}.")
    values = np.asarray(entries[key], dtype=float)
    if over == "runs":
        # [runs, steps] or [runs, steps, tasks].
        if values.ndim not in (2, 3):
            raise ValueError(f'over="runs" needs the history of batched runs, but {key!r} has shape {values.shape}.')
        return values.mean(axis=2) if values.ndim == 3 else values
    if values.ndim not in (1, 2):
        raise ValueError(f'{key!r} has shape {values.shape}, a history of batched runs; pass over="runs".')
    return values.T if values.ndim == 2 else values[None]
