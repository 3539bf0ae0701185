"""The reproduction of wang2020: its parts, fast; a small run of the whole, slow."""

import json

import jax
import numpy as np
import pytest

from jaxlqr.experiments import wang2020
from jaxlqr.experiments.wang2020 import bounds, figure
from jaxlqr.experiments.wang2020.learn import LABELS, MAX_STEPS
from jaxlqr.experiments.wang2020.settings import SETTINGS
from jaxlqr.families import garnet
from jaxlqr.mdp import evaluate, optimal_policy
from tests.mdp.settings import task_of


def test_intervals_are_those_of_student():
    mean, low, high = wang2020.interval(np.array([1.0, 2.0, 3.0]))
    # One over the square root of three times t at 2 degrees of freedom.
    assert (mean, high - mean) == (2.0, pytest.approx(4.303 / np.sqrt(3)))
    assert high - mean == pytest.approx(mean - low)
    assert np.isnan(wang2020.interval(np.array([1.0]))[1])


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


def test_figure_draws_every_start_and_every_form():
    steps = np.linspace(0, 0.5, MAX_STEPS + 1)
    curves = {name: np.stack([steps, steps - 0.1, steps + 0.1]) for name in LABELS}
    maps = {title: (np.full((81, 4), 0.25), np.full(81, 1 / 81)) for title in ("before", "after")}
    gaps = np.array([0.1, 0.2])
    drawn = figure.draw(curves, 0.6, maps, gaps, dict.fromkeys(bounds.FORMS, 3 * gaps))
    assert [ax.get_title() for ax in drawn.axes[:4]] == ["adaptation, 9 x 9 goals", "bound against gap", *maps]
    assert len(drawn.axes[0].get_legend().get_texts()) == len(LABELS)
    assert len(drawn.axes[1].get_legend().get_texts()) == len(bounds.FORMS) + 1


def test_a_number_of_splits_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="number of splits must be at least 1"):
        wang2020.reproduce(tmp_path / "out", num_seeds=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_meta_learning_pays_after_one_step(tmp_path, capsys):
    summary = wang2020.reproduce(tmp_path, quick=True, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"adaptation.png", "curves.npz", "summary.json"}
    returns = json.loads((tmp_path / "summary.json").read_text())["returns"]["gridworld"]
    after = {name: returns[name]["1"]["mean"] for name in LABELS}
    assert after["exact"] == max(after.values())
    assert after["exact"] > 0.38
    assert after["exact"] > after["average"] + 0.1 > after["uniform"]
    assert summary["theorem_3_5"]["corrected"]["violated"] == 0
    assert "wang2020, gridworld" in capsys.readouterr().out
