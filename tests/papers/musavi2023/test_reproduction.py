"""The tables of musavi2023: training and a search over a grid find the same gains."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import check_common_dynamics
from jaxlqr.papers.musavi2023 import figure, reproduction
from jaxlqr.papers.musavi2023.setting import SIGMA0, STARTS, A, B, draw, stabilising_grid
from jaxlqr.papers.musavi2023.tables import RESOLUTION, GrowingSteps


def closed_loop_radius(gain):
    return np.abs(np.linalg.eigvals(np.asarray(A) - np.asarray(B) @ np.asarray([gain]))).max()


def test_starts_stabilise_and_the_fourth_barely_does():
    radii = [closed_loop_radius(start.gain) for start in STARTS]
    assert all(radius < 0.95 for radius in radii[:3])
    assert 0.99 < radii[3] < 1
    assert STARTS[3].first_step == 5e-5
    assert STARTS[3].last_step == 6.6e-3


def test_tasks_are_those_of_the_paper():
    tasks = draw(jax.random.key(0))
    check_common_dynamics(tasks)
    assert tasks.Q.shape == (10, 2, 2)
    # Q = c1 Q1 + c2 Q2: the off-diagonal entry is -0.5 c1 + c2, with c1 and c2 told by the diagonal.
    mix = np.linalg.solve([[0.01, 200.0], [200.0, 0.01]], np.asarray(tasks.Q)[:, [0, 1], [0, 1]].T)
    np.testing.assert_allclose(-0.5 * mix[0] + mix[1], np.asarray(tasks.Q)[:, 0, 1], rtol=1e-9)
    assert np.all((mix > 0) & (mix < 10))
    assert np.all((np.asarray(tasks.R) > 0) & (np.asarray(tasks.R) < 21))


def test_published_steps_are_feasible_with_the_stated_sigma0_only():
    """Erratum M3: with the identity the curvature is near 3e4, so eta = 0.0066 is hundreds of times too long."""
    tasks = draw(jax.random.key(0))
    gain = jaxlqr.optimal_gain(jax.tree.map(lambda leaf: leaf.mean(0), tasks))
    hessians = jax.jit(jax.vmap(jax.hessian(jaxlqr.cost), (None, 0)))(gain, tasks).reshape(10, 2, 2)
    curvature = np.linalg.eigvalsh(np.asarray(hessians))[:, -1]
    assert 2e4 < curvature.max() / SIGMA0 < 5e4
    assert 0.05 < 6.6e-3 * curvature.max() < 0.5


def test_grid_covers_the_stabilising_set():
    """It is the triangle |det| < 1, |trace| < 1 + det, cut off by no edge of the box that was searched."""
    grid = stabilising_grid(RESOLUTION)
    first, second = grid[:, 0, 0], grid[:, 0, 1]
    determinant, trace = -3 - 0.75 * second + first, -0.5 - 0.5 * (first + second)
    assert np.all((np.abs(determinant) < 1 + 1e-9) & (np.abs(trace) < 1 + determinant + 1e-9))
    area = len(grid) * RESOLUTION**2
    # In (trace, det) the triangle has area 4; the map from (w1, w2) has determinant 0.375 + 0.5 = 0.875.
    assert area == pytest.approx(4 / 0.875, rel=0.01)


def test_inner_step_grows_from_the_first_to_the_last():
    rule = GrowingSteps(5e-5, 6.6e-3, 50, 0.03)
    assert float(rule.inner(None, None, jnp.asarray(0.0))) == pytest.approx(5e-5)
    assert float(rule.inner(None, None, jnp.asarray(50.0))) == pytest.approx(6.6e-3)


@pytest.mark.slow
def test_training_and_grid_search_agree_and_all_is_written(tmp_path, capsys):
    summary = reproduction.PAPER.reproduce(tmp_path / "out", num_seeds=3, progress=False)
    assert np.all(summary["largest_distance_to_refined_minimiser"] < RESOLUTION / 5)
    for found in summary["table_2"].values():
        assert np.all(np.abs(found["grid"] - found["refined"]) <= RESOLUTION)
        # Table II and its ball of radius 0.23.
        assert np.all(np.linalg.norm(found["refined"] - [1.347, -2.102], axis=1) < 0.23)
    assert np.all(np.asarray(summary["gradient_norm_ratio"]) < 0.02)
    assert summary["shortened_steps"][:3] == [0, 0, 0]
    rules = summary["certified_rule"]
    assert all(rules["always_feasible"].values())
    counts = rules["steps_to_relative_norm"]
    for target in ("0.5", "0.1"):
        slow, quick = (np.array(counts[rule][target], float) for rule in ("certified", "backtracking_small_inner"))
        assert np.all(slow > 200 * quick)  # the price of the proof
        assert np.all(quick >= 1)
    for size, rows in summary["inequalities"].items():
        assert not [row["name"] for row in rows if row["kind"] == "corrected" and row["violated"]], size
        assert len([row["name"] for row in rows if row["kind"] == "printed" and row["violated"]]) >= 8, size
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["paper"] == "musavi2023"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"figure1.png", "histories.npz", "summary.json"}
    out = capsys.readouterr().out
    for title in ("Table I:", "Table II:", "Steps to a fraction", "Left over right side"):
        assert title in out


def test_the_figure_names_the_boundary_and_explains_the_rise_of_the_last_start(monkeypatch):
    monkeypatch.setattr(figure, "_SIDE", 12)
    monkeypatch.setattr(figure, "evaluate", lambda *_: np.linspace(1, 5, 144))  # the map itself is not at issue
    rows = np.geomspace(1, 1e-2, 4)[None]
    history = {"gradient_norm": rows, "w1": 1 + rows[..., None], "w2": -2 - rows[..., None]}
    plane, speed = figure.draw(draw(jax.random.key(0)), [history] * len(STARTS)).axes
    names = [text.get_text() for text in plane.get_legend().get_texts()]
    assert names == ["boundary of stability", *(f"start {number}" for number in range(1, 5))]
    assert ["grows faster" in text.get_text() for text in speed.texts] == [True]


def test_a_number_of_seeds_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="number of seeds must be at least 1"):
        reproduction.PAPER.reproduce(tmp_path / "out", num_seeds=0)
