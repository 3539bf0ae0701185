"""Zeroth-order estimates in the mean: 5 standard errors, each small enough that a 5 % bias would be caught."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import ZerothOrderOracle
from tests.problems import random_problem
from tests.references import relative_error

RADIUS = 0.5
LINEAR = jnp.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]])
POINT = jnp.array([[0.4, -0.3, 0.6], [0.2, 0.8, -0.5]])
VECTOR = jnp.array([[1.0, 2.0, -1.0], [0.5, -1.5, 1.0]])


def repeated(function, count: int, seed: int) -> np.ndarray:
    """``count`` independent estimates."""
    return np.asarray(jax.jit(jax.vmap(function))(keys_of(seed, count)))


def keys_of(seed: int, count: int):
    return jax.random.split(jax.random.key(seed), count)


def assert_unbiased(draws: np.ndarray, exact) -> None:
    exact = np.asarray(exact)
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(axis=0) - exact) < 5 * error)
    # A bias of 5 % in norm would stand out against the errors taken together.
    assert np.linalg.norm(error) * 5 < 0.05 * np.linalg.norm(exact) * np.sqrt(exact.size)


def quartic(params, task):
    """sum x^4 + <c, x>: not quadratic, so that smoothing changes its gradient."""
    return jnp.sum(params**4) + jnp.sum(task * params)


def smoothed_quartic_gradient(params, radius: float) -> np.ndarray:
    # Over the ball of radius r in dimension d the mean of v_i^2 is r^2 / (d + 2), so the mean of 4 (x_i + v_i)^3 is
    # 4 x_i^3 + 12 x_i r^2 / (d + 2).
    x = np.asarray(params)
    return 4 * x**3 + 12 * x * radius**2 / (x.size + 2) + np.asarray(LINEAR)


def test_gradient_is_unbiased_for_the_smoothed_loss():
    oracle = ZerothOrderOracle(num_samples=100, radius=RADIUS)
    draws = repeated(lambda key: oracle.gradient(quartic, POINT, LINEAR, key), 2000, seed=1)
    smoothed = smoothed_quartic_gradient(POINT, RADIUS)
    assert_unbiased(draws, smoothed)
    # And not for the loss itself: the smoothing is visible at this radius.
    exact = np.asarray(jax.grad(quartic)(POINT, LINEAR))
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert np.max(np.abs(draws.mean(axis=0) - exact) / error) > 10


def test_gradient_is_unbiased_for_the_smoothed_lqr_cost():
    # d = 2, so that the mean over the disc is a quadrature: 64 angles and 12 Gauss points in radius^2.
    problem = random_problem(30, 2, 1, radius=0.6)
    radius = 0.15
    oracle = ZerothOrderOracle(num_samples=100, radius=radius)
    draws = repeated(lambda key: oracle.gradient(jaxlqr.cost, problem.K, problem.task, key), 400, seed=2)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radii = radius * np.sqrt((nodes + 1) / 2)
    offsets = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None]
    gains = np.asarray(problem.K) + offsets.reshape(-1, 1, 2)
    gradients = jax.jit(jax.vmap(lambda K: jaxlqr.closed_form.gradient(K, problem.task)))(jnp.asarray(gains))
    smoothed = np.einsum("r,raij->ij", weights / 2, np.asarray(gradients).reshape(12, 64, 1, 2)) / 64
    assert np.all(np.isfinite(smoothed))
    assert_unbiased(draws, smoothed)


def quadratic(params, task):
    flat = params.reshape(-1)
    return flat @ (task @ flat) / 2 + jnp.sum(LINEAR * params)


def hessian_matrix() -> jnp.ndarray:
    root = np.random.default_rng(4).standard_normal((6, 6))
    return jnp.asarray(root @ root.T + np.diag([1.0, 5.0, 2.0, 0.0, 3.0, 8.0]))


def test_stein_hessian_is_unbiased_on_quadratics_at_any_radius():
    matrix = hessian_matrix()
    oracle = ZerothOrderOracle(num_samples=100, radius=2.0)
    draws = repeated(lambda key: oracle.hessian_vector_product(quadratic, POINT, VECTOR, matrix, key), 4000, seed=5)
    assert_unbiased(draws, (matrix @ VECTOR.reshape(-1)).reshape(2, 3))


PROBLEM = random_problem(31, 3, 2, radius=0.6)


@jax.jit
def lqr_hessian_estimates(oracle, keys):
    def product(key):
        return oracle.hessian_vector_product(jaxlqr.cost, PROBLEM.K, PROBLEM.X, PROBLEM.task, key)

    return jax.vmap(product)(keys)


def lqr_hessian_error(num_samples: int, radius: float) -> float:
    oracle = ZerothOrderOracle(num_samples=num_samples, radius=radius)
    exact = jaxlqr.closed_form.hessian_vector_product(PROBLEM.K, PROBLEM.X, PROBLEM.task)
    estimates = lqr_hessian_estimates(oracle, keys_of(6, 8))
    return float(np.sqrt(np.mean([relative_error(e, exact) ** 2 for e in estimates])))


def test_stein_hessian_converges_to_the_lqr_hessian():
    errors = [lqr_hessian_error(num_samples, 0.01) for num_samples in (100, 10_000)]
    # Monte Carlo: a hundred times the samples, a tenth of the error; the mean square of 8 is good to a factor of 2.
    assert 1 / 20 < errors[1] / errors[0] < 1 / 5
    assert errors[1] < 0.1
    # At a large radius what is left is the smoothing, which shrinks with it.
    assert lqr_hessian_error(10_000, 0.4) > 2 * lqr_hessian_error(10_000, 0.2) > 2 * errors[1]


@pytest.mark.parametrize("second_order", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_common_random_numbers_reduce_the_variance(second_order):
    loss = jaxlqr.RolloutCost(horizon=20, num_rollouts=2, initial_state=uniform_start)
    variances = []
    for common in (False, True):
        oracle = ZerothOrderOracle(num_samples=20, radius=0.05, common_random_numbers=common)

        def estimate(key, oracle=oracle):
            if second_order:
                return oracle.hessian_vector_product(loss, PROBLEM.K, PROBLEM.X, PROBLEM.task, key)
            return oracle.gradient(loss, PROBLEM.K, PROBLEM.task, key)

        draws = repeated(estimate, 200, seed=8)
        variances.append(draws.var(axis=0).sum())
    assert variances[1] < variances[0] / 3


def uniform_start(key, task):
    return jax.random.uniform(key, (3,), task.A.dtype, -1, 1)
