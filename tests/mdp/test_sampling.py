"""The meta-gradient from simulated trajectories: unbiased given the values, consistent with estimated ones."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.mdp import (
    ExactValues,
    MonteCarloValues,
    ProximalLoss,
    SampledProximalLoss,
    TemporalDifferenceValues,
    evaluate,
    meta_gradient,
    simulate,
    visitation,
)
from jaxlqr.mdp.simulation import draw_states
from tests.mdp.settings import ETA, A, S, random_tasks, task_of

HORIZON = 24  # 0.5^24 = 6e-8 of the returns is left out


def short_tasks(seed: int):
    theta, tasks = random_tasks(seed)
    return theta, replace(tasks, mdp=replace(tasks.mdp, gamma=jnp.array([0.2, 0.35, 0.5])))


def assert_unbiased(samples, exact, bias=0.05):
    """Within 5 standard errors, and those small enough to find a bias of 5 %; both along the exact vector."""
    unit = np.ravel(exact) / np.linalg.norm(exact)
    along = np.reshape(samples, (len(samples), -1)) @ unit / np.linalg.norm(exact)
    error = along.std(ddof=1) / np.sqrt(len(along))
    assert 5 * error < bias
    assert abs(along.mean() - 1) < 5 * error
    # And in every coordinate.
    errors = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - np.asarray(exact)), 5 * errors)


def sampled_gradients(loss, theta, tasks, count: int, seed: int = 1):
    """Estimates of the meta-gradient [count, ...] through the generic core."""

    def one(key):
        return -jaxlqr.maml_gradient(loss, theta, tasks, inner_step_size=0.0, key=key, num_inner_steps=0)

    # Millions of draws: here the optimising compiler, which the tests go without, pays.
    optimised = {"xla_backend_optimization_level": 2}
    estimates = jax.jit(lambda keys: jax.lax.map(one, keys), compiler_options=optimised)
    return np.asarray(estimates(jax.random.split(jax.random.key(seed), count)))


def test_the_meta_gradient_is_unbiased_given_the_values():
    theta, tasks = short_tasks(0)
    loss = SampledProximalLoss(step_size=ETA, num_visits=2000, horizon=HORIZON, values=ExactValues())
    assert_unbiased(sampled_gradients(loss, theta, tasks, 80), meta_gradient(theta, tasks, ETA))


@pytest.mark.slow
def test_through_a_network_it_is_unbiased_as_well():
    from jaxlqr.supervised import two_layer, two_layer_network

    _, tasks = short_tasks(1)
    tasks = replace(tasks, energy=two_layer)
    weights = 2 * two_layer_network(jax.random.key(3), width=6, num_inputs=4).initial
    weights = weights + 0.5 * jax.random.normal(jax.random.key(4), weights.shape)
    loss = SampledProximalLoss(step_size=ETA, num_visits=4000, horizon=HORIZON, values=ExactValues())
    samples = sampled_gradients(loss, weights, tasks, 200)
    assert_unbiased(samples, meta_gradient(weights, tasks, ETA))


@pytest.mark.slow
@pytest.mark.parametrize(
    "values", [MonteCarloValues(num_rollouts=4, horizon=HORIZON), TemporalDifferenceValues(num_sweeps=4)]
)
def test_values_from_few_samples_bias_it_and_from_many_do_not(values):
    theta, tasks = short_tasks(0)
    exact = np.asarray(meta_gradient(theta, tasks, ETA))
    name = "num_rollouts" if isinstance(values, MonteCarloValues) else "num_sweeps"

    def relative_bias(count):
        loss = SampledProximalLoss(
            step_size=ETA, num_visits=1000, horizon=HORIZON, values=replace(values, **{name: count})
        )
        samples = sampled_gradients(loss, theta, tasks, 300)
        return np.linalg.norm(samples.mean(axis=0) - exact) / np.linalg.norm(exact)

    few, many = relative_bias(2), relative_bias(300)
    assert many < 0.04  # the noise of 300 estimates, about 0.02
    assert few > 2 * many


def test_values_estimated_from_samples():
    theta, tasks = short_tasks(2)
    task = task_of(tasks, 2)
    pi = task.policy(theta)
    Q = np.asarray(evaluate(task.mdp, pi).Q)
    monte_carlo = MonteCarloValues(num_rollouts=50, horizon=HORIZON)
    draws = jax.jit(jax.vmap(lambda key: monte_carlo(key, task.mdp, pi)))(jax.random.split(jax.random.key(0), 200))
    assert_unbiased(np.asarray(draws), Q)

    def error(sweeps):
        keys = jax.random.split(jax.random.key(1), 20)
        told = jax.jit(jax.vmap(lambda key: TemporalDifferenceValues(num_sweeps=sweeps)(key, task.mdp, pi)))(keys)
        return np.sqrt(np.mean((np.asarray(told) - Q) ** 2))

    # The root of the mean squared error falls as one over the root of the number of sweeps: by 8 for 64 times as many.
    assert 4 < error(50) / error(3200) < 16


def test_the_value_of_the_loss_estimates_the_return():
    theta, tasks = short_tasks(3)
    task = task_of(tasks, 1)
    loss = SampledProximalLoss(step_size=ETA, num_visits=500, horizon=HORIZON, values=ExactValues())
    draws = jax.jit(jax.vmap(lambda key: loss.with_key(key)(theta, task)))(jax.random.split(jax.random.key(0), 100))
    assert_unbiased(np.asarray(draws)[:, None], np.asarray(ProximalLoss(ETA)(theta, task))[None])
    np.testing.assert_array_equal(jax.jit(loss)(theta, task), jax.jit(loss.with_key(jax.random.key(0)))(theta, task))


def test_trajectories_follow_the_process_and_the_policy():
    theta, tasks = short_tasks(4)
    task = task_of(tasks, 2)
    pi, gamma, count = task.policy(theta), float(task.mdp.gamma), 20_000
    starts = draw_states(jax.random.key(1), task.mdp.zeta, count)
    told = simulate(jax.random.key(0), task.mdp, pi, starts, HORIZON)
    # Discounted frequencies are the visitation; each is a mean of count terms between 0 and 1.
    weights = (1 - gamma) * gamma ** np.arange(HORIZON)[:, None] / count
    frequency = np.zeros((S, A))
    np.add.at(
        frequency, (np.asarray(told.states), np.asarray(told.actions)), np.broadcast_to(weights, (HORIZON, count))
    )
    np.testing.assert_allclose(frequency, visitation(task.mdp, pi), atol=5 * 0.5 / np.sqrt(count))
    np.testing.assert_array_equal(told.rewards, np.asarray(task.mdp.r)[told.states, told.actions])
    P = np.asarray(task.mdp.P)
    assert np.all(P[told.states[:-1], told.actions[:-1], told.states[1:]] > 0)
    first = simulate(jax.random.key(0), task.mdp, pi, starts, 2, actions=jnp.full(count, 1))
    assert np.all(np.asarray(first.actions)[0] == 1)


@pytest.mark.slow
def test_it_trains_like_any_other_loss():
    theta, tasks = short_tasks(5)
    loss = SampledProximalLoss(
        step_size=ETA, num_visits=400, horizon=HORIZON, values=MonteCarloValues(num_rollouts=50, horizon=HORIZON)
    )
    result = jaxlqr.meta_train(
        loss,
        theta,
        tasks,
        num_steps=20,
        objective=jaxlqr.Mean(),
        outer_step_size=1.0,
        key=jax.random.key(0),
    )
    exact = lambda t: float(jaxlqr.maml_loss(ProximalLoss(ETA), t, tasks, inner_step_size=0.0, num_inner_steps=0))  # noqa: E731
    assert exact(result.params) < exact(theta) - 0.01


@pytest.mark.slow
def test_the_zeroth_order_oracle_takes_the_sampled_loss_too():
    theta, tasks = short_tasks(0)
    loss = SampledProximalLoss(step_size=ETA, num_visits=100, horizon=HORIZON, values=ExactValues())
    oracle = jaxlqr.ZerothOrderOracle(num_samples=2000, radius=0.3)
    exact = np.asarray(meta_gradient(theta, tasks, ETA))
    estimate = -np.asarray(
        jaxlqr.maml_gradient(
            loss, theta, tasks, inner_step_size=0.0, oracle=oracle, key=jax.random.key(2), num_inner_steps=0
        )
    )
    assert estimate @ exact > 0.8 * np.linalg.norm(estimate) * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MonteCarloValues(num_rollouts=0, horizon=5), "num_rollouts must be an integer of at least 1, got 0"),
        (lambda: MonteCarloValues(num_rollouts=1, horizon=0), "horizon must be an integer of at least 1"),
        (lambda: TemporalDifferenceValues(num_sweeps=0), "num_sweeps must be an integer of at least 1"),
        (lambda: _loss(step_size=-1.0), "step_size must be non-negative"),
        (lambda: _loss(num_visits=0), "num_visits must be an integer of at least 1"),
        (lambda: _loss(horizon=2.5), "horizon must be an integer of at least 1, got 2.5"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def _loss(**options):
    return SampledProximalLoss(**({"step_size": 1.0, "num_visits": 5, "horizon": 5, "values": ExactValues()} | options))
