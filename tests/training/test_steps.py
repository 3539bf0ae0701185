"""Step-size rules: plain objects that choose the inner and the outer step at every iterate."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.training import FixedSteps, ScheduledSteps, StepRule

TASKS, START = scalar(a=0.9, q=[1.0, 2.0]), jnp.array([[0.8]])


def nothing(params, task):
    return {}


def train(**options):
    return jaxlqr.meta_train(scalar_cost, START, TASKS, num_steps=4, progress=False, metrics=nothing, **options)


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
        slope = jaxlqr.maml_gradient(scalar_cost, gain, TASKS, 0.01 * (step + 1))
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
    with pytest.raises(ValueError, match="inner_step must not be negative"):
        FixedSteps(*steps)
