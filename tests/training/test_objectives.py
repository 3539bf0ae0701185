"""Objectives as objects: those of the library, one of a user, and what is refused."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.training import loop
from jaxlqr.training.steps import FixedSteps
from tests.training.setting import ORIGIN, POINTS, quartic

QUIET = jaxlqr.Output(progress=False, every=4)


def train(objective, **options):
    options = {"num_steps": 5, "outer_step_size": 0.02, "output": QUIET} | options
    return jaxlqr.meta_train(quartic, ORIGIN, POINTS, objective=objective, **options)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled:
    """A user's objective: a number times the mean."""

    factor: float

    def value(self, loss, params, tasks, oracle, key, **options):
        return self.factor * jaxlqr.Mean().value(loss, params, tasks, oracle, key, **options)

    def estimate(self, loss, params, tasks, oracle, key, **options):
        plain = jaxlqr.Mean().estimate(loss, params, tasks, oracle, key, **options)
        return plain._replace(gradient=jax.tree.map(lambda leaf: self.factor * leaf, plain.gradient))


def test_an_objective_of_a_user_is_trained_and_another_number_compiles_nothing():
    plain = train(jaxlqr.Mean())
    doubled = train(Scaled(2.0), outer_step_size=0.01)
    np.testing.assert_allclose(doubled.params, plain.params, rtol=1e-13)  # rounding: a factor of two on either side
    before = loop._chunk._cache_size()
    train(Scaled(0.5), num_steps=9)
    train(jaxlqr.Maml(inner_step_size=0.01))
    between = loop._chunk._cache_size()
    train(jaxlqr.Maml(inner_step_size=0.02))
    assert (between, loop._chunk._cache_size()) == (before + 1, before + 1)


def test_the_mean_is_maml_without_inner_steps():
    plain, maml = train(jaxlqr.Mean()), train(jaxlqr.Maml(num_inner_steps=0))
    np.testing.assert_array_equal(plain.params, maml.params)


def test_the_numbers_of_an_objective_may_differ_between_runs():
    start, tasks = jnp.stack([ORIGIN] * 2), jnp.stack([POINTS] * 2)
    options = {"num_steps": 5, "outer_step_size": 0.02, "output": QUIET}
    maml = jaxlqr.Maml(inner_step_size=jnp.array([0.01, 0.02]))
    together = jaxlqr.meta_train(quartic, start, tasks, objective=maml, batched=True, **options)
    alone = train(jaxlqr.Maml(inner_step_size=0.02))
    np.testing.assert_allclose(together.params[1], alone.params, rtol=1e-12)  # rounding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "maml"}, r"objective must be an objective, got 'maml'; write jaxlqr\.Maml"),
        ({"objective": jaxlqr.Mean}, r"objective must be an objective, got <class .*Mean"),
        ({"objective": None}, "give exactly one of inner_step_size and step_rule"),
        (
            {"objective": jaxlqr.Mean(), "step_rule": FixedSteps(0.1, 0.1), "outer_step_size": None},
            "step_rule must be None for Mean, which has no inner step",
        ),
    ],
)
def test_what_is_no_objective_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)
