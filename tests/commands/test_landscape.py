"""``jaxlqr landscape``: a curve for a scalar gain, and refusals before any work."""

import json

import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.commands.landscape import study
from tests.pictures import coloured_pixels
from tests.training.setting import START, TASKS

FAMILY = """
[nominal]
A = [[0.9]]
B = [[1.0]]

[perturbation]
num_tasks = 2
level = 0.01
seed = 0
"""


def test_a_path_may_end_where_adaptation_is_infeasible():
    # The safeguard of the training shortens inner steps of 1000, the objective at the end does not.
    paths = study._paths(START, TASKS, 1e3, 2, False)
    assert {name: path.last_value for name, path in paths.items()} == dict.fromkeys(paths, np.inf)


def run(tmp_path, *options):
    (tmp_path / "family.toml").write_text(FAMILY)
    return main(["landscape", "--tasks", str(tmp_path / "family.toml"), "--out", str(tmp_path / "out"), *options])


def test_a_scalar_gain_gives_a_curve_with_its_stationary_points(tmp_path, capsys):
    assert run(tmp_path, "--steps", "20") == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())
    assert coloured_pixels(tmp_path / "out" / "landscape.png") > 1000
    with np.load(tmp_path / "out" / "landscape.npz") as arrays:
        assert all(np.size(array) for array in arrays.values())
    out = capsys.readouterr().out
    # Where an inner step of 0.1 / L leads to the optimum from both sides, the outer minima lie.
    assert out.count("minimum") == 3
    assert out.count("maximum") == 2


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--inner-step", "0", "inner step size must be positive"),
        ("--inner-step", "-1", "inner step size must be positive"),
        ("--starts", "0", "number of starts must be at least 1"),
        ("--steps", "-1", "number of steps must be at least 1"),
        ("--frames", "-2", "number of frames must be at least 0"),
        ("--plane", "nonsense", '"curvature" or "optima"'),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_written(tmp_path, capsys, option, value, said):
    assert run(tmp_path, option, value) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_first_gain_that_stabilises_no_task_is_refused(tmp_path, capsys):
    np.save(tmp_path / "gain.npy", np.array([[5.0]]))
    assert run(tmp_path, "--k0", str(tmp_path / "gain.npy")) == 2
    said = capsys.readouterr().err
    assert "does not stabilise 2 of 2" in said
    assert "task 0: 4." in said
    assert not (tmp_path / "out").exists()


def test_tasks_of_a_scalar_gain_have_no_plane(tmp_path, capsys):
    assert run(tmp_path, "--frames", "3") == 2
    assert "leave out the options plane and frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
