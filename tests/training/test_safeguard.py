"""The safeguard, the status codes, and what is refused before training starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import SolveStatus, TrainingResult, ZerothOrderOracle, policy_gradient
from jaxlqr.training.steps import FixedSteps
from tests.training.setting import START, TASKS, train

# Large enough to leave the stabilising set after a few steps.
TOO_LARGE = 0.05


def test_safeguard_keeps_every_iterate_stabilising_where_plain_descent_diverges():
    plain = train(outer_step_size=TOO_LARGE, safeguard=False)
    assert plain.status == SolveStatus.DIVERGED
    assert bool(jnp.any(plain.history["cost"] == jnp.inf) | jnp.any(jnp.isnan(plain.history["cost"])))
    with pytest.raises(RuntimeError, match=r"1 of 1 runs DIVERGED: .*Reduce the step sizes.*guard=jaxlqr"):
        plain.check()

    guarded = train(outer_step_size=TOO_LARGE)
    assert guarded.status == SolveStatus.COMPLETED
    assert bool(jnp.all(guarded.history["spectral_radius"] < 1))
    assert bool(jnp.all(jnp.isfinite(guarded.history["cost"])))
    assert bool(jnp.all(jnp.isfinite(guarded.params)))
    fractions = np.asarray(guarded.history["accepted_step"][1:])
    assert np.min(fractions) < 1
    # Halvings of the full step.
    np.testing.assert_array_equal(np.log2(fractions), np.round(np.log2(fractions)))


def test_safeguard_changes_nothing_where_it_is_not_needed():
    guarded, plain = train(), train(safeguard=False)
    np.testing.assert_allclose(guarded.params, plain.params, rtol=1e-12)  # compiled differently
    assert plain.status == SolveStatus.COMPLETED


def test_diverged_stays_diverged():
    # An unguarded run that leaves and would come back is not called complete.
    def loss(params, task):
        return jnp.where(jnp.abs(params) < 1.5, jnp.sum(params**2) * task, jnp.inf)

    result = train(loss=loss, params=jnp.array(1.0), tasks=jnp.ones(2), outer_step_size=10.0, safeguard=False)
    assert result.status == SolveStatus.DIVERGED


def cliff(params, task):
    """Feasible at the start and nowhere below it; the slope points over the edge."""
    return jnp.where(params >= 1.0, task * params, jnp.inf)


def test_stalled_when_no_fraction_of_the_step_is_feasible():
    result = train(loss=cliff, params=jnp.array(1.0), tasks=jnp.ones(2), num_steps=3, num_inner_steps=0)
    assert result.status == SolveStatus.STALLED
    assert result.params == 1.0
    np.testing.assert_array_equal(result.history["accepted_step"][1:], 0)
    with pytest.raises(RuntimeError, match="1 of 1 runs STALLED: every fraction of the step"):
        result.check()


def test_max_backtracks_bounds_the_halvings():
    # The edge is at 0.9 and the full step goes from 1.0 to -3: 1/64 of it fits, nothing longer.
    def loss(params, task):
        return jnp.where(params >= 0.9, task * params, jnp.inf)

    arguments = {"loss": loss, "params": jnp.array(1.0), "tasks": jnp.ones(1), "num_steps": 1, "num_inner_steps": 0}
    few, enough = (train(**arguments, outer_step_size=4.0, max_backtracks=count) for count in (6, 7))
    assert few.status == SolveStatus.STALLED
    assert enough.status == SolveStatus.COMPLETED
    assert enough.history["accepted_step"][1] == 1 / 64


def test_status_is_one_code_for_each_run():
    starts, tasks = jnp.array([1.0, 5.0]), jnp.ones((2, 2))
    result = train(loss=cliff, params=starts, tasks=tasks, num_steps=2, num_inner_steps=0, batched=True)
    np.testing.assert_array_equal(result.status, [SolveStatus.STALLED, SolveStatus.COMPLETED])
    with pytest.raises(RuntimeError, match="1 of 2 runs STALLED"):
        result.check()


def test_own_feasibility_test():
    def small(params, task):
        return jnp.all(jnp.abs(params) < 0.6)

    result = train(feasible=small, num_steps=40, outer_step_size=5e-3)
    assert bool(jnp.all(jnp.abs(result.params) < 0.6))
    free = train(num_steps=40, outer_step_size=5e-3)
    assert not bool(jnp.all(jnp.abs(free.params) < 0.6))  # so the test was at work


def test_failed_queries_are_recorded():
    # At radius 0.4 some perturbed gains do not stabilise.
    result = train(oracle=ZerothOrderOracle(num_samples=20, radius=0.4), num_steps=3)
    assert result.history["failed_queries"].shape == (4,)
    assert result.history["failed_queries"][0] > 0
    assert bool(jnp.all(jnp.isfinite(result.params)))


def test_result_is_a_pytree():
    result = train()
    assert isinstance(jax.tree.map(lambda leaf: leaf, result), TrainingResult)


ONE = jax.tree.map(lambda leaf: leaf[0], TASKS)
REFUSED = {
    "infeasible start": ({"params": jnp.array([[-5.0, 0.0]])}, "params must be feasible for every task.*3 of 3 tasks"),
    "NaN start": ({"params": START * jnp.nan}, "params must be feasible for every task"),
    "negative step, no safeguard": ({"outer_step_size": -1.0, "safeguard": False}, "must be positive"),
    "negative outer step": ({"outer_step_size": -1.0}, r"must be positive and finite, got -1\.0"),
    "zero outer step": ({"outer_step_size": 0.0}, r"must be positive and finite, got 0\.0"),
    "NaN outer step": ({"outer_step_size": float("nan")}, "must be positive and finite, got nan"),
    "negative inner step": (
        {"inner_step_size": -1e-3},
        r"inner_step_size must be non-negative and finite, got -0\.001",
    ),
    "infinite inner step": ({"inner_step_size": float("inf")}, "inner_step_size must be non-negative and finite"),
    "no step rule": ({"outer_step_size": None}, "give an optimizer"),
    "a step rule beside a step size": (
        {"outer_step_size": 1e-3, "inner_step_size": None, "step_rule": FixedSteps(0.1, 0.1)},
        "give no outer step size with a step_rule",
    ),
    "no steps": ({"num_steps": 0}, "num_steps must be an integer of at least 1, got 0"),
    "half a step": ({"num_steps": 1.5}, r"num_steps must be an integer of at least 1, got 1\.5"),
    "negative inner steps": ({"num_inner_steps": -1}, "num_inner_steps must be an integer of at least 0, got -1"),
    "no backtracks": ({"max_backtracks": 0}, "max_backtracks must be an integer of at least 1"),
    "no report": ({"every": 0}, "every must be an integer of at least 1"),
    "perturbations": ({"perturbations": "both"}, "perturbations must be"),
    "unstacked task": ({"tasks": ONE}, "tasks must be|common leading"),
    "zero tasks": ({"tasks": jax.tree.map(lambda leaf: leaf[:0], TASKS)}, "tasks must hold at least one task"),
    "wrong weights": ({"weights": jnp.ones(2)}, r"weights must have shape \(3,\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_are_refused_before_training(case):
    changes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        train(**changes)


def test_an_infeasible_start_names_the_tasks():
    tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[a]], [[1.0]]) for a in (0.5, 1.5, 0.9, 2.0)])
    with pytest.raises(ValueError, match="not finite for 2 of 4 tasks: 1, 3; start from"):
        train(params=jnp.zeros((1, 1)), tasks=tasks)


def test_an_unhashable_loss_says_what_to_do():
    class Unhashable:
        __hash__ = None

        def __call__(self, params, task):
            return jnp.sum(params)

    with pytest.raises(TypeError, match=r"loss must be hashable.*frozen dataclass"):
        train(loss=Unhashable())


def test_policy_gradient_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'weights'"):
        policy_gradient(jaxlqr.cost, START, ONE, num_steps=1, step_size=1e-3, weights=jnp.ones(1))
