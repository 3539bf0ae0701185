"""Plots of linear systems: the data that are drawn."""

import matplotlib.axes
import numpy as np
import pytest

from jaxlqr import plots, systems

PLANT = systems.ss([[0.0, 1.0], [-4.0, -0.4]], [[0.0], [4.0]], [[1.0, 0.0]])
SAMPLED = systems.sample(PLANT, 0.2)
WIDE = systems.ss(PLANT.A, np.eye(2), np.eye(2), inputs=["force", "heat"])
OMEGA = np.geomspace(0.1, 10, 7)


def test_bode_draws_gain_and_phase():
    gain, phase = plots.plot_bode([PLANT, SAMPLED], omega=OMEGA, labels=["plant", "sampled"])
    value = np.asarray(systems.frequency_response(PLANT, OMEGA))[:, 0, 0]
    np.testing.assert_allclose(gain.lines[0].get_ydata(), 20 * np.log10(np.abs(value)))
    np.testing.assert_allclose(phase.lines[0].get_ydata(), np.degrees(np.unwrap(np.angle(value))))
    assert [text.get_text() for text in gain.get_legend().get_texts()] == ["plant", "sampled"]
    assert gain.lines[-1].get_xdata()[0] == pytest.approx(np.pi / 0.2)  # the Nyquist frequency
    axes = plots.new_figure(num_rows=2, num_columns=1)[1]
    drawn = plots.plot_bode(WIDE, axes=axes)
    assert list(drawn) == list(axes.flat)
    assert [line.get_label() for line in drawn[0].lines][:2] == ["force to output 1", "heat to output 1"]
    assert plots.plot_bode(SAMPLED)[0].lines[0].get_xdata()[-1] == pytest.approx(np.pi / 0.2)


def test_nyquist_draws_both_signs_of_the_frequency():
    ax = plots.plot_nyquist(PLANT, omega=OMEGA)
    value = np.asarray(systems.frequency_response(PLANT, OMEGA))[:, 0, 0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), value.imag)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), -value.imag)
    integrating = plots.plot_nyquist(systems.ss([[0.0]], [[1.0]]))
    assert integrating.get_xlim()[1] < 5
    with pytest.raises(ValueError, match="loop must have one input and one output, got 2 and 2"):
        plots.plot_nyquist(WIDE)


def test_singular_values_and_steps():
    ax = plots.plot_singular_values(WIDE, omega=OMEGA)
    values = np.linalg.svd(np.asarray(systems.frequency_response(WIDE, OMEGA)), compute_uv=False)
    for k, line in enumerate(ax.lines):
        np.testing.assert_allclose(line.get_ydata(), 20 * np.log10(values[:, k]))
    ax = plots.plot_step([PLANT, SAMPLED], num_steps=30, dt=0.1)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), systems.step_response(PLANT, 30, dt=0.1).outputs[:, 0, 0])
    assert ax.lines[1].get_drawstyle() == "steps-post"
    assert abs(plots.plot_step(PLANT).lines[0].get_ydata()[-1] - 1) < 0.02  # it has settled
    assert isinstance(plots.plot_step(systems.ss([[0.0]], [[1.0]])), matplotlib.axes.Axes)


def test_hankel_values_and_the_bound():
    ax = plots.plot_hankel([1.0, 0.5, 0.01], order=2)
    assert [bar.get_height() for bar in ax.patches] == [1.0, 0.5, 0.01]
    assert ax.get_legend().get_texts()[0].get_text() == "left out: error at most 0.02"
    assert plots.plot_hankel([1.0]).get_legend() is None
    for arguments, message in (
        ({"values": [[1.0]]}, "values must be Hankel"),
        ({"values": [1.0], "order": 2}, "order must be between 1 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.plot_hankel(**arguments)
    with pytest.raises(ValueError, match="labels must have one entry for each of 1 systems, got 2"):
        plots.plot_step(PLANT, labels=["a", "b"])
