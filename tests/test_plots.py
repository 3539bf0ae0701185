"""Figures: what is drawn, and that nothing else happens."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import same_color

from jaxlqr import SolveStatus
from jaxlqr.plots import COLORS, median_band, new_figure, plot_history, plot_training
from jaxlqr.training import TrainingResult
from tests.pictures import coloured_pixels

RNG = np.random.default_rng(0)


def history(steps=9, tasks=4):
    fall = np.geomspace(10, 0.1, steps)
    accepted = np.ones(steps)
    accepted[0] = np.nan
    return {
        "loss": 1 + np.outer(fall, np.linspace(1, 2, tasks)),
        "gap": np.outer(fall, np.linspace(1, 2, tasks)),
        "gradient_norm": fall,
        "spectral_radius": np.outer(np.linspace(0.9, 0.5, steps), np.ones(tasks)),
        "accepted_step": accepted,
    }


def draws(figure):
    """Saved, the figure shows something; a warning on the way is an error."""
    return coloured_pixels(figure) > 20  # the handle of a single line in a legend has more


def test_median_band_draws_median_and_quantiles():
    ax, rows = new_figure()[1][0, 0], RNG.normal(size=(21, 6))
    line = median_band(ax, np.arange(6), rows, label="runs", quantiles=(0.1, 0.9))
    np.testing.assert_allclose(line.get_ydata(), np.median(rows, axis=0))
    assert line.get_label() == "runs"
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose(corners.max(), np.quantile(rows, 0.9, axis=0).max())
    assert same_color(ax.collections[0].get_facecolor()[0][:3], line.get_color())


def test_diverged_rows_are_left_out_and_counted():
    ax, rows = new_figure()[1][0, 0], np.arange(20.0).reshape(5, 4)
    rows[0, 3], rows[1, 2] = np.nan, np.inf
    line = median_band(ax, np.arange(4), rows, label="runs", diverged=[False, False, True, False, False])
    assert line.get_label() == "runs (3 of 5 diverged)"
    np.testing.assert_allclose(line.get_ydata(), rows[3:].mean(axis=0))


def test_all_diverged_is_an_empty_line_with_a_label():
    figure, axes = new_figure()
    line = median_band(axes[0, 0], np.arange(3), np.full((2, 3), np.nan), label="runs")
    assert len(np.asarray(line.get_xdata())) == 0
    assert line.get_label() == "runs (2 of 2 diverged)"
    axes[0, 0].legend()
    assert draws(figure)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.ones(3)}, "rows must have shape"),
        ({"x": np.arange(2)}, "rows must have shape"),
        ({"quantiles": (0.9, 0.1)}, "increasing"),
        ({"diverged": [True]}, "one entry for each of 2 rows"),
    ],
)
def test_median_band_refuses(change, message):
    arguments = {"x": np.arange(3), "rows": np.ones((2, 3)), **change}
    with pytest.raises(ValueError, match=message):
        median_band(new_figure()[1][0, 0], **arguments)


def test_plot_history_over_tasks_and_on_given_axes():
    ax = new_figure()[1][0, 0]
    rows = history()
    assert plot_history(rows, "gap", ax=ax, label="a") is ax
    plot_history(rows, "gap", ax=ax, label="b")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert [line.get_color() for line in ax.lines] == list(COLORS[:2])
    assert ax.get_yscale() == "log"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(rows["gap"], axis=1))


def test_plot_history_over_runs_averages_the_tasks():
    gaps = RNG.uniform(1, 2, size=(7, 5, 3))
    ax = plot_history({"gap": gaps, "gradient_norm": gaps[..., 0]}, "gap", over="runs", log=False)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(gaps.mean(axis=2), axis=0))
    assert ax.get_yscale() == "linear"
    with pytest.raises(ValueError, match="batched runs"):
        plot_history({"gap": gaps}, "gap")
    with pytest.raises(ValueError, match="needs the history of batched runs"):
        plot_history({"gap": np.ones(3)}, "gap", over="runs")
    with pytest.raises(ValueError, match="over must be"):
        plot_history({"gap": gaps}, "gap", over="seeds")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="no entry 'gaps'"):
        plot_history({"gap": gaps}, "gaps")


def test_accepted_step_has_no_row_zero():
    ax = plot_history(history(), "accepted_step", label="run")
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, 9))
    assert ax.lines[0].get_label() == "run"


def test_overview_panels():
    result = TrainingResult(params=jnp.zeros((1, 1)), history=history(), status=jnp.array(SolveStatus.COMPLETED))
    figure = plot_training(result)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert [title.split()[0] for title in titles] == ["loss", "gap", "norm", "spectral", "accepted"]
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "log", "linear", "linear"]
    assert len(figure.axes[0].lines) == 6  # four tasks, their mean and the worst
    np.testing.assert_allclose(figure.axes[0].lines[4].get_ydata(), np.mean(result.history["loss"], axis=1))
    np.testing.assert_allclose(figure.axes[0].lines[5].get_ydata(), np.max(result.history["loss"], axis=1))
    assert len(figure.axes[1].lines) == 5  # four tasks and their median
    limit = [line for line in figure.axes[3].lines if line.get_label() == "stability limit"]
    assert set(np.asarray(limit[0].get_ydata()).tolist()) == {1.0}
    assert draws(figure)


def test_overview_of_one_task_of_another_loss_and_of_a_diverged_run():
    assert draws(plot_training(history(tasks=1)))
    few = {key: value for key, value in history().items() if key in ("loss", "gradient_norm", "accepted_step")}
    assert len(plot_training(few).axes) == 3
    lost = history()
    for key in ("gap", "loss", "gradient_norm"):
        lost[key][5:] = np.inf
    lost["gap"][6:] = np.nan
    assert draws(plot_training(lost))
    lost["gap"][:] = np.nan
    assert draws(plot_training(lost))
    lost["gap"][:] = -1e-15  # rounding, at the optimum
    assert draws(plot_training(lost))
    first = plot_training(history(steps=1, tasks=200)).axes[0]
    assert len(first.lines) == 52  # 50 tasks, the mean and the worst
    assert [line.get_label() for line in first.lines[-2:]] == ["mean of 200 tasks", "worst task"]
    assert draws(plot_training(history(steps=100_001, tasks=10)))  # no warning that it is slow
    with pytest.raises(ValueError, match="none of the entries"):
        plot_training({"other": np.ones(3)})


def test_no_pyplot_no_backend():
    code = (
        "import sys, numpy as np, jaxlqr.plots as p; assert 'matplotlib' not in sys.modules;"
        "p.plot_history({'gap': np.ones(3)}, 'gap').figure; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
