"""The landscapes of molybog2021: every property that its figures state."""

import json
from functools import cache

import jax
import numpy as np
import pytest

import jaxlqr
from jaxlqr.commands.landscape.curve import study, told
from jaxlqr.meta.landscape import excess, is_epsilon_global
from jaxlqr.papers.molybog2021 import reproduction
from jaxlqr.papers.molybog2021.examples import GRID, INPUT_COSTS, STATE_COSTS, examples, search


@cache
def looked_at(name: str):
    return study(examples()[name], GRID)


def minima(name: str):
    points = looked_at(name).points
    return points.params[points.minima].ravel(), points.values[points.minima]


@pytest.mark.parametrize("name", ["1", "2", "3a", "3b", "3c", "3d"])
def test_all_stationary_points_are_found_to_1e_10_and_alternate(name):
    """Between two minima of a smooth function on an interval lies a maximum, and the outermost are minima."""
    points = looked_at(name).points
    newton = np.abs(points.gradients / points.eigenvalues)
    assert np.all(newton < 1e-10)
    assert len(points.minima) == len(points.maxima) + 1
    assert points.kinds.tolist() == ([0, 1] * len(points.minima))[:-1]


def test_figure_1_has_three_minima_of_equal_value():
    gains, values = minima("1")
    facts = told(looked_at("1"))
    best = looked_at("1").optima[0]
    assert len(gains) == 3
    np.testing.assert_allclose(values, values[0], rtol=1e-12)
    assert gains[1] == pytest.approx(best, abs=1e-10)
    for minimum in facts["minima"]:
        np.testing.assert_allclose(minimum["adapted_gains"], best, atol=1e-9)
    assert [minimum["largest_task_gradient"] > 1 for minimum in facts["minima"]] == [True, False, True]
    assert [minimum["certified"] for minimum in facts["minima"]] == [False, True, False]


def test_the_printed_optimal_gain_has_one_sign_too_many():
    """Erratum L2: -(B'PB + R)^-1 B'PA does not stabilise under a = -W s."""
    task = jax.tree.map(lambda leaf: leaf[0], examples()["1"].tasks)
    P = jaxlqr.solve_discrete_are(task.A, task.B, task.Q, task.R)
    printed = -(task.B.T @ P @ task.A) / (task.B.T @ P @ task.B + task.R)
    assert float(jaxlqr.spectral_radius(printed, task)) == pytest.approx(1.618, abs=1e-3)
    np.testing.assert_allclose(-printed, looked_at("1").optima.reshape(1, 1), rtol=1e-12)


def test_figure_2_has_spurious_minima_though_each_copy_has_none():
    gains, values = minima("2")
    assert len(gains) == 3
    assert np.argmin(values) == 1
    assert gains[1] == pytest.approx(looked_at("2").optima[0], abs=1e-10)
    assert not is_epsilon_global(looked_at("2").points, 1e-3)
    both = examples()["2"]
    for index in range(2):
        one = both._replace(tasks=jax.tree.map(lambda leaf, i=index: leaf[i : i + 1], both.tasks))
        assert is_epsilon_global(study(one, GRID).points, 1e-9)


def test_figure_3a_is_epsilon_global_within_half_a_percent():
    points = looked_at("3a").points
    assert 0 < excess(points) < 0.005 * points.least
    assert len(points.minima) == 3  # epsilon-global, and yet not global


def test_figures_3b_to_3d_improve_with_the_number_of_tasks():
    two, five, eleven = (excess(looked_at(name).points) for name in ("3b", "3c", "3d"))
    assert two > 0.02
    assert two > 2 * five > 0
    assert eleven == 0
    assert len(minima("3d")[0]) == 1


def test_with_two_tasks_the_best_gain_is_one_to_adapt_from_and_with_eleven_the_average_policy():
    _, values = minima("3b")
    facts = told(looked_at("3b"))
    best = facts["minima"][int(np.argmin(values))]
    assert np.min(np.abs(looked_at("3b").optima - best["gain"])) > 0.15
    assert best["largest_task_gradient"] > 1
    (gain,), _ = minima("3d")
    assert abs(gain - looked_at("3d").optima.mean()) < 0.05


@pytest.mark.slow
def test_the_published_costs_are_what_the_search_finds():
    found = search(jax.random.key(0))
    assert 1 <= len(found) < 20  # rare: about one draw in a thousand shows all that the paper tells
    hits = [np.allclose(hit.q, STATE_COSTS) and np.allclose(hit.r, INPUT_COSTS) for hit in found]
    assert sum(hits) == 1


def test_reproduce_writes_what_it_promises(tmp_path, capsys):
    summary = reproduction.PAPER.reproduce(tmp_path / "out", quick=True, part="figures")
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["figures"]["2"]["parameters"]["q"] == [1.0, 0.7]
    assert set(written["figures"]) == {"1", "2", "3a"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"figures.png", "landscapes.npz", "summary.json"}
    assert summary["figures"]["1"]["excess"] < 1e-12
    assert "local minima of the meta-objective" in capsys.readouterr().out
