"""Pole maps, landscapes, heat maps, weights, sample complexity, trajectories, animations: the data that are drawn."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

import jaxlqr
from jaxlqr import plots

TASK = jaxlqr.make_task([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]])
TASKS = jaxlqr.families.perturb(jax.random.key(0), TASK, num_tasks=3, level=0.05)
GAINS = np.array([[[1.0, 1.0]], [[1.5, 2.0]], [[2.0, 2.5]]])


def points(lines):
    return np.sort_complex(
        np.concatenate([np.asarray(line.get_xdata()) + 1j * np.asarray(line.get_ydata()) for line in lines])
    )


def test_poles_are_the_eigenvalues_of_each_task_at_each_gain():
    found = plots.closed_loop_poles(GAINS, TASKS)
    assert found.shape == (3, 3, 2)
    task = jax.tree.map(lambda leaf: np.asarray(leaf[2]), TASKS)
    np.testing.assert_allclose(np.abs(found[1, 2]).max(), np.abs(np.linalg.eigvals(task.A - task.B @ GAINS[1])).max())
    # Gains of each task's own: those of task 2 only move its poles.
    own = np.repeat(GAINS[:1, None], 3, axis=1)
    own[0, 2] = GAINS[2]
    np.testing.assert_allclose(plots.closed_loop_poles(own, TASKS, each_task=True)[0, :2], found[0, :2])
    np.testing.assert_allclose(plots.closed_loop_poles(own, TASKS, each_task=True)[0, 2], found[2, 2])


def test_a_pole_map_marks_first_and_last_poles_and_the_unit_circle():
    ax = plots.new_figure()[1][0, 0]
    assert plots.plot_poles(GAINS, TASKS, ax=ax, labels=["a", "b", "c"]) is ax
    found = plots.closed_loop_poles(GAINS, TASKS)
    for marker, step in (("o", 0), (".", 1), ("x", 2)):
        drawn = [line for line in ax.lines if line.get_marker() == marker]
        np.testing.assert_allclose(points(drawn), np.sort_complex(found[step].ravel()))
    circle = next(line for line in ax.lines if line.get_label() == "unit circle")
    np.testing.assert_allclose(np.hypot(circle.get_xdata(), circle.get_ydata()), 1)
    assert [text.get_text() for text in ax.get_legend().get_texts()][-3:] == ["a", "b", "c"]
    # The poles may lie anywhere within the axes, the legend of the tasks stands beside them.
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1
    alone = plots.plot_poles(GAINS[:1], TASKS)
    assert not [line for line in alone.lines if line.get_marker() == "o" and len(line.get_xdata())]


@pytest.mark.parametrize("gains", [GAINS[0], GAINS[:, :, :1], GAINS[:, None]])
def test_pole_maps_refuse_other_shapes(gains):
    with pytest.raises(ValueError, match=r"gains must have shape \[steps, 1, 2\]"):
        plots.plot_poles(gains, TASKS)
    with pytest.raises(ValueError, match="one entry for each of 3 tasks, got 1"):
        plots.plot_poles(GAINS, TASKS, labels=["a"])


def test_a_landscape_leaves_infeasible_points_white_and_draws_the_boundary():
    x, y = np.linspace(-1, 1, 21), np.linspace(-2, 2, 31)
    values = 1 + x**2 + y[:, None] ** 2
    values[:, :5] = np.inf
    path = np.array([[0.9, 1.0], [0.1, 0.2]])
    ax = plots.plot_landscape(x, y, values, radius=0.5 + np.hypot(x, y[:, None]), paths={"descent": path})
    filled, boundary = ax.collections
    assert ax.get_xlim() == (-1, 1)
    assert filled.levels[0] == pytest.approx(values.min())
    assert min(path.vertices[:, 0].min() for path in filled.get_paths() if len(path.vertices)) >= x[5] - 1e-12
    corners = np.concatenate([path.vertices for path in boundary.get_paths()])
    np.testing.assert_allclose(np.hypot(*corners.T), 0.5, atol=0.02)  # between points of the grid, linearly
    np.testing.assert_array_equal(ax.lines[-1].get_xydata(), path)
    assert ax.lines[-1].get_label() == "descent"
    with pytest.raises(ValueError, match=r"values must have shape \(31, 21\)"):
        plots.plot_landscape(x, y, values.T)
    with pytest.raises(ValueError, match="must hold a finite entry"):
        plots.plot_landscape(x, y, np.full((31, 21), np.inf))


def test_levels_of_an_objective_below_zero_increase():
    assert np.all(np.diff(plots.contour_levels([-3.0, -2.0, 5.0])) > 0)
    assert np.all(np.diff(plots.contour_levels([-3.0, -3.0])) > 0)


def test_a_heat_map_shows_each_number_where_it_belongs():
    values = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    ax = plots.plot_heat_map(
        values, rows=[1e-3, 1e-2, 0.1], columns=["sgd", "adam"], number_format="{:.1f}", row_label="level"
    )
    np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), values)
    said = {text.get_position(): text.get_text() for text in ax.texts}
    assert said[(0, 2)] == "5.0"
    assert said[(1, 1)] == "-"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0.001", "0.01", "0.1"]
    assert ax.get_ylabel() == "level"
    # Dark digits on light cells and the other way round.
    assert ax.texts[0].get_color() == "white"
    assert ax.texts[-1].get_color() == "black"
    with pytest.raises(ValueError, match=r"must have shape \(1, 2\)"):
        plots.plot_heat_map(values, rows=[1], columns=[1, 2])


def test_weights_are_lines_over_steps_in_the_colours_of_an_order():
    rows = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    ax = plots.plot_weights(rows, steps=[0, 10], order=[3.0, 1.0, 2.0], order_label="cheap tasks")
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:3]], rows.T)
    assert ax.lines[0].get_xdata().tolist() == [0, 10]
    assert ax.lines[3].get_ydata()[0] == pytest.approx(1 / 3)
    brightness = [sum(line.get_color()[:3]) for line in ax.lines[:3]]
    assert np.argsort(brightness).tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="steps, tasks"):
        plots.plot_weights(rows[0])
    with pytest.raises(ValueError, match="one number for each of 3 tasks"):
        plots.plot_weights(rows, order=[1.0])


def test_sample_complexity_draws_median_band_and_rate():
    counts, errors = np.array([10, 100, 1000]), np.random.default_rng(0).uniform(0.5, 1, (20, 3)) / [1, 3, 10]
    ax = plots.new_figure()[1][0, 0]
    plots.plot_sample_complexity(counts, errors, ax=ax, label="a", rate=-0.5)
    assert plots.plot_sample_complexity(counts, 2 * errors, ax=ax, label="b", marker="s") is ax
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(errors, axis=0))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), np.median(errors[:, 0]) * np.sqrt([1, 0.1, 0.01]))
    top = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(np.quantile(errors, 0.95, axis=0).max())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [line.get_marker() for line in ax.lines] == [".", "None", "s"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "rate -0.5", "b"]


def test_trajectories_are_those_of_the_closed_loop():
    K = np.array([[2.0, 2.5]])
    ax = plots.plot_trajectories({"before": 0 * K, "after": K}, TASK, [1.0, 0.5], horizon=7)
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_xdata())]
    closed = np.asarray(TASK.A) - np.asarray(TASK.B) @ K
    expected = np.array([np.linalg.matrix_power(closed, t) @ [1.0, 0.5] for t in range(7)])
    np.testing.assert_allclose(drawn[2:], expected.T, rtol=1e-6)
    np.testing.assert_allclose(drawn[0], 1 + 0.05 * np.arange(7), rtol=1e-6)  # no feedback: the cart rolls on
    inputs = plots.plot_trajectories({"after": K}, TASK, [1.0, 0.5], horizon=7, signal="inputs")
    (line,) = [line for line in inputs.lines if len(line.get_xdata())]
    np.testing.assert_allclose(line.get_ydata(), (-expected @ K.T)[:, 0], rtol=1e-6)
    for wrong, message in (
        ({"x0": [1.0]}, r"x0 must have shape \(2,\)"),
        ({"signal": "outputs"}, '"states" or "inputs"'),
        ({"gains": {}}, "one to 4 gains"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.plot_trajectories(**{"gains": {"K": K}, "task": TASK, "x0": [1.0, 0.5], **wrong})


def test_an_animation_has_its_frames():
    def figures():
        for level in (0.2, 0.5, 0.8):
            figure, axes = plots.new_figure(panel_size=(1.5, 1.0))
            axes[0, 0].axhline(level)
            axes[0, 0].set_ylim(0, 1)
            yield figure

    with Image.open(io.BytesIO(plots.animation(figures(), dpi=40, back=True, milliseconds=70))) as picture:
        assert (picture.n_frames, picture.info["duration"], picture.size) == (4, 70, (60, 40))
    with pytest.raises(ValueError, match="at least one figure"):
        plots.animation([])
