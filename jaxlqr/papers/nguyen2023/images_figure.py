"""Figure of task weights on images: accuracy against time, differences to uniform weights, and the weights."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.nguyen2023.images import MOST_INNER_STEPS
from jaxlqr.papers.nguyen2023.images_study import best_length
from jaxlqr.plots import COLORS, band, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Rules whose curves are drawn, with their colour and dashes; more would hide one another.
_CURVES = {
    "uniform": (COLORS[0], "-"),
    "uniform, twice the updates": (COLORS[0], ":"),
    "exploration": (COLORS[1], "--"),
    "exploitation": (COLORS[2], "-."),
    "tow, beta 10": (COLORS[3], "-"),
    "tow, beta 1": (COLORS[4], "-"),
}
_SMOOTH = 25  # updates


def draw(
    found: dict[str, dict[str, dict[str, np.ndarray]]],
    told: dict[str, dict[str, dict[str, Any]]],
    best: dict[str, str],
) -> "Figure":
    """The figure, from the results of the study, their summary, and the best uniform rule of each setting."""
    figure, axes = new_figure(num_rows=2, num_columns=3, panel_size=(3.9, 3.2))
    kinds = {name.split(",")[0]: name for name in reversed(found)}  # the first setting of each kind
    first = [kinds[kind] for kind in ("maml", "proto") if kind in kinds]
    with style():
        for ax, name in zip(axes[0], first, strict=False):
            _curves(ax, name, found[name], best[name])
        _differences(axes[0, 2], told)
        _weights(axes[1, 0], first[0], found[first[0]])
        _sums(axes[1, 1], first[0], found[first[0]])
        _inner_steps(axes[1, 2], told)
        for ax in axes.flat:
            if not ax.lines:  # a quick run has one kind of learner
                ax.set_axis_off()
                ax.set_title("")
        entries: dict[str, Any] = {}
        for ax in axes[0, :2]:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, handle)
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)
    return figure


def _curves(ax: "Axes", name: str, rules: dict[str, dict[str, np.ndarray]], best: str) -> None:
    drawn = {rule: (rule, *of) for rule, of in _CURVES.items()}
    at_best = {best: ("uniform, best step", "black", "-")}
    if "tow, beta 10" in rules:
        at_best[best_length(rules, "tow, beta 10")] = ("tow, beta 10, best step", "black", "--")
    for rule, (label, color, dashes) in {**at_best, **drawn}.items():
        if rule in rules:
            rows = 100 * rules[rule]["curve"]
            seconds = np.median(rules[rule]["seconds"], axis=0)
            low, high = rows.min(axis=0), rows.max(axis=0)
            band(ax, seconds, rows.mean(axis=0), low, high, label=label, color=color, alpha=0.1, linestyle=dashes)
    ax.set(
        xlabel="seconds of training", ylabel="accuracy on test alphabets, %", title=f"{name}: mean and range of seeds"
    )


def _differences(ax: "Axes", told: dict[str, dict[str, dict[str, Any]]]) -> None:
    rows = [
        (name, rule, one["ahead_of_uniform"])
        for name, of in told.items()
        for rule, one in of.items()
        if rule in _CURVES
    ]
    rows = [row for row in rows if row[1] not in ("uniform", "uniform, twice the updates")]
    places = -np.arange(len(rows))
    for place, (name, rule, ahead) in zip(places, rows, strict=True):
        color, further = _CURVES[rule][0], told[name][rule]["ahead_of_best_uniform"]
        for at, one, face in ((place + 0.15, ahead, color), (place - 0.15, further, "white")):
            ax.plot([one["low"], one["high"]], [at, at], color=color, linewidth=1)
            ax.plot(one["mean"], at, "o", color=color, markerfacecolor=face, markersize=3.5)
    ax.locator_params(axis="x", nbins=6)
    ax.axvline(0, color="black", linewidth=0.8)
    firsts = [i for i, row in enumerate(rows) if i == 0 or rows[i - 1][0] != row[0]]
    ax.set_yticks([places[i] for i in firsts], [rows[i][0] for i in firsts])
    ax.set(xlabel="points ahead of uniform (hollow: best step)", title="paired differences, 95 % over seeds")


def _weights(ax: "Axes", name: str, rules: dict[str, dict[str, np.ndarray]]) -> None:
    for rule, (color, dashes) in _CURVES.items():
        if rule in rules and not rule.startswith("uniform"):
            spread = rules[rule]["weights"].std(axis=2).mean(axis=0)
            ax.plot(*_smooth(spread), color=color, linestyle=dashes)
    ax.set(xlabel="update", ylabel="standard deviation of M u", title=f"{name}: spread of the weights", yscale="log")


def _sums(ax: "Axes", name: str, rules: dict[str, dict[str, np.ndarray]]) -> None:
    for rule, (color, dashes) in _CURVES.items():
        if rule in rules and rule.startswith("tow"):
            ax.plot(*_smooth(rules[rule]["weights"].mean(axis=(0, 2))), color=color, linestyle=dashes)
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xlabel="update", ylabel="sum of the weights", title=f"{name}: sums of the weights")


def _inner_steps(ax: "Axes", told: dict[str, dict[str, dict[str, Any]]]) -> None:
    for name in (name for name in told if name.startswith("maml")):
        for rule, dashes in (("uniform", "-"), ("tow, beta 10", "--")):
            rows = told[name][rule]["accuracy_by_inner_steps"]
            ax.plot(1 + np.arange(len(rows)), rows, "o" + dashes, color=_CURVES[rule][0], markersize=3.5)
        ax.annotate(name, (len(rows), rows[-1]), xytext=(0, 5), textcoords="offset points", ha="right", va="bottom")
    ax.margins(y=0.12)
    ax.set_xticks(1 + np.arange(MOST_INNER_STEPS))
    ax.set(xlabel="inner steps in the test", ylabel="accuracy, %", title="MAML: inner steps in the test")


def _smooth(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Running means and the updates at their ends."""
    width = min(_SMOOTH, len(values))
    means = np.convolve(values, np.full(width, 1 / width), mode="valid")
    return width - 1 + np.arange(len(means)), means
