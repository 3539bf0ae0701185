"""The phase diagram of molybog2021: fractions of random families that are epsilon-global, with their intervals."""

import json
from functools import cache

import jax
import numpy as np
import pytest
import scipy.stats

from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.meta.landscape import excess, stationary_points
from jaxlqr.papers.molybog2021 import reproduction
from jaxlqr.papers.molybog2021.phase import (
    INNER_STEPS,
    LEVELS,
    TOLERANCES,
    family,
    phase_diagram,
    relative_excess,
    stabilising_interval,
    wilson,
)

COUNT = 6


@cache
def found():
    return phase_diagram(COUNT, seed=3, progress=False)


def keys():
    return jax.random.split(jax.random.key(3), COUNT)


@pytest.mark.parametrize(("level", "step"), [(0.01, 0.04), (0.02, 0.005), (0.3, 0.02), (0.08, 0.16)])
def test_excess_of_a_family_is_that_of_its_stationary_points(level, step):
    """Two ways: minima of a grid, and all roots of the derivative, by autodiff and Newton's method.

    To a tenth of the least epsilon of the diagram; at the shortest step the outer minima are narrow for the grid.
    """
    for key in keys()[:3]:
        tasks = family(key, level)
        low, high = (float(end) for end in stabilising_interval(tasks))
        grid = np.linspace(low, high, 3002)[1:-1].reshape(-1, 1, 1)
        points = stationary_points(scalar_cost, grid, tasks, step)
        assert float(relative_excess(tasks, step)) == pytest.approx(excess(points) / points.least, abs=1e-4)


def test_families_share_their_numbers_across_levels():
    near, far = (family(jax.random.key(1), level) for level in (0.01, 0.1))
    np.testing.assert_allclose((np.asarray(far.A) - 1) / 0.1, (np.asarray(near.A) - 1) / 0.01, rtol=1e-9)


def test_fractions_are_those_of_the_families():
    assert found()["fraction"].shape == (len(TOLERANCES), len(LEVELS), len(INNER_STEPS))
    level, step = 4, 3
    direct = np.array([float(relative_excess(family(key, LEVELS[level]), INNER_STEPS[step])) for key in keys()])
    for index, tolerance in enumerate(TOLERANCES):
        assert found()["fraction"][index, level, step] == np.mean(direct <= tolerance)
    assert np.all(np.diff(found()["fraction"], axis=0) >= 0)  # a larger epsilon, more families
    assert np.all((found()["low"] <= found()["fraction"]) & (found()["fraction"] <= found()["high"]))


def test_the_diagram_has_both_phases():
    """Nearly equal tasks are epsilon-global; tasks that differ by 60 % with a step between are mostly not."""
    assert np.all(found()["fraction"][2, 0, :4] == 1)
    assert np.min(found()["fraction"][0]) < 0.5


def test_the_same_seed_gives_the_same_diagram_and_another_another():
    again, other = phase_diagram(COUNT, seed=3, progress=False), phase_diagram(COUNT, seed=4, progress=False)
    np.testing.assert_array_equal(again["fraction"], found()["fraction"])
    assert np.any(other["fraction"] != found()["fraction"])


def test_a_family_that_no_gain_stabilises_has_no_minimum():
    apart = jax.tree.map(lambda leaf: leaf[:2], family(jax.random.key(0), 0.0))
    apart = type(apart)(
        apart.A * np.array([0.0, 4.0]).reshape(2, 1, 1), *(getattr(apart, x) for x in "BQR"), apart.Sigma0
    )
    assert np.isnan(float(relative_excess(apart, 0.01)))


@pytest.mark.parametrize("successes", [0, 1, 17, 40])
def test_intervals_are_wilsons(successes):
    expected = scipy.stats.binomtest(successes, 40).proportion_ci(0.95, method="wilson")
    low, high = wilson(np.array(successes), 40)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_the_part_alone_writes_its_figure(tmp_path, capsys):
    summary = reproduction.PAPER.reproduce(tmp_path / "out", num_seeds=COUNT, seed=3, part="phase", progress=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"phase.png", "summary.json"}
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["phase_diagram"]["num_families"] == COUNT
    np.testing.assert_array_equal(summary["phase_diagram"]["fraction"], found()["fraction"])
    assert f"% of {COUNT} families" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "number of seeds must be at least 1"),
        ({"part": "table"}, "unknown part 'table' of molybog2021; known are figures, phase"),
    ],
)
def test_bad_choices_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        reproduction.PAPER.reproduce(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
