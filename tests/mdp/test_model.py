"""What makes a process: checks, shapes, and values against closed forms and brute force."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr import families
from jaxlqr.mdp import (
    ProximalLoss,
    evaluate,
    make_mdp,
    make_tasks,
    mdp_return,
    policy,
    proximal_step,
    stack_mdps,
    visitation,
    visitation_from,
)
from tests.mdp.settings import random_tasks, state_action_values, task_of, uniform

GOOD = {"P": np.full((2, 3, 2), 0.5), "r": np.zeros((2, 3)), "gamma": 0.9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"P": np.full((2, 3, 2), 0.6)}, r"P\[0, 0\] must sum to one, got 1.2"),
        ({"P": np.array([[[1.5, -0.5]] * 3] * 2)}, r"P must hold probabilities, got -0.5 at index \(0, 0, 1\)"),
        ({"P": np.full((2, 3), 0.5)}, r"P must have shape \[S, A, S\]"),
        ({"P": np.full((2, 3, 2), np.nan)}, "P must be finite, got nan"),
        ({"r": np.zeros((3, 2))}, r"r must have shape \[S, A\] = \(2, 3\), got \(3, 2\)"),
        ({"r": "cheap"}, "r must be an array of real numbers"),
        ({"gamma": 1.0}, "gamma must be one number strictly between 0 and 1, got 1.0"),
        ({"gamma": 0.0}, "gamma must be one number strictly between 0 and 1"),
        ({"gamma": [0.5, 0.5]}, "gamma must be one number"),
        ({"zeta": [0.5, 0.6]}, "zeta must sum to one, got 1.1"),
        ({"zeta": [1.5, -0.5]}, "zeta must hold probabilities"),
        ({"zeta": [1.0]}, r"zeta must have shape \[S\] = \(2,\)"),
    ],
)
def test_a_process_that_is_none_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_mdp(**(GOOD | change))


def test_validation_cannot_run_inside_jit():
    with pytest.raises(TypeError, match="make_mdp looks at the values of P"):
        jax.jit(lambda P: make_mdp(P, GOOD["r"], 0.9))(GOOD["P"])


def test_processes_of_different_sizes_are_not_stacked():
    with pytest.raises(ValueError, match=r"same numbers of states and actions, got \(S, A\) in \[\(1, 2\), \(1, 3\)\]"):
        stack_mdps([families.bandit([0.0, 1.0]), families.bandit([0.0, 1.0, 2.0])])
    with pytest.raises(ValueError, match="at least one process"):
        stack_mdps([])


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.inf, np.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be one positive finite number"):
        make_tasks(make_mdp(**GOOD), temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        policy(jnp.zeros((2, 3)), temperature=temperature)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2, 4), (2, 3, 0)])
def test_features_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"features must have shape \[S, A, d\]"):
        make_tasks(make_mdp(**GOOD), features=np.zeros(shape))


def test_parameters_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"features must have shape \[S, A, d\] and params \[d\]"):
        mdp_return(jnp.zeros(5), make_tasks(make_mdp(**GOOD), features=np.zeros((2, 3, 4))))
    with pytest.raises(ValueError, match=r"params must be a table \[S, A\]"):
        mdp_return(jnp.zeros(6), make_tasks(make_mdp(**GOOD)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": -1.0}, "step_size must be non-negative"),
        ({"step_size": 1.0, "num_steps": -1}, "num_steps must be an integer of at least 0"),
    ],
)
def test_a_proximal_loss_checks_its_options(options, message):
    with pytest.raises(ValueError, match=message):
        ProximalLoss(**options)


def test_values_agree_with_the_chain_on_state_action_pairs():
    theta, tasks = random_tasks(1)
    task = task_of(tasks, 1)
    pi = task.policy(theta)
    V, Q, A, J = evaluate(task.mdp, pi)
    mdp = jax.tree.map(np.asarray, task.mdp)
    np.testing.assert_allclose(Q, state_action_values(mdp.P, mdp.r, mdp.gamma, np.asarray(pi)), rtol=1e-12)
    np.testing.assert_allclose(V, (pi * Q).sum(1), rtol=1e-12)
    np.testing.assert_allclose((pi * A).sum(1), 0, atol=1e-15)
    # The return is the mean reward under visitation, equation (2.5).
    np.testing.assert_allclose(J, (visitation(task.mdp, pi) * task.mdp.r).sum(), rtol=1e-12)


@pytest.mark.parametrize(("gamma", "dtype", "tolerance"), [(1 - 1e-9, float, 1e-6), (0.9999, np.float32, 1e-2)])
def test_elimination_needs_no_exchange_of_rows_up_to_discounts_near_one(gamma, dtype, tolerance):
    """Of the transpose, whose diagonal dominates; and where that fails, since the policy is none, it is told."""
    goals, drawn = families.gridworld_goals(jax.random.key(0), 2, size=7), families.garnet(jax.random.key(1), 2, 49, 4)
    for mdps in (goals, drawn):
        mdp = jax.tree.map(lambda leaf: jnp.asarray(leaf[1], dtype), mdps)
        mdp = replace(mdp, gamma=jnp.asarray(gamma, dtype))
        greedy = jax.nn.one_hot(jnp.argmax(drawn.r[0], axis=1), 4, dtype=dtype)
        for pi in (greedy, jnp.full(mdp.r.shape, 0.25, dtype)):
            V = np.asarray(jax.jit(evaluate)(mdp, pi).V, float)
            chain = np.einsum("sa,sat->st", np.asarray(pi, float), np.asarray(mdp.P, float))
            rewards = (1 - float(mdp.gamma)) * (np.asarray(pi) * np.asarray(mdp.r)).sum(axis=1)
            expected = np.linalg.solve(np.eye(49) - float(mdp.gamma) * chain, rewards)
            np.testing.assert_allclose(V, expected, atol=tolerance)
    assert np.all(np.isnan(jax.jit(evaluate)(mdp, 30 * pi).V))


def test_visitation_is_the_discounted_sum_it_is_defined_as():
    theta, tasks = random_tasks(2)
    task = task_of(tasks, 0)
    pi, mdp = task.policy(theta), jax.tree.map(np.asarray, task.mdp)
    chain = np.einsum("sa,sat->st", pi, mdp.P)

    def summed(states):
        total = np.zeros(len(states))
        for t in range(400):  # 0.95^400 = 1e-9 of what is left out
            total = total + (1 - mdp.gamma) * mdp.gamma**t * states
            states = states @ chain
        return total[:, None] * pi

    np.testing.assert_allclose(visitation(task.mdp, pi), summed(mdp.zeta), atol=1e-8)
    np.testing.assert_allclose(visitation_from(task.mdp, pi, 2, 1), summed(mdp.P[2, 1]), atol=1e-8)


def test_visitation_from_is_related_to_visitation_by_one_step():
    """sigma = (1 - gamma) zeta pi + gamma sum_{s, a} sigma(s, a) ... read backwards: the start's own share is left."""
    theta, tasks = random_tasks(3)
    task = task_of(tasks, 2)
    pi, gamma = task.policy(theta), task.mdp.gamma
    first = task.mdp.zeta[:, None] * pi
    after = sum(first[s, a] * visitation_from(task.mdp, pi, s, a) for s in range(5) for a in range(3))
    np.testing.assert_allclose(visitation(task.mdp, pi), (1 - gamma) * first + gamma * after, rtol=1e-12)


def test_the_proximal_step_maximises_its_objective():
    theta, tasks = random_tasks(4)
    task, eta = task_of(tasks, 0), 2.0
    pi = task.policy(theta)
    Q = evaluate(task.mdp, pi).Q

    def objective(new):
        return jnp.sum(new * Q - new * jnp.log(new / pi) / eta)

    best = proximal_step(task.mdp, pi, eta)
    noise = jax.random.normal(jax.random.key(0), (100, *pi.shape))
    others = jax.nn.softmax(jnp.log(best)[None] + 0.1 * noise, axis=-1)
    assert float(objective(best)) > float(jnp.max(jax.vmap(objective)(others)))
    assert evaluate(task.mdp, best).J > evaluate(task.mdp, pi).J


def test_an_impossible_action_stays_impossible_and_harms_no_derivative():
    mdp = families.bandit([0.0, 0.5, 1.0])
    gradient = jax.grad(lambda pi: evaluate(mdp, proximal_step(mdp, pi, 1.0)).J)(jnp.array([[0.5, 0.5, 0.0]]))
    assert proximal_step(mdp, jnp.array([[0.5, 0.5, 0.0]]), 1.0)[0, 2] == 0
    assert np.all(np.isfinite(gradient))


def test_uniform_policy_on_a_symmetric_bandit():
    mdp = families.bandit([0.0, 1.0], gamma=0.9)
    assert float(evaluate(mdp, uniform(mdp)).J) == pytest.approx(0.5, abs=1e-15)
