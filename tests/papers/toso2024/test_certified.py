"""``jaxlqr certified``: certified runs keep their promises, and broken promises would be seen."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.cli import main
from jaxlqr.papers.toso2024 import certified as experiment
from jaxlqr.papers.toso2024 import theory as toso2024
from jaxlqr.papers.toso2024.certified.figure import draw
from jaxlqr.papers.toso2024.certified.runs import Run, model_based, model_free_plan

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(gap, guarantee):
    gap, guarantee = (np.array(rows, float)[:, None] for rows in (gap, guarantee))
    steps = np.ones(len(gap))
    return Run(
        name="", label="", gains=gap[..., None], gap=gap, guarantee=guarantee, bias=np.array([0.05]), promised=9.0,
        inner_step=steps, outer_step=steps,
    )  # fmt: skip


def test_a_broken_promise_is_told():
    kept = run([1.0, 0.5, 0.1], [1.0, 0.9, 0.8]).summary(0.1)
    assert kept["stays"]
    assert kept["holds"]
    assert kept["iterations"] == {"promised": 9.0, "measured": 2.0}
    assert not run([1.0, 0.95, 0.1], [1.0, 0.9, 0.8]).summary(0.1)["holds"]
    left = run([1.0, 1.1, 0.5], [1.0, 2.0, 2.0]).summary(0.1)
    assert left["holds"]
    assert not left["stays"]
    assert np.isinf(left["iterations"]["measured"])


def test_legends_of_the_figure_lie_below_the_axes():
    content = {
        "settings": {"epsilon": 0.1}, "model_free_plan": {"run": True, "queries": 1.0},
        "rows": [{"name": "h_G", "source": "Lemma 5", "ratio": {"printed": 2.0, "corrected": 1.0}}],
    }  # fmt: skip
    drawn = draw([run([1.0, 0.5, 0.1], [1.0, 0.9, 0.8])], content)
    drawn.draw_without_rendering()
    for ax in drawn.axes:
        assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0


def test_a_model_based_run_keeps_its_promises():
    tasks, K0 = jaxlqr.families.scalar(a=[0.5, 0.5001]), jnp.array([[0.1]])
    h, (spread, _) = toso2024.constants(K0, tasks), toso2024.gradient_heterogeneity_bound(K0, tasks)
    # The constants at K0 are those of its sub-level set here: they fall towards the optimum.
    ran = model_based(tasks, K0, h, spread, 0.1, 60, at_iterate=True, progress=False)
    told = ran.summary(0.1)
    assert told["stays"]
    assert told["holds"]
    assert told["iterations"]["measured"] < 60 <= told["iterations"]["promised"]
    plan = model_free_plan(tasks, K0, h, spread, 0.1, 0.05)
    assert plan["samples"] == 1  # a scalar gain: both directions give the same
    assert plan["tolerance"] < 1
    assert plan["probability_each"] < 0.05 / 1000
    assert plan["queries"] == np.ceil(plan["iterations"]) * 2 * 5


@pytest.mark.parametrize(("option", "value"), [("--epsilon", "2"), ("--delta", "0"), ("--max-steps", "0")])
def test_bad_numbers_are_refused_before_anything_is_written(tmp_path, capsys, option, value):
    arguments = ["certified", "--tasks", str(EXAMPLES / "triple.toml"), "--out", str(tmp_path / "out"), option, value]
    assert main(arguments) == 2
    assert option.strip("-").replace("-", "_") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("example", "with_samples"), [("triple", True), ("two_states", False)])
def test_the_examples_are_certified(tmp_path, capsys, example, with_samples):
    out = tmp_path / "out"
    assert main(["certified", "--tasks", str(EXAMPLES / f"{example}.toml"), "--out", str(out)]) == 0
    content = json.loads((out / "certified.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == sorted(experiment.RESULT_FILES)
    assert ("model_free" in content["runs"]) == content["model_free_plan"]["run"] == with_samples
    for ran in content["runs"].values():
        assert ran["stays"]
        assert ran["holds"]
        assert ran["iterations"]["measured"] < 0.2 * ran["iterations"]["promised"]
    assert ("not run" in capsys.readouterr().out) != with_samples
