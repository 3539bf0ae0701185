"""``jaxlqr bounds``: what it writes, and that a printed bound may be violated where its corrected form holds."""

import json

import pytest

from jaxlqr.cli import main

FAMILY = """
[nominal]
A = [[0.9]]
B = [[1.0]]

[perturbation]
num_tasks = 2
level = 0.01
seed = 0
"""


def test_bounds_are_written_for_the_tasks_of_a_file(tmp_path, capsys):
    (tmp_path / "family.toml").write_text(FAMILY)
    assert main(["bounds", "--tasks", str(tmp_path / "family.toml"), "--out", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "bounds.json").read_text())
    assert content["command"] == "bounds"
    assert "iterations (Theorem 3)" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "value"), [("--epsilon", "-1"), ("--delta", "2")])
def test_bad_numbers_are_refused_before_anything_is_written(tmp_path, capsys, option, value):
    (tmp_path / "family.toml").write_text(FAMILY)
    arguments = ["bounds", "--tasks", str(tmp_path / "family.toml"), "--out", str(tmp_path / "out"), option, value]
    assert main(arguments) == 2
    assert option.strip("-") in capsys.readouterr().err
    assert not (tmp_path / "out" / "bounds.json").exists()
