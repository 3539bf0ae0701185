"""The figures of the theory part: gap against heterogeneity, and errors of the estimates."""

from typing import TYPE_CHECKING

import numpy as np

from jaxlqr.papers.toso2024.theory_heterogeneity import LEVELS, Heterogeneity
from jaxlqr.papers.toso2024.theory_samples import (
    DELTA,
    ESTIMATES,
    FORMS,
    ORACLES,
    RADII,
    RADIUS_SAMPLES,
    TOLERANCE,
    Samples,
)
from jaxlqr.plots import COLORS, band, new_figure, plot_sample_complexity, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = {
    "bound_6": ("bound (6), in the limit", COLORS[1], "s", "--"),
    "bound_7": ("bound (7)", COLORS[2], "^", "--"),
    "optimum": ("MAML optimum, by Newton", COLORS[0], "o", "-"),
    "trained": ("end of gradient descent", COLORS[6], "x", "none"),
}


def draw_heterogeneity(gaps: dict[str, Heterogeneity]) -> "Figure":
    """A panel for each nominal system: median over seeds, and their range as a band."""
    figure, axes = new_figure(num_rows=1, num_columns=len(gaps), panel_size=(4.4, 3.6))
    with style():
        for ax, (name, found) in zip(axes[0], gaps.items(), strict=True):
            for field, (label, color, marker, line) in _MARKS.items():
                values = getattr(found, field)
                if values is None:
                    continue
                middle = np.median(values, axis=1)
                if field == "trained":
                    ax.plot(LEVELS, middle, "x", color=color, label=label, markersize=7, zorder=3)
                    continue
                band(
                    ax, LEVELS, middle, values.min(axis=1), values.max(axis=1), label=label, color=color, marker=marker,
                    linestyle=line, markersize=4,
                )  # fmt: skip
            slope = found.summary()["optimum"]["slope"]
            ax.set_title(f"{name}: slope {slope['mean']:.3f}")
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel("heterogeneity level")
            ax.legend(loc="best")
        axes[0, 0].set_ylabel("largest gap over tasks, J_i(K) - J_i(K_i*)")
    return figure


def draw_samples(samples: Samples) -> "Figure":
    """Errors against the number of samples above, against the radius below; the gradient left, the Hessian right."""
    figure, axes = new_figure(num_rows=2, num_columns=2, panel_size=(4.4, 3.0))
    with style():
        for i, name in enumerate(ESTIMATES):
            _draw_counts(axes[0, i], samples, i)
            axes[0, i].set_title({"gradient": "gradient", "hessian": "Hessian"}[name])
            _draw_radii(axes[1, i], samples, i)
        for row in axes:
            row[0].set_ylabel("relative error")
    return figure


def _draw_counts(ax: "Axes", samples: Samples, i: int) -> None:
    errors = samples.by_count[i]
    label = "measured, median, 5 to 95 %"
    plot_sample_complexity(samples.counts, errors, ax=ax, label=label, color=COLORS[0], quantiles=(0.05, 1 - DELTA))
    for form, color in zip(FORMS, (COLORS[1], COLORS[2]), strict=True):
        levels, counts = samples.predicted[form]
        ax.plot(counts[i], levels, color=color, linestyle="--", label=f"{'(13)' if i == 0 else '(15)'} {form}")
    ax.axhline(TOLERANCE, color="black", linewidth=0.8, linestyle=":")
    ax.set_ylabel("")
    ax.set_xlabel("samples m, at the radius of the theory")
    ax.legend(loc="best")


def _draw_radii(ax: "Axes", samples: Samples, i: int) -> None:
    for o, (oracle, color) in enumerate(zip(ORACLES, (COLORS[0], COLORS[3]), strict=True)):
        errors = samples.by_radius[o, i]  # [radii, repeats]
        plot_sample_complexity(RADII, errors.T, ax=ax, label=f"{oracle}, {RADIUS_SAMPLES} samples", color=color)
    ax.axvline(samples.radius[i], color="black", linewidth=0.8, linestyle=":", label="radius of the theory")
    ax.set_ylabel("")
    ax.set_xlabel("smoothing radius r")
    ax.legend(loc="best")
