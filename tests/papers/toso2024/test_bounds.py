"""``jaxlqr bounds``: what it writes, and that a printed bound may be violated where its corrected form holds."""

import json

import jax
import jax.numpy as jnp
import pytest

from jaxlqr.cli import main
from jaxlqr.families import load_tasks
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.papers.toso2024.theory.report import FORMS
from tests.commands.test_landscape import FAMILY

GAIN = 0.7


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "family.toml").write_text(f"{FAMILY}\n[initial]\nK0 = [[{GAIN}]]\n")
    return ["bounds", "--tasks", str(tmp_path / "family.toml"), "--out", str(tmp_path / "out")]


def test_bounds_are_written_for_the_tasks_of_a_file(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    content = json.loads((tmp_path / "out" / "bounds.json").read_text())
    assert content["command"] == "bounds"
    rows = {row["name"]: row for row in content["rows"]}
    tasks = load_tasks(tmp_path / "family.toml").tasks
    # The closed form of one state and one input shares no code with the bounds.
    slope, curvature = jax.grad(scalar_cost), jax.hessian(scalar_cost)
    for name, derivative in (("h_G", slope), ("h_H", curvature)):
        values = jax.vmap(derivative, (None, 0))(jnp.array([[GAIN]]), tasks)
        assert rows[name]["measured"] == pytest.approx(float(jnp.abs(values).max()), rel=1e-9)
    violated = {form: {name for name, row in rows.items() if row["violated"][form]} for form in FORMS}
    assert violated == {"printed": {"h_G"}, "corrected": set()}  # Lemma 5 lacks a factor of two
    printed = capsys.readouterr().out
    assert f"{rows['h_G']['ratio']['printed']:.3g}!" in printed
    assert "iterations (Theorem 3)" in printed


@pytest.mark.parametrize(("option", "value"), [("--epsilon", "-1"), ("--delta", "2")])
def test_bad_numbers_are_refused_before_anything_is_written(arguments, tmp_path, capsys, option, value):
    assert main([*arguments, option, value]) == 2
    assert option.strip("-") in capsys.readouterr().err
    assert not (tmp_path / "out" / "bounds.json").exists()
