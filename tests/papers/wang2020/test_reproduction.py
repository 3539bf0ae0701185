"""The reproduction of wang2020: its parts, fast; a small run of the whole, slow."""

import json

import jax
import numpy as np
import pytest

from jaxlqr.families import garnet
from jaxlqr.mdp import evaluate, optimal_policy
from jaxlqr.papers.statistics import student_interval
from jaxlqr.papers.units import Units
from jaxlqr.papers.wang2020 import bounds, figure, reproduction, samples, theory_figure, widths
from jaxlqr.papers.wang2020.learn import LABELS, MAX_STEPS
from jaxlqr.papers.wang2020.settings import SETTINGS
from tests.mdp.settings import task_of


def test_intervals_are_those_of_student():
    mean, low, high = student_interval(np.array([1.0, 2.0, 3.0]))
    # One over the square root of three times t at 2 degrees of freedom.
    assert (mean, high - mean) == (2.0, pytest.approx(4.302653 / np.sqrt(3)))
    assert high - mean == pytest.approx(mean - low)
    assert np.isnan(student_interval(np.array([1.0]))[1])


def test_the_gridworld_has_24_features_and_its_goals_are_far():
    setting = SETTINGS["gridworld"]
    tasks = setting.tasks(jax.random.key(0), 1)
    assert tasks.features.shape == (1, 40, 81, 4, 24)
    rows, columns = np.divmod(np.asarray(tasks.mdp.r)[0, :, :, 0].argmax(axis=1), 9)
    assert np.all(rows + columns >= 8)
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) > 10


def test_policy_iteration_ends_where_no_action_is_better():
    mdp = task_of(garnet(jax.random.key(2), 3, 6, 3), 1)
    policy = optimal_policy(mdp)
    values = evaluate(mdp, policy)
    assert float(values.A.max()) < 1e-12
    others = jax.random.dirichlet(jax.random.key(0), np.ones(3), (50, 6))
    assert float(values.J) >= float(jax.vmap(lambda pi: evaluate(mdp, pi).J)(others).max())


def test_tightness_counts_violations():
    told = bounds.tightness(np.array([1.0, 2.0]), {"l1": np.array([2.0, 1.0])})
    assert told["l1"]["violated"] == 0.5
    assert told["l1"]["median"] == 1.25


def test_figures_draw_every_start_every_form_and_every_study():
    steps = np.linspace(0, 0.5, MAX_STEPS + 1)
    curves = {name: np.stack([steps, steps - 0.1, steps + 0.1]) for name in LABELS}
    optima = {"grid": 0.6, "river": 0.6}
    drawn = figure.draw_adaptation({"grid": curves, "river": curves}, optima, num_splits=5)
    assert [ax.get_title() for ax in drawn.axes] == ["grid", "river"]
    assert len(drawn.axes[0].collections) == len(LABELS)
    # The intervals of two splits would cover the curves.
    few = figure.draw_adaptation({"grid": curves}, optima, num_splits=2).axes[0]
    assert len(few.collections) == 0
    assert few.get_title() == "grid (mean of 2; no intervals)"
    assert len(drawn.axes[0].get_legend().get_texts()) == len(LABELS)
    maps = {title: (np.full((81, 4), 0.25), np.full(81, 1 / 81)) for title in ("before", "after")}
    assert [ax.get_title() for ax in figure.draw_policies(maps, 5).axes[:2]] == ["before", "after"]

    gaps = np.array([0.1, 0.2])
    sides = dict.fromkeys(bounds.FORMS, 3 * gaps)
    (alone,) = theory_figure.draw_theory(gaps, sides, (), {}, {}).axes
    assert len(alone.get_legend().get_texts()) == len(bounds.FORMS) + 1
    rows = np.array([[4.0, 4.4], [2.0, 2.2]])
    networks = {kind: dict.fromkeys(widths.QUANTITIES, rows) for kind in ("policy", "regressor")}
    errors = {name: {"transitions": np.array([1, 10]), "errors": rows} for name in samples.LABELS}
    drawn = theory_figure.draw_theory(gaps, sides, (16, 64), networks, errors)
    assert len(drawn.axes) == 6
    assert drawn.axes[2].get_legend().get_texts()[0].get_text() == "policy: slope -0.50"


def test_slopes_are_those_of_powers():
    rows = np.outer([1.0, 1 / 2, 1 / 4], [3.0, 5.0])
    np.testing.assert_allclose(widths.slopes((16, 64, 256), rows), [-0.5, -0.5])


def test_half_of_the_rivers_are_better_swum_and_held_out_goals_are_new():
    tasks = SETTINGS["riverswim"].tasks(jax.random.key(0), 2)
    swims = np.eye(2)[np.ones(6, int)]
    stays = np.eye(2)[np.zeros(6, int)]
    better = [jax.vmap(jax.vmap(lambda mdp, pi=pi: evaluate(mdp, pi).J))(tasks.mdp) for pi in (swims, stays)]
    assert 0.25 < np.mean(np.asarray(better[0]) > np.asarray(better[1])) < 0.75
    goals = np.asarray(SETTINGS["gridworld"].tasks(jax.random.key(1), 2).mdp.r)[:, :, :, 0].argmax(axis=2)
    assert all(len(set(row.tolist())) == 40 for row in goals)


@pytest.mark.slow
def test_wider_networks_drift_less_and_their_residual_nears_the_limit():
    told = widths.sweep(jax.random.key(0), (16, 512), 3, False, Units())
    for kind in ("policy", "regressor"):
        rows = told[kind]
        assert -0.4 < widths.slopes((16, 512), rows["drift"]).mean() < -0.1
        assert widths.slopes((16, 512), rows["error"]).mean() < -0.4
        for name in ("omega", "initial"):
            apart = np.abs(rows[f"residual_{name}"] / rows["residual_kernel"] - 1).mean(axis=1)
            assert apart[1] < apart[0]
            assert apart[1] < 0.1
        # The ball binds: at a fixed radius the residual does not vanish with the width.
        assert np.all(rows["residual_kernel"] > 0.2 * rows["target"])
        assert np.all(rows["bound"] >= rows["gap"])


@pytest.mark.slow
def test_more_samples_bring_smaller_errors():
    told = samples.complexity(jax.random.key(0), (64, 1024), 10)
    for name, rows in told.items():
        assert -0.8 < widths.slopes(tuple(rows["transitions"]), rows["errors"]).mean() < -0.3, name


def test_a_number_of_splits_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="number of seeds must be at least 1"):
        reproduction.PAPER.reproduce(tmp_path / "out", num_seeds=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_meta_learning_pays_after_one_step(tmp_path, capsys):
    summary = reproduction.PAPER.reproduce(tmp_path, quick=True, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == set(reproduction.FILES)
    returns = json.loads((tmp_path / "summary.json").read_text())["returns"]["gridworld"]
    after = {name: returns[name]["1"]["mean"] for name in LABELS}
    assert after["exact"] == max(after.values())
    assert after["exact"] > 0.38
    assert after["exact"] > after["average"] + 0.05 > after["uniform"]
    assert summary["theorem_3_5"]["corrected"]["violated"] == 0
    assert "wang2020, 9 x 9 goals" in capsys.readouterr().out
