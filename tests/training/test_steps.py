"""Step-size rules: plain objects that choose the inner and the outer step at every iterate."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import maml_loss
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.training import BacktrackingSteps, FixedSteps, ScheduledSteps, StepRule
from tests.training.setting import on_objects

TASKS, START = scalar(a=0.9, q=[1.0, 2.0]), jnp.array([[0.8]])


def nothing(params, task):
    return {}


def train(**options):
    options = on_objects(progress=False, metrics=nothing, **options)
    return jaxlqr.meta_train(scalar_cost, START, TASKS, num_steps=4, **options)


def test_fixed_steps_are_those_of_the_plain_arguments():
    plain = train(inner_step_size=0.01, outer_step_size=0.05)
    ruled = train(step_rule=FixedSteps(0.01, 0.05))
    np.testing.assert_allclose(ruled.history["loss"], plain.history["loss"], rtol=1e-14)
    assert float(ruled.params[0, 0]) == pytest.approx(float(plain.params[0, 0]), rel=1e-14)


def test_scheduled_steps_are_taken_in_their_turn():
    """Step n leads away from iterate n - 1, whose number the schedule is given."""
    rule = ScheduledSteps(lambda step: 0.01 * (step + 1), lambda step: 0.05 / (step + 1))
    assert isinstance(rule, StepRule)
    result = train(step_rule=rule)
    np.testing.assert_allclose(result.history["inner_step"], 0.01 * np.arange(1, 6))
    np.testing.assert_allclose(result.history["outer_step"], 0.05 / np.arange(1, 6))
    gain = START
    for step in range(4):
        slope = jaxlqr.maml_gradient(scalar_cost, gain, TASKS, inner_step_size=0.01 * (step + 1))
        gain = gain - 0.05 / (step + 1) * slope
    assert float(result.params[0, 0]) == pytest.approx(float(gain[0, 0]), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of inner_step_size and step_rule"),
        ({"inner_step_size": 0.1, "step_rule": FixedSteps(0.1, 0.1)}, "exactly one of inner_step_size and step_rule"),
        ({"outer_step_size": 0.1, "step_rule": FixedSteps(0.1, 0.1)}, "no outer step size with a step_rule"),
    ],
)
def test_sizes_and_rules_exclude_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)


@pytest.mark.parametrize("steps", [(-0.1, 0.1), (0.1, 0.0)])
def test_fixed_steps_are_checked(steps):
    with pytest.raises(ValueError, match="inner_step_size must not be negative"):
        FixedSteps(*steps)


def test_backtracking_takes_the_largest_steps_that_it_may():
    """By the definition, recomputed at every iterate; the first trials are far too long."""
    rule = BacktrackingSteps(scalar_cost, inner_step_size=5.0, outer_step_size=5.0)
    result = train(step_rule=rule, safeguard=False)
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    assert history["feasible"].all()

    def value(gain, inner):
        adapted = maml_loss(scalar_cost, gain, TASKS, inner_step_size=inner)
        return float(
            jnp.where(jnp.isfinite(maml_loss(scalar_cost, gain, TASKS, inner_step_size=0.0)), adapted, jnp.inf)
        )

    gain = START
    for inner, outer in zip(history["inner_step"][:4], history["outer_step"][:4], strict=True):
        slope = jaxlqr.maml_gradient(scalar_cost, gain, TASKS, inner_step_size=inner)
        assert np.isfinite(value(gain, inner))
        assert inner == 5.0 or not np.isfinite(value(gain, 2 * inner))
        decrease = 1e-4 * float(jnp.sum(slope**2))
        assert value(gain - outer * slope, inner) <= value(gain, inner) - outer * decrease
        assert outer == 5.0 or not value(gain - 2 * outer * slope, inner) <= value(gain, inner) - 2 * outer * decrease
        gain = gain - outer * slope
    assert history["inner_step"][0] < 5.0
    assert history["outer_step"][0] < 5.0
    assert float(result.params[0, 0]) == pytest.approx(float(gain[0, 0]), rel=1e-12)


def test_a_large_fraction_of_the_promised_decrease_is_demanded():
    # Of x^2 / 2 at x = 1, a step s is accepted where (1 - s)^2 / 2 <= 1/2 - c s, that is s <= 2 (1 - c), here 0.2.
    rule = BacktrackingSteps(lambda x, task: (x - task) ** 2 / 2, 0.1, 1.0, decrease=0.9)
    one, tasks = jnp.array(1.0), jnp.zeros(2)
    assert float(rule.outer(one, tasks, jnp.array(0.0), one, jnp.array(0))) == 0.125


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"inner_step_size": 0.0}, "inner_step_size and outer_step_size must be positive"),
        ({"shrink": 1.0}, "shrink and decrease must lie in"),
        ({"max_backtracks": 0}, "max_backtracks must be at least 1"),
    ],
)
def test_backtracking_is_checked(bad, message):
    with pytest.raises(ValueError, match=message):
        BacktrackingSteps(**{"loss": scalar_cost, "inner_step_size": 0.1, "outer_step_size": 0.1, **bad})
