"""TOW: its gradients against autodiff through the trajectory, its line search, and what the printed one does."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlqr
from jaxlqr import SolveStatus
from jaxlqr.meta import riccati_weighting
from jaxlqr.meta.gram_weighting import gram_gradient
from jaxlqr.meta.trajectory_weighting import tow
from jaxlqr.meta.weight_trajectory import (
    State,
    Training,
    final_batch,
    gradient,
    losses,
    objective,
    stage_cost,
    step,
    train,
)

T, M, BETA = 4, 3, jnp.array(0.7)


def loss(params, task):
    """Smooth, not quadratic, with one step of adaptation."""

    def risk(x):
        return jnp.sum(jnp.log(jnp.cosh(task["scale"] * (x - task["goal"]))))

    return risk(params - 0.1 * jax.grad(risk)(params))


def setting(optimizer, *, softmax=False, terminal=True):
    rng = np.random.default_rng(0)
    batches = {
        "goal": jnp.asarray(rng.normal(size=(T, M, 2))),
        "scale": jnp.asarray(rng.uniform(0.5, 2.0, size=(T, M, 1))),
    }
    params = jnp.array([0.8, -1.3])
    return Training(loss, optimizer, softmax, terminal), State(params, optimizer.init(params)), batches


ADAM = optax.adam(0.1, eps=0.0, eps_root=1e-8)
SGD = optax.sgd(0.1)
NOMINAL = jnp.full((T, M), 1 / M)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_gradients_against_differences_and_the_gram_one_by_its_cosine(optimizer):
    training, state, batches = setting(optimizer)
    cost = jax.jit(lambda U: objective(training, state, U, batches, BETA)[0])
    exact = jax.jit(lambda U: gradient(training, state, U, batches, BETA))(NOMINAL)
    steps = 1e-5 * jnp.eye(T * M).reshape(T * M, T, M)
    differences = (jax.vmap(lambda d: cost(NOMINAL + d))(steps) - jax.vmap(lambda d: cost(NOMINAL - d))(steps)) / 2e-5
    np.testing.assert_allclose(exact.ravel(), differences, rtol=0, atol=1e-8)
    assert float(jnp.abs(exact[-1]).max()) > 1e-3  # the terminal cost sees the last weights
    gram = jax.jit(partial(gram_gradient, training))(state, NOMINAL, batches, BETA)
    cosine = jnp.vdot(gram, exact) / jnp.linalg.norm(gram) / jnp.linalg.norm(exact)
    assert 0.9 < cosine < 1 - 1e-9


def test_gram_gradient_is_a_gram_matrix_for_gradient_descent():
    training, state, batches = setting(SGD, terminal=False)
    states, _ = train(training, state, NOMINAL, batches)
    rows = jax.vmap(lambda x, batch: jax.vmap(lambda task: jax.grad(loss)(x, task))(batch))(states.params, batches)
    totals = jnp.sum(rows, axis=1)
    later = jnp.cumsum(totals[::-1], axis=0)[::-1] - totals
    wanted = -0.1 * jnp.einsum("tmd,td->tm", rows, later)
    np.testing.assert_allclose(gram_gradient(training, state, NOMINAL, batches, BETA), wanted, atol=1e-14)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_backward_pass_is_one_gauss_newton_step_in_the_actions(optimizer):
    training, state, batches = setting(optimizer)
    actions = NOMINAL * jnp.linspace(0.7, 1.4, T * M).reshape(T, M)
    plan = riccati_weighting.plan(training, state, actions, batches, BETA, form="full")

    def outcomes(U):
        states, last = train(training, state, U.reshape(T, M), batches)
        return jnp.concatenate([states.params, last.params[None]])

    def step_loss(x, batch):
        return jnp.sum(jax.vmap(lambda task: loss(x, task))(batch))

    sensitivity = jax.jit(jax.jacfwd(outcomes))(actions.ravel())  # [T + 1, D, T M]
    reached = jax.jit(outcomes)(actions.ravel())
    at = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[-1:]]), batches)
    curvature = jax.jit(jax.vmap(jax.hessian(step_loss)))(reached, at)
    gauss_newton = BETA * jnp.eye(T * M) + jnp.einsum("tdi,tde,tej->ij", sensitivity, curvature, sensitivity)
    slopes = jax.jit(partial(gradient, training))(state, actions, batches, BETA).ravel()
    step = -jnp.linalg.solve(gauss_newton, slopes)
    # The policy's own actions on the linear model are those of the step.
    stages, _, by_costates = riccati_weighting.expand(plan.problem, plan.nominal, None, dynamics_curvature=None)
    np.testing.assert_allclose(by_costates.ravel(), slopes, rtol=0, atol=1e-10 * float(jnp.abs(slopes).max()))
    _, moved = riccati_weighting.simulate_changes(stages, plan.policies)
    np.testing.assert_allclose(moved.ravel(), step, rtol=0, atol=1e-12)
    np.testing.assert_allclose(plan.slope, slopes @ step, rtol=1e-10)


def test_diagonal_pass_is_the_full_one_for_a_single_parameter_only():
    def feedforward(form, shape):
        def risk(params, task):
            return jnp.sum(jnp.log(jnp.cosh(task["scale"] * (jnp.sum(params) + params - task["goal"]))))

        _, _, batches = setting(SGD)
        params = jnp.full(shape, 0.8)
        training, state = Training(risk, SGD, False, True), State(params, SGD.init(params))
        plan = jax.jit(lambda *given: riccati_weighting.plan(training, *given, form=form).policies.k)
        return plan(state, NOMINAL, batches, BETA)

    np.testing.assert_allclose(feedforward("diagonal", (1,)), feedforward("full", (1,)), rtol=1e-12, atol=1e-14)
    assert float(jnp.abs(feedforward("diagonal", (2,)) - feedforward("full", (2,))).max()) > 1e-3


METHODS = ("gram", "reverse", "newton_cg", "ilqr", "ilqr_diagonal")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_lowers_its_own_objective_and_says_so(method):
    training, state, batches = setting(ADAM)
    result = tow(loss, state.params, batches, optimizer=ADAM, beta=BETA, method=method, terminal=True, num_steps=3)
    assert int(result.status) == SolveStatus.SOLVED
    cost, last = objective(training, state, result.weights, batches, BETA)
    np.testing.assert_allclose(result.cost, cost, rtol=1e-13)
    np.testing.assert_allclose(result.params, last.params, rtol=1e-13)
    assert float(result.cost) < float(result.nominal_cost) - 1e-3
    assert float(result.weights.min()) >= 0


def test_softmax_weights_sum_to_one():
    _, state, batches = setting(SGD)
    result = tow(loss, state.params, batches, optimizer=SGD, beta=0.1, method="reverse", weights="softmax")
    np.testing.assert_allclose(jnp.sum(result.weights, axis=1), 1, rtol=1e-14)
    assert float(jnp.ptp(result.weights[0])) > 1e-3
    np.testing.assert_allclose(result.weights[-1], 1 / M, rtol=1e-12)  # without a terminal cost they never matter


def test_infinite_losses_are_a_status():
    task = jaxlqr.make_task([[1.2]], [[1.0]])
    batches = jax.tree.map(lambda leaf: leaf[None, None], task)
    result = tow(jaxlqr.cost, jnp.array([[0.0]]), batches, optimizer=SGD)
    assert int(result.status) == SolveStatus.COST_NOT_FINITE
    with pytest.raises(RuntimeError, match="does not stabilise"):
        result.check()


def test_memory_held_constant_halves_the_effect_of_the_weights_and_turns_it():
    """N5: the gradient of J with m and v of Adam taken as constants of the nominal trajectory."""
    training, fresh, batches = setting(ADAM)

    def memoryless(actions, state):
        now, total = state, jnp.zeros(())
        for t in range(T):
            batch = jax.tree.map(lambda leaf: leaf[t], batches)  # noqa: B023
            total = total + stage_cost(training, now.params, actions[t], batch, BETA)
            after = step(training, now, actions[t], batch)
            now = State(after.params, jax.lax.stop_gradient(after.memory))
        return total + jnp.sum(losses(training, now.params, final_batch(batches)))

    exact = jax.jit(lambda state: gradient(training, state, NOMINAL, batches, BETA))
    held = jax.jit(jax.grad(memoryless))
    found = []
    for state in (fresh, train(training, fresh, NOMINAL, batches)[1]):
        one, other = exact(state), held(NOMINAL, state)
        sizes = jnp.linalg.norm(one), jnp.linalg.norm(other)
        found.append([float(jnp.vdot(one, other) / sizes[0] / sizes[1]), float(sizes[1] / sizes[0])])
    np.testing.assert_allclose(found, [[0.659, 0.495], [0.946, 0.666]], rtol=0, atol=1e-3)  # as docs/errata.md says


@pytest.mark.parametrize(("max_backtracks", "length"), [(1, 0.0), (2, 0.5)])
def test_where_no_trial_is_accepted_training_goes_on_under_uniform_weights(max_backtracks, length):
    def quadratic(x, task):
        return task[1] * (x - task[0]) ** 2

    tasks = jnp.broadcast_to(jnp.array([[1.0, 4.0], [-1.0, 0.5]]), (5, 2, 2))
    optimizer = optax.sgd(0.45)
    result = tow(quadratic, jnp.array(0.0), tasks, optimizer=optimizer, beta=1e-3, max_backtracks=max_backtracks)
    assert float(result.step_lengths[0]) == length
    training = Training(quadratic, optimizer, False, False)
    nominal = train(training, State(jnp.array(0.0), optimizer.init(jnp.array(0.0))), jnp.full((5, 2), 0.5), tasks)[1]
    if length == 0:
        assert int(result.status) == SolveStatus.NOT_IMPROVED
        np.testing.assert_array_equal(result.weights, 0.5)
        np.testing.assert_allclose(result.params, nominal.params, rtol=1e-12)
        assert float(result.cost) == float(result.nominal_cost)
    else:
        assert int(result.status) == SolveStatus.SOLVED
        assert float(result.cost) < float(result.nominal_cost)
        assert abs(float(result.params - nominal.params)) > 1e-3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"beta": 0.0}, "beta must be a positive number"),
        ({"beta": -1.0}, "beta must be a positive number"),
        ({"method": "magic"}, "method must be one of"),
        ({"weights": "sorted"}, "weights must be"),
        ({"num_steps": 0}, "num_steps must be an integer"),
        ({"max_backtracks": 0}, "max_backtracks must be an integer"),
        ({"tasks": jnp.zeros((0, 3, 2))}, "T >= 1 mini-batches"),
        ({"tasks": jnp.zeros(3)}, "T >= 1 mini-batches"),
    ],
)
def test_bad_input_is_named(change, words):
    arguments = {"loss": loss, "params": jnp.zeros(2), "tasks": jnp.zeros((2, 3, 2)), "optimizer": SGD} | change
    with pytest.raises(ValueError, match=words):
        tow(**arguments)
