"""The optimal gain against SciPy, python-control and the conditions it must satisfy."""

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxlqr
from tests.problems import bank, boeing_problem, by_name, random_problem
from tests.references import relative_error

# Every shape compiles once more; n = 3 and 12 add little to the others.
PROBLEMS = [
    pytest.param(problem, marks=[pytest.mark.slow] if problem.task.A.shape[0] in (3, 12) else [], id=by_name(problem))
    for problem in bank()
]


@jax.jit
def optimum(K, X, task):
    gain = jaxlqr.optimal_gain(task)
    step = 1e-3 * jnp.max(jnp.abs(gain)) * X
    return {
        "gain": gain,
        "cost": jaxlqr.optimal_cost(task),
        "cost of the gain": jaxlqr.cost(gain, task),
        "neighbours": jnp.stack([jaxlqr.cost(gain + step, task), jaxlqr.cost(gain - step, task), jaxlqr.cost(K, task)]),
        "slope": jnp.max(jnp.abs(jaxlqr.closed_form.gradient(gain, task))),
        "slope before": jnp.max(jnp.abs(jaxlqr.closed_form.gradient(K, task))),
    }


def scipy_gain(task):
    A, B, Q, R = (np.asarray(x) for x in (task.A, task.B, task.Q, task.R))
    P = scipy.linalg.solve_discrete_are(A, B, Q, R)
    return np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A), P


@pytest.mark.parametrize("problem", PROBLEMS)
def test_gain_agrees_with_scipy_is_stationary_and_beats_its_neighbours(problem):
    task = problem.task
    found, (expected, P) = optimum(problem.K, problem.X, task), scipy_gain(task)
    # 1e-9: two different algorithms on equations of condition up to 1e5.
    assert relative_error(found["gain"], expected) < 1e-9
    assert relative_error(found["cost"], np.trace(P @ np.asarray(task.Sigma0))) < 1e-9
    assert relative_error(found["cost"], found["cost of the gain"]) < 1e-9
    assert found["slope"] < 1e-9 * found["slope before"]
    # 1e-12: ties are rounding.
    assert bool(jnp.all(found["neighbours"] > found["cost"] * (1 - 1e-12)))


def test_gain_agrees_with_python_control():
    task = boeing_problem().task
    gain, _, _ = control.dlqr(*(np.asarray(x) for x in (task.A, task.B, task.Q, task.R)))
    assert relative_error(jaxlqr.optimal_gain(task), gain) < 1e-10


def test_gain_does_not_depend_on_the_initial_state():
    problem = random_problem(4, 4, 2)
    task = problem.task
    other = jaxlqr.LQRTask(task.A, task.B, task.Q, task.R, 5 * jnp.eye(4))
    gains = [optimum(problem.K, problem.X, each)["gain"] for each in (task, other)]
    np.testing.assert_array_equal(*gains)


def test_gain_is_nan_where_no_stabilising_solution_exists_in_that_lane_only():
    good = random_problem(4, 4, 2).task
    # An unstable mode that no input reaches; not from make_task, which refuses it.
    bad = jaxlqr.LQRTask(jnp.diag(jnp.array([1.2, 0.5, 0.4, 0.3])), good.B.at[0].set(0), good.Q, good.R, good.Sigma0)
    gains = jax.jit(jax.vmap(jaxlqr.optimal_gain))(jaxlqr.stack_tasks([bad, good]))
    assert bool(jnp.all(jnp.isnan(gains[0])))
    assert relative_error(gains[1], scipy_gain(good)[0]) < 1e-12
