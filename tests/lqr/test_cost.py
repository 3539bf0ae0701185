"""The value of the cost, and where it is finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxlqr
from tests.problems import bank, boeing_problem, by_name, random_problem, scalar_problem
from tests.references import dense_lyapunov, long_cost, relative_error, scalar_cost, truncated_sum

cost = jax.jit(jaxlqr.cost)
EPS = np.finfo(float).eps


def arrays(problem):
    task = problem.task
    return [np.asarray(x) for x in (task.A, task.B, task.Q, task.R, task.Sigma0, problem.K)]


@pytest.mark.parametrize("problem", bank(), ids=by_name)
def test_cost_agrees_with_extended_precision(problem):
    A, B, *_, K = arrays(problem)
    radius = np.max(np.abs(np.linalg.eigvals(A - B @ K)))
    # Forming A - B K rounds at eps, which moves 1 / (1 - radius) by that relative amount: nobody can do better.
    tolerance = max(1e-12, 10 * EPS / (1 - radius))
    assert relative_error(cost(problem.K, problem.task), long_cost(problem.K, problem.task)) < tolerance


def test_scalar_cost_has_its_closed_form():
    problem = scalar_problem()
    assert relative_error(cost(problem.K, problem.task), scalar_cost(problem.K, problem.task)) < 4 * EPS


@pytest.mark.parametrize("problem", [boeing_problem(), random_problem(3, 3, 3)], ids=by_name)
def test_cost_agrees_with_scipy_a_dense_solve_and_a_brute_force_sum(problem):
    A, B, Q, R, S, K = arrays(problem)
    A_K, weight = A - B @ K, Q + K.T @ R @ K
    value = cost(problem.K, problem.task)
    for P in (
        scipy.linalg.solve_discrete_lyapunov(A_K.T, weight),
        dense_lyapunov(A_K.T, weight),
        truncated_sum(A_K.T, weight, 1000),  # radius 0.95: what is left out is 0.95^2000 = 1e-45
    ):
        # 1e-12: three well-conditioned float64 solves.
        assert relative_error(value, np.trace(P @ S)) < 1e-12


def test_cost_is_linear_in_the_initial_second_moment_and_in_the_weights():
    problem = random_problem(4, 4, 2)
    scaled = jax.tree.map(jnp.asarray, problem.task)
    scaled = jaxlqr.LQRTask(scaled.A, scaled.B, 2 * scaled.Q, 2 * scaled.R, 3 * scaled.Sigma0)
    assert relative_error(cost(problem.K, scaled), 6 * cost(problem.K, problem.task)) < 1e-14  # rounding


@pytest.mark.parametrize("radius", [1 - 1e-7, 1 - 1e-10, 1 + 1e-10, 1 + 1e-7, 1.5, 1e3, 1e200])
def test_finite_exactly_where_the_gain_stabilises(radius):
    # A is diagonal, so its spectral radius is known exactly.
    task = jaxlqr.LQRTask(
        *(jnp.asarray(x) for x in (np.diag([radius, 0.1]), np.eye(2), np.eye(2), np.eye(2), np.eye(2)))
    )
    K = jnp.zeros((2, 2))
    value = float(cost(K, task))
    assert bool(jaxlqr.is_stabilizing(K, task)) == (radius < 1) == (value < np.inf)
    assert np.isfinite(value) or value == np.inf
    if radius < 1e100:  # LAPACK rescales larger matrices, and its eigenvalues are then only known to be large
        np.testing.assert_allclose(jaxlqr.spectral_radius(K, task), radius, rtol=4 * EPS)


@pytest.mark.parametrize("radius", [1.0, -1.0])
def test_a_mode_on_the_unit_circle_is_not_stable(radius):
    task = jaxlqr.LQRTask(*(jnp.array([[x]]) for x in (radius, 1.0, 1.0, 1.0, 1.0)))
    assert cost(jnp.zeros((1, 1)), task) == np.inf
    assert not jaxlqr.is_stabilizing(jnp.zeros((1, 1)), task)


def test_spectral_radius_agrees_with_numpy():
    problem = boeing_problem()
    A, B, *_, K = arrays(problem)
    expected = np.max(np.abs(np.linalg.eigvals(A - B @ K)))
    assert relative_error(jaxlqr.spectral_radius(problem.K, problem.task), expected) < 1e-13
