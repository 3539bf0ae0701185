"""TOW on LQR tasks: the rules differ as they say, and the comparison shows that it is the step size that helps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.papers.nguyen2023 import lqr, lqr_figure, lqr_study

WEIGHTS = jnp.asarray(np.random.default_rng(0).uniform(0, 0.6, size=(5, 4)))


def applied(rule):
    return np.asarray(lqr._apply(jnp.asarray(lqr.RULES.index(rule)), WEIGHTS, jax.random.key(0)))


def test_rules_keep_what_they_say():
    sums = np.sum(WEIGHTS, axis=1)
    np.testing.assert_array_equal(applied("tow"), WEIGHTS)
    np.testing.assert_allclose(applied("normalised").sum(axis=1), 1)
    np.testing.assert_allclose(applied("normalised") * sums[:, None], WEIGHTS)
    np.testing.assert_allclose(applied("sums"), np.tile(sums[:, None] / 4, (1, 4)))
    np.testing.assert_array_equal(np.sort(applied("permuted"), axis=1), np.sort(WEIGHTS, axis=1))
    assert not np.array_equal(applied("permuted"), WEIGHTS)
    small = np.asarray(WEIGHTS) <= 0.5
    np.testing.assert_allclose((applied("mirrored") + WEIGHTS)[small], 0.5)
    assert np.all(applied("mirrored")[~small] == 0)


def test_ratio_counts_unstable_runs_and_keeps_them_in_the_median():
    found = lqr_study.ratio(np.array([1.0, 2.0, 4.0, 3.0, np.inf, 5.0, 6.0]), np.full(7, 2.0))
    assert (found.median, found.low, found.high, found.num_unstable) == (2.0, 0.5, np.inf, 1)
    few = lqr_study.ratio(np.ones(3), np.ones(3))
    assert np.isnan(few.low)
    assert lqr_study.cell(few._asdict()) == "1"
    assert lqr_study.cell(found._asdict()) == "2 [0.5, inf] (1)"


def test_adapted_cost_is_infinite_where_the_gain_itself_does_not_stabilise():
    tasks = lqr.draw(jax.random.key(0), "cost scales")
    one = jax.tree.map(lambda leaf: leaf[0], tasks)
    value, gradient = jax.jit(jax.value_and_grad(lqr.adapted_cost))(jnp.full((2, 4), 50.0), one)
    assert np.isinf(value)
    assert np.isnan(gradient).all()  # so a run that leaves the stabilising set never comes back, and is counted
    assert len(set(np.asarray(tasks.task.Q)[:, 0, 0])) == lqr.NUM_TASKS


@pytest.mark.slow
def test_newton_finds_the_optimum_and_uniform_descent_approaches_it():
    tasks = lqr.draw(jax.random.key(1), "both")
    best = lqr.optimise(tasks)
    gradient = jax.grad(lqr.mean_cost)(best.gain, tasks)
    assert float(jnp.linalg.norm(gradient)) < 1e-8 * float(best.value)
    assert np.all(np.diff(best.path) <= 0)
    history = lqr.uniform_history(tasks, jnp.asarray(5e-6), num_steps=20)
    assert np.all(np.diff(history) < 0)
    assert history[-1] > best.value
    np.testing.assert_allclose(lqr.uniform_after(tasks, jnp.asarray(5e-6), 20), history[-1], rtol=1e-12)


@pytest.mark.slow
def test_tow_beats_uniform_by_its_step_size(monkeypatch):
    monkeypatch.setattr(lqr_study, "FAMILIES", ("cost scales",))
    studies = lqr_study.study(jax.random.key(0), quick=True, num_seeds=2, progress=False)
    told = lqr_study.told(studies["cost scales"], quick=True)
    over_uniform = {rule: told["gap_over_uniform"][rule]["0.1"]["median"] for rule in ("tow", "sums", "mirrored")}
    assert over_uniform["tow"] < 0.5
    assert over_uniform["sums"] < 0.5  # no weighting at all, and most of the gain
    assert over_uniform["mirrored"] > 1
    assert 0.5 < told["tow_over"]["sums"]["0.1"]["median"] < 1  # what is left for the weighting
    assert told["tow_step_over_uniform_step"] > 5
    assert np.all(np.asarray(told["newton_iterations"]) <= 20)
    figure = lqr_figure.draw(studies, quick=True)
    assert len(figure.axes) == 3
    assert all(ax.lines for ax in figure.axes)


def test_initial_state_carries_the_step_size():
    state = lqr._initial(jnp.asarray(0.25))
    assert float(state.memory.hyperparams["learning_rate"]) == 0.25
