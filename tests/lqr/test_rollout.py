"""RolloutCost: what a model-free experimenter sees, against expectations known in closed form."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import RolloutCost
from jaxlqr.lqr.rollout import gaussian_initial_state, rollout
from tests.problems import random_problem

PROBLEM = random_problem(4, 4, 2)
KEY = jax.random.key(1)


def matrices():
    task, K = PROBLEM.task, np.asarray(PROBLEM.K)
    A, B, Q, R, S = (np.asarray(x) for x in (task.A, task.B, task.Q, task.R, task.Sigma0))
    return A - B @ K, Q + K.T @ R @ K, S


def expected_cost(horizon: int, noise: float) -> float:
    """Sum of tr(W Sigma_t) with Sigma_{t+1} = A_K Sigma_t A_K' + noise^2 I."""
    A_K, W, sigma = matrices()
    total = 0.0
    for _ in range(horizon):
        total += np.trace(W @ sigma)
        sigma = A_K @ sigma @ A_K.T + noise**2 * np.eye(4)
    return total


@partial(jax.jit, static_argnums=0)
def query(loss: RolloutCost, K, key=KEY):
    return loss.with_key(key)(K, PROBLEM.task)


def samples(loss: RolloutCost, count: int) -> np.ndarray:
    sampled = jax.jit(jax.vmap(lambda key: loss.with_key(key)(PROBLEM.K, PROBLEM.task)))
    return np.asarray(sampled(jax.random.split(KEY, count)))


# Radius 0.8: after 60 steps 0.8^120 = 2e-12 of the cost is missing.
@pytest.mark.parametrize(("horizon", "noise"), [(60, 0.0), (3, 0.0), (1, 0.7), (20, 0.7)])
def test_mean_over_rollouts_is_the_expected_cost(horizon, noise):
    draws = samples(RolloutCost(horizon=horizon, num_rollouts=4, process_noise=noise), 8000)
    expected = expected_cost(horizon, noise)
    if horizon == 60:
        np.testing.assert_allclose(expected, jaxlqr.cost(PROBLEM.K, PROBLEM.task), rtol=1e-9)  # the tail above
    error = draws.std(ddof=1) / np.sqrt(draws.size)
    assert abs(draws.mean() - expected) < 5 * error
    assert error < 0.01 * expected  # five of them are 5 %: a bias that large cannot hide


def test_averaging_rollouts_divides_the_variance():
    one, many = (samples(RolloutCost(horizon=20, num_rollouts=number), 4000).var() for number in (1, 16))
    # A variance of 4000 heavy-tailed draws is good to some 5 %; the ratio is asked for to 25 %.
    assert 0.75 < one / many / 16 < 1.25


def test_initial_states_have_the_second_moment_of_the_task_even_if_singular():
    sigma = jnp.diag(jnp.array([2.0, 0.0, 1.0, 0.5])).at[0, 2].set(0.3).at[2, 0].set(0.3)
    task = jaxlqr.LQRTask(PROBLEM.task.A, PROBLEM.task.B, PROBLEM.task.Q, PROBLEM.task.R, sigma)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: gaussian_initial_state(key, task)))(jax.random.split(KEY, 20_000)))
    np.testing.assert_array_equal(draws[:, 1], 0)
    products = draws[:, :, None] * draws[:, None, :]
    error = products.std(axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(products.mean(axis=0) - sigma) <= 5 * error)
    assert np.max(error) < 0.01 * 2.0 * 2  # five of them are 10 % of the largest entry


def test_one_rollout_step_by_step():
    A_K, W, _ = matrices()
    noise = np.random.default_rng(3).standard_normal((5, 4))
    x = np.array([1.0, -1.0, 0.5, 2.0])
    states, inputs, stage_costs = rollout(PROBLEM.K, PROBLEM.task, jnp.asarray(x), jnp.asarray(noise))
    for t in range(5):
        np.testing.assert_allclose(states[t], x, rtol=1e-12, atol=1e-12)  # rounding of five products
        np.testing.assert_allclose(inputs[t], -np.asarray(PROBLEM.K) @ x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(stage_costs[t], x @ W @ x, rtol=1e-12)
        x = A_K @ x + noise[t]


def test_state_limit_stops_the_query():
    def start(key, task):
        return jnp.array([3.0, 0.0, 0.0, 0.0])

    for limit, finite in ((2.9, False), (1e3, True)):
        loss = RolloutCost(horizon=5, num_rollouts=2, state_limit=limit, initial_state=start)
        assert bool(jnp.isfinite(query(loss, PROBLEM.K))) == finite
    # Not reached at first, but on the way: an unstable gain.
    loss = RolloutCost(horizon=50, num_rollouts=1, state_limit=1e3, initial_state=start)
    assert query(loss, PROBLEM.K + 5) == np.inf


def test_overflow_is_infinite_without_a_limit():
    loss = RolloutCost(horizon=600, num_rollouts=1)
    assert query(loss, PROBLEM.K + 10) == np.inf


def test_same_key_same_value_and_a_fixed_key_when_called_directly():
    loss = RolloutCost(horizon=5, num_rollouts=3, process_noise=0.1)
    assert query(loss, PROBLEM.K) == query(loss, PROBLEM.K)
    assert query(loss, PROBLEM.K) != query(loss, PROBLEM.K, jax.random.key(2))
    assert loss(PROBLEM.K, PROBLEM.task) == loss(PROBLEM.K, PROBLEM.task)


def test_equal_settings_are_one_key_of_the_compilation_cache():
    assert RolloutCost(horizon=5, num_rollouts=3) == RolloutCost(horizon=5, num_rollouts=3)
    assert hash(RolloutCost(horizon=5, num_rollouts=3)) == hash(RolloutCost(horizon=5, num_rollouts=3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"num_rollouts": 0}, "num_rollouts must be an integer of at least 1, got 0"),
        ({"process_noise": -0.1}, "process_noise must be a standard deviation >= 0, got -0.1"),
        ({"process_noise": float("nan")}, "process_noise must be"),
        ({"state_limit": 0.0}, "state_limit must be positive, got 0.0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RolloutCost(**({"horizon": 5, "num_rollouts": 2} | changes))
