"""Linear systems in frequency and time: Bode, Nyquist, singular values, step responses, Hankel singular values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxlqr import systems
from jaxlqr.plots.style import COLORS, axes_or_new, new_figure, style
from jaxlqr.systems import StateSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS, _SAMPLES = 1000, 200
_REACH = 4.0  # the largest gain within the axes of a Nyquist diagram


def plot_bode(
    system: StateSpace | Sequence[StateSpace],
    *,
    omega: ArrayLike | None = None,
    axes: "np.ndarray | None" = None,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Bode diagram: the gain in decibels above the phase in degrees, over radians per unit of time.

    Arguments:
        system: a :class:`jaxlqr.systems.StateSpace`, or several. Each pair of an input and an output is a curve.
        omega: frequencies [k], positive; some decades around the poles and zeros unless given.
        axes: two axes to draw on, for gain and phase; by default those of a new figure.
        labels: one for each system, for the legend.

    Returns:
        The two axes. A dotted vertical line marks the Nyquist frequency of a system in discrete time.

    >>> low_pass = systems.ss([[-1.0]], [[1.0]])
    >>> [ax.get_ylabel() for ax in plot_bode(low_pass, omega=[0.1, 1.0, 10.0])]
    ['gain (dB)', 'phase (degrees)']
    """
    drawn = _several(system, labels)
    if axes is None:
        axes = new_figure(num_rows=2, num_columns=1, panel_size=(4.4, 1.9))[1][:, 0]
    pair: Any = np.ravel(np.asarray(axes, dtype=object))
    gain, phase = pair
    with style():
        for number, (each, label) in enumerate(drawn):
            frequencies = _frequencies(each) if omega is None else np.asarray(omega, float)
            response = np.asarray(systems.frequency_response(each, frequencies))
            for i, j, name, look in _channels(each, label, number, len(drawn)):
                values = response[:, i, j]
                with np.errstate(divide="ignore"):
                    gain.semilogx(frequencies, 20 * np.log10(np.abs(values)), label=name, **look)
                phase.semilogx(frequencies, np.degrees(np.unwrap(np.angle(values))), **look)
            _mark_nyquist(each, (gain, phase))
        gain.set_ylabel("gain (dB)")
        phase.set(xlabel="frequency (rad / unit of time)", ylabel="phase (degrees)")
        if gain.get_position().y0 == phase.get_position().y0:  # side by side
            gain.set_xlabel("frequency (rad / unit of time)")
        phase.locator_params(axis="y", nbins=5, steps=[1, 1.5, 3, 4.5, 9, 10])
        _legend(gain)
    return np.array([gain, phase], dtype=object)


def plot_nyquist(
    loop: StateSpace | Sequence[StateSpace],
    *,
    omega: ArrayLike | None = None,
    ax: "Axes | None" = None,
    labels: Sequence[str] | None = None,
) -> "Axes":
    """Nyquist diagram of a loop L with one input and one output, for the closed loop 1 / (1 + L).

    Positive frequencies are solid, negative ones dashed. A cross marks -1, and a dotted circle the gain of one. Values
    beyond a gain of four are outside the axes.

    Arguments:
        loop: a :class:`jaxlqr.systems.StateSpace`, or several.
        omega, labels: as in :func:`plot_bode`.
        ax: axes to draw on; by default those of a new figure.

    Raises:
        ValueError: for several inputs or outputs.

    >>> plot_nyquist(systems.ss([[-1.0]], [[2.0]])).get_xlabel()
    'real part'
    """
    drawn = _several(loop, labels)
    axes, reach = _wide(ax), 1.5
    with style():
        for number, (each, label) in enumerate(drawn):
            if (each.num_outputs, each.num_inputs) != (1, 1):
                raise ValueError(
                    f"loop must have one input and one output, got {each.num_inputs} and {each.num_outputs}; select "
                    "signals by rows of C and columns of B, or use plot_singular_values."
                )
            frequencies = _frequencies(each, decades=2) if omega is None else np.asarray(omega, float)
            values: Any = np.asarray(systems.frequency_response(each, frequencies))[:, 0, 0]
            color = COLORS[number % len(COLORS)]
            axes.plot(values.real, values.imag, color=color, label=label)
            axes.plot(values.real, -values.imag, "--", color=color, linewidth=1.0)
            reach = max(reach, float(np.max(np.abs(values[np.abs(values) <= _REACH]), initial=1.5)))
        angle = np.linspace(0, 2 * np.pi, 200)
        axes.plot(np.cos(angle), np.sin(angle), ":", color="0.5", linewidth=0.8)
        axes.plot([-1], [0], "x", color="black", markersize=6, label="$-1$")
        axes.set_aspect("equal", adjustable="box")
        axes.set(xlim=(-1.1 * reach, 1.1 * reach), ylim=(-1.1 * reach, 1.1 * reach))
        axes.set(xlabel="real part", ylabel="imaginary part")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return axes


def plot_singular_values(
    system: StateSpace | Sequence[StateSpace],
    *,
    omega: ArrayLike | None = None,
    ax: "Axes | None" = None,
    labels: Sequence[str] | None = None,
) -> "Axes":
    """Singular values of the frequency response in decibels: the largest is solid, the others are thin.

    The peak of the largest one is the H-infinity norm. It takes the arguments of :func:`plot_bode`.

    >>> len(plot_singular_values(systems.ss([[-1.0]], [[1.0, 2.0]], [[1.0], [1.0]])).lines)
    2
    """
    drawn, axes = _several(system, labels), _wide(ax)
    with style():
        for number, (each, label) in enumerate(drawn):
            frequencies = _frequencies(each) if omega is None else np.asarray(omega, float)
            response = np.asarray(systems.frequency_response(each, frequencies))
            values = np.linalg.svd(response, compute_uv=False)
            color = COLORS[number % len(COLORS)]
            floor = 1e-12 * np.max(values)  # rounding of a rank that is not full
            for k in range(values.shape[1]):
                decibels = 20 * np.log10(np.where(values[:, k] > floor, values[:, k], np.nan))
                axes.semilogx(
                    frequencies,
                    decibels,
                    color=color,
                    linewidth=1.5 if k == 0 else 0.8,
                    label=label if k == 0 else None,
                )
            _mark_nyquist(each, (axes,))
        axes.set(xlabel="frequency (rad / unit of time)", ylabel="singular values (dB)")
        _legend(axes)
    return axes


def plot_step(
    system: StateSpace | Sequence[StateSpace],
    *,
    num_steps: int | None = None,
    ax: "Axes | None" = None,
    dt: float | None = None,
    labels: Sequence[str] | None = None,
) -> "Axes":
    """Step responses over time; each pair of an input and an output is a curve, in discrete time with steps.

    Arguments:
        system: a :class:`jaxlqr.systems.StateSpace`, or several.
        num_steps: number of samples; until the slowest stable pole has decayed unless given.
        ax: axes to draw on; by default those of a new figure.
        dt: time between two samples of a system in continuous time; chosen by its poles unless given.
        labels: one for each system, for the legend.

    >>> plot_step(systems.ss([[-1.0]], [[1.0]])).get_ylabel()
    'output'
    """
    drawn, axes = _several(system, labels), _wide(ax)
    with style():
        for number, (each, label) in enumerate(drawn):
            horizon = _settling(each)
            if each.is_discrete:
                count = num_steps or int(np.clip(np.ceil(horizon / float(np.asarray(each.dt))), 10, 1000))
                response = systems.step_response(each, count)
            else:
                count = num_steps or _SAMPLES
                response = systems.step_response(each, count, dt=dt or horizon / count)
            times, outputs = np.asarray(response.times), np.asarray(response.outputs)
            for i, j, name, look in _channels(each, label, number, len(drawn)):
                how = {"drawstyle": "steps-post"} if each.is_discrete else {}
                axes.plot(times, outputs[:, i, j], label=name, **how, **look)
        axes.set(xlabel="time", ylabel="output")
        _legend(axes)
    return axes


def plot_hankel(values: ArrayLike, *, ax: "Axes | None" = None, order: int | None = None) -> "Axes":
    """Hankel singular values as bars on a logarithmic scale; those after ``order`` are pale.

    Arguments:
        values: Hankel singular values [n], in decreasing order.
        ax: axes to draw on; by default those of a new figure.
        order: number of states that a reduced model keeps. Twice the sum of the others, which bounds its error in the
            H-infinity norm, stands in the legend.

    Source of the bound: Glover, Int. J. Control 39 (1984).

    >>> plot_hankel([1.0, 0.1, 0.01], order=2).get_legend().get_texts()[0].get_text()
    'left out: error at most 0.02'
    """
    sizes = np.asarray(values, float)
    if sizes.ndim != 1 or not sizes.size:
        raise ValueError(f"values must be Hankel singular values [n], got shape {sizes.shape}; take one system.")
    if order is not None and not 0 < order <= len(sizes):
        raise ValueError(f"order must be between 1 and {len(sizes)}, the number of states, got {order!r}.")
    from matplotlib.ticker import MaxNLocator

    axes, kept = axes_or_new(ax), len(sizes) if order is None else order
    numbers = np.arange(1, len(sizes) + 1)
    with style():
        axes.bar(numbers[:kept], sizes[:kept], color=COLORS[0])
        if kept < len(sizes):
            bound = 2 * np.sum(sizes[kept:])
            axes.bar(
                numbers[kept:], sizes[kept:], color=COLORS[5], alpha=0.6, label=f"left out: error at most {bound:.3g}"
            )
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="state of the balanced model", ylabel="Hankel singular value")
    return axes


def _wide(ax: "Axes | None") -> "Axes":
    """``ax``, or new axes with room for a legend beside them."""
    return new_figure(panel_size=(4.4, 2.6))[1][0, 0] if ax is None else ax


def _several(system: Any, labels: Sequence[str] | None) -> list[tuple[StateSpace, str | None]]:
    each = [system] if isinstance(system, StateSpace) else list(system)
    if labels is not None and len(labels) != len(each):
        raise ValueError(f"labels must have one entry for each of {len(each)} systems, got {len(labels)}.")
    return list(zip(each, labels or [None] * len(each), strict=True))


def _channels(
    system: StateSpace, label: str | None, number: int, count: int
) -> list[tuple[int, int, str | None, dict]]:
    """Each output and input with its label and look: a colour a system, or, for one system, a colour a pair."""
    outputs = system.outputs or [f"output {i + 1}" for i in range(system.num_outputs)]
    inputs = system.inputs or [f"input {j + 1}" for j in range(system.num_inputs)]
    pairs = [(i, j) for i in range(system.num_outputs) for j in range(system.num_inputs)]
    drawn = []
    for k, (i, j) in enumerate(pairs):
        pair = f"{inputs[j]} to {outputs[i]}" if len(pairs) > 1 else None
        name = ", ".join(text for text in (label, pair) if text) or None
        color = COLORS[(number if count > 1 else k) % len(COLORS)]
        look = {"color": color, "linestyle": ("-", "--", ":", "-.")[k % 4 if count > 1 else k // len(COLORS) % 4]}
        drawn.append((i, j, name, look))
    return drawn


def _legend(axes: "Axes") -> None:
    """Beside the axes, since curves may lie anywhere within."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def _mark_nyquist(system: StateSpace, axes: Sequence["Axes"]) -> None:
    for ax in axes if system.dt is not None else ():
        ax.axvline(np.pi / float(np.asarray(system.dt)), color="0.5", linestyle=":", linewidth=0.8)


def _rates(system: StateSpace) -> np.ndarray:
    """Poles in continuous time; for a discrete system their logarithm."""
    poles = np.linalg.eigvals(np.asarray(system.A, float)).astype(complex)
    if system.dt is None:
        return poles
    return np.log(poles[np.abs(poles) > 1e-12]) / float(np.asarray(system.dt))


def _frequencies(system: StateSpace, decades: float = 1.5) -> np.ndarray:
    sizes = np.abs(_rates(system))
    largest = np.max(sizes, initial=0.0)
    sizes = sizes[sizes > 1e-8 * largest] if largest > 0 else np.ones(1)
    low, high = np.min(sizes) / 10**decades, np.max(sizes) * 10**decades
    if system.dt is not None:
        high = np.pi / float(np.asarray(system.dt))
        low = min(low, high / 100)
    return np.geomspace(low, high, _POINTS)


def _settling(system: StateSpace) -> float:
    """A time after which the slowest stable mode is within a hundredth; ten of the slowest time scale without one."""
    rates: Any = _rates(system)
    decaying = -rates.real[rates.real < -1e-8 * np.max(np.abs(rates), initial=0.0)]
    if decaying.size:
        return float(5 / np.min(decaying))
    sizes = np.abs(rates)[np.abs(rates) > 0]
    return (
        float(10 / np.min(sizes)) if sizes.size else 10.0 * (1.0 if system.dt is None else float(np.asarray(system.dt)))
    )
