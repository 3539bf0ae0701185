"""The cheap gradient of J: against replays in NumPy, against the dense backward pass, and its work and memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlqr import SolveStatus
from jaxlqr.meta import gram_weighting, riccati_weighting
from jaxlqr.meta.trajectory_weighting import tow
from jaxlqr.meta.weight_trajectory import State, Training, gradient, objective, train

T, M, D, BETA = 4, 3, 5, jnp.array(0.7)
STEP, EPS_ROOT = 0.1, 1e-8
ADAM = optax.adam(STEP, eps=0.0, eps_root=EPS_ROOT)
SGD = optax.sgd(STEP)
ACTIONS = jnp.asarray(np.random.default_rng(3).uniform(0.1, 0.6, size=(T, M)))


def curved(params, task):
    return jnp.sum(jnp.log(jnp.cosh(params["x"] - task))) + params["y"] * jnp.sin(params["x"][0] * task[1])


def linear(params, task):
    return params["x"] @ task + params["y"] * task[0]


def setting(loss, optimizer, *, softmax=False, terminal=True, batch_size=None):
    rng = np.random.default_rng(0)
    batches = jnp.asarray(rng.normal(size=(T, M, D - 1)))
    params = {"x": jnp.asarray(rng.normal(size=D - 1)), "y": jnp.array(0.4)}
    return Training(loss, optimizer, softmax, terminal, batch_size), State(params, optimizer.init(params)), batches


def flat(tree, axes):
    """Rows of all leaves side by side, leading ``axes`` kept."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(*leaf.shape[:axes], -1) for leaf in leaves], axis=axes)


def replay(rows, worth, final, weights, *, adam):
    """Sum over steps of worth_t'x_t + final'x_T, x_t moved by an optimiser along fixed rows [T, M, D], in NumPy."""
    x, m, v, total = np.zeros(rows.shape[2]), 0.0, 0.0, 0.0
    for t in range(T):
        total += worth[t] @ x
        direction = weights[t] @ rows[t]
        if adam:
            m, v = 0.9 * m + 0.1 * direction, 0.999 * v + 0.001 * direction**2
            direction = m / (1 - 0.9 ** (t + 1)) / np.sqrt(v / (1 - 0.999 ** (t + 1)) + EPS_ROOT)
        x = x - STEP * direction
    return total + final @ x


@pytest.mark.parametrize("softmax", [False, True], ids=["free", "softmax"])
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_against_a_replay_with_rows_held_fixed(optimizer, softmax):
    training, state, batches = setting(curved, optimizer, softmax=softmax)
    U = np.asarray(ACTIONS)

    def weights_of(actions):
        if not softmax:
            return actions
        return np.exp(actions) / np.exp(actions).sum(axis=1, keepdims=True)

    states, last = train(training, state, ACTIONS, batches)
    per_task = jax.vmap(jax.grad(curved), (None, 0))
    rows = flat(jax.vmap(per_task)(states.params, batches), 2)
    final = flat(per_task(last.params, batches[-1]), 1).sum(axis=0)

    def surrogate(actions):
        path = replay(rows, rows.sum(axis=1), final, weights_of(actions), adam=optimizer is ADAM)
        return path + float(BETA) / 2 * np.sum((actions - 1 / M) ** 2)

    differences = np.zeros((T, M))
    for t in range(T):
        for i in range(M):
            change = np.zeros((T, M))
            change[t, i] = 1e-6
            differences[t, i] = (surrogate(U + change) - surrogate(U - change)) / 2e-6
    found = jax.jit(partial(gram_weighting.gram_gradient, training))(state, ACTIONS, batches, BETA)
    np.testing.assert_allclose(found, differences, rtol=0, atol=5e-8)
    assert np.abs(differences - float(BETA) * (U - 1 / M)).max() > 1e-2  # more than the prior's


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_where_losses_are_linear_it_is_exact_and_one_dense_backward_pass(optimizer):
    training, state, batches = setting(linear, optimizer)
    found = gram_weighting.gram_gradient(training, state, ACTIONS, batches, BETA)
    exact = jax.jit(partial(gradient, training))(state, ACTIONS, batches, BETA)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)
    # With the full V: linear losses have no curvature, and that of the prior is beta I.
    plan = riccati_weighting.plan(training, state, ACTIONS, batches, BETA, form="full")
    stages, _, _ = riccati_weighting.expand(plan.problem, plan.nominal, None, dynamics_curvature=None)
    assert stages.A.shape[1] >= D  # matrices of states
    _, moved = riccati_weighting.simulate_changes(stages, plan.policies)
    np.testing.assert_allclose(moved, -found / BETA, rtol=0, atol=1e-12)
    np.testing.assert_allclose(plan.slope, -jnp.sum(found**2) / BETA, rtol=1e-11)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_pass_is_the_training_run_and_its_cost_is_J(terminal):
    training, state, batches = setting(curved, ADAM, terminal=terminal)
    first = gram_weighting.first_rows(training, state, batches)
    found = gram_weighting.run(training, state, first, ACTIONS, batches, BETA)
    states, last = train(training, state, ACTIONS, batches)
    cost, _ = objective(training, state, ACTIONS, batches, BETA)
    np.testing.assert_allclose(found.cost, cost, rtol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found.last, last)
    met = jax.vmap(lambda params, batch: jax.vmap(partial(curved, params))(batch))(states.params, batches)
    np.testing.assert_allclose(found.losses, met, rtol=1e-12)
    assert found.rows["x"].shape == (T, M, D - 1)


def test_one_task_after_the_other_gives_the_same():
    together, state, batches = setting(curved, ADAM)
    for batch_size in (1, 2):
        one_by_one = together._replace(batch_size=batch_size)
        wanted = gram_weighting.gram_gradient(together, state, ACTIONS, batches, BETA)
        found = gram_weighting.gram_gradient(one_by_one, state, ACTIONS, batches, BETA)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


CALLS = []


def counted(params, task):
    jax.debug.callback(lambda: CALLS.append(1))
    return curved(params, task)


def test_one_direction_costs_two_runs_less_one_step():
    _, state, batches = setting(counted, ADAM)
    CALLS.clear()
    result = tow(counted, state.params, batches, optimizer=ADAM, beta=BETA, batch_size=1)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert int(result.status) == SolveStatus.SOLVED
    assert float(result.step_lengths[0]) == 1.0  # accepted at once
    assert len(CALLS) == (2 * T - 1) * M


def sizes(jaxpr):
    """Numbers of entries of everything that is computed, at any depth."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars if hasattr(variable.aval, "size"))
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                    yield from sizes(getattr(inner, "jaxpr", inner))


def largest(method, size):
    params = {"x": jnp.zeros(size), "y": jnp.zeros(())}
    run = partial(tow, curved, optimizer=ADAM, beta=BETA, method=method, terminal=True)
    return max(sizes(jax.make_jaxpr(run)(params, jnp.zeros((T, M, size))).jaxpr))


def test_memory_is_linear_in_the_parameters_and_without_square_arrays():
    for size in (100, 400):
        assert largest("gram", size) == T * M * size
        assert largest("reverse", size) <= T * M * size
    assert largest("ilqr", 50) > 50**2  # the check sees the square arrays of those that have them
