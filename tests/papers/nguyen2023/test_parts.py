"""The reproduction runs the parts that were asked for, and the ablation of TOW finds what it shows."""

import json

import jax
import numpy as np
import pytest

from jaxlqr.papers.driver import Outcome, Paper, Part
from jaxlqr.papers.nguyen2023 import ablation, ablation_figure, reproduction


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        ({}, {"short", "long"}),
        ({"quick": True}, {"short"}),
        ({"quick": True, "part": "long"}, {"long"}),
        ({"part": "short"}, {"short"}),
    ],
)
def test_quick_runs_leave_out_long_parts_unless_named(tmp_path, options, ran):
    def found(request):
        return lambda: Outcome(summary={"quick": request.quick}, figures={}, arrays={}, tables=[])

    short, long = (reproduction.named(name, found) for name in ("short", "long"))
    paper = Paper("nguyen2023", {"short": Part(short), "long": Part(long, in_quick=False)})
    paper.reproduce(tmp_path / "out", progress=False, **options)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {name for name in ("short", "long") if name in summary} == ran
    assert all(summary[name]["quick"] == options.get("quick", False) for name in ran)


def test_unknown_part_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown part 'all' of nguyen2023; known are trajectories, lqr"):
        reproduction.PAPER.reproduce(tmp_path / "out", part="all")


@pytest.mark.slow
def test_every_way_to_find_weights_lowers_the_objective_and_is_drawn():
    found = ablation.ablate(jax.random.key(0), quick=True, num_seeds=2, progress=False)
    assert set(found.gaps) == set(ablation.QUICK_VARIANTS)
    for name, decreases in found.decreases.items():
        assert np.all(decreases >= 0)
        assert np.mean(decreases > 0) > 0.8
        assert np.all(found.gaps[name][:, -1] < found.uniform[:, -1])  # per step, at the same step size
        assert found.seconds[name] > 5 * found.uniform_seconds
    # Trained for as many steps as a step of TOW is worth, uniform weights come nearer.
    assert np.all(found.longer[:, -1] < min(np.median(gaps[:, -1]) for gaps in found.gaps.values()))
    assert np.all(np.abs(found.newton[:, -2]) < 1e-8 * found.newton[:, 0])
    figure = ablation_figure.draw(found)
    assert len(figure.axes) == 5
    assert "decrease_of_objective" in ablation.told(found)
