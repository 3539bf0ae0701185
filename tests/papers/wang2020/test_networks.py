"""Networks: the theorems at any width, the ball by projection, drift and linearisation, and the tangent kernel."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlqr
from jaxlqr.mdp import ProximalLoss, meta_gradient
from jaxlqr.papers.wang2020.theory import (
    best_in_ball,
    gap_densities,
    kernel_features,
    linearisation,
    tangent_kernel,
    theorem_3_5,
    theorem_4_4,
)
from jaxlqr.supervised import Risk, make_supervised_tasks, two_layer, two_layer_network
from jaxlqr.training import within_ball
from tests.mdp.settings import ETA, A, D, S, random_tasks


def pair(width: int, inputs: int, seed: int = 0):
    """A network and two points near its initialisation."""
    network = two_layer_network(jax.random.key(seed), width, inputs)
    noise = jax.random.normal(jax.random.key(seed + 1), (2, width, inputs))
    return network, network.initial + noise[0], network.initial + noise[1]


@pytest.mark.parametrize("width", [2, 64])
def test_policies_of_any_width(width):
    """Corrected gradient and theorem with phi = grad f at omega, against autodiff of the generic core."""
    _, tasks = random_tasks(6)
    tasks = replace(tasks, energy=two_layer)
    _, omega, other = pair(width, D)

    def objective(weights):
        return -jaxlqr.maml_loss(ProximalLoss(ETA), weights, tasks, inner_step_size=0.0, num_inner_steps=0)

    values = jax.jit(jax.vmap(objective))(jnp.stack([omega, other]))
    if values[1] < values[0]:
        omega, other, values = other, omega, values[::-1]
    automatic, closed = jax.jit(lambda w: (jax.grad(objective)(w), meta_gradient(w, tasks, ETA)))(omega)
    assert np.linalg.norm(automatic - closed) <= 1e-10 * np.linalg.norm(automatic) + 1e-14
    direction = jax.random.normal(jax.random.key(9), omega.shape)
    along = jax.jit(lambda w, v: jax.jvp(jax.grad(objective), (w,), (v,))[1])(omega, direction)
    by_closed_form = jax.jit(lambda w, v: jax.jvp(lambda u: meta_gradient(u, tasks, ETA), (w,), (v,))[1])
    assert np.linalg.norm(along - by_closed_form(omega, direction)) <= 1e-9 * np.linalg.norm(along)

    N, density = gap_densities(other, omega, tasks, ETA)
    assert abs(float(N.sum() - (values[1] - values[0]))) < 1e-10
    network = two_layer_network(jax.random.key(0), width, D)
    phi = network.features(omega, tasks.features[0]).reshape(S * A, -1)
    np.testing.assert_allclose(density.ravel() @ phi, closed.ravel(), rtol=1e-9, atol=1e-13)
    bound = jax.jit(theorem_3_5, static_argnames="form")
    for form in ("corrected", "sharp", "l1"):
        told = bound(other, omega, tasks, ETA, 10.0, form=form)
        assert float(told.bound) >= float(told.gap) > 0


@pytest.mark.parametrize("kind", ["squared", "logistic"])
@pytest.mark.parametrize("width", [2, 64])
def test_theorem_4_4_for_networks_of_any_width(kind, width):
    rng = np.random.default_rng(2)
    x = np.broadcast_to(rng.normal(size=(7, 3)), (3, 7, 3))
    y = np.sign(rng.normal(size=(3, 7))) if kind == "logistic" else rng.normal(size=(3, 7))
    tasks = make_supervised_tasks(x, y, probability=rng.dirichlet(np.ones(7), size=3))
    _, omega, other = pair(width, 3)
    risk = Risk(kind=kind, predictor=two_layer)

    def objective(weights):
        return jaxlqr.maml_loss(risk, weights, tasks, inner_step_size=0.3)

    values, slope = jax.jit(lambda u, v: ((objective(u), objective(v)), jax.grad(objective)(u)))(omega, other)
    told = jax.jit(theorem_4_4, static_argnames=("risk", "form"))(
        other, omega, tasks, 0.3, 10.0, risk=risk, form="task_indexed"
    )
    assert float(told.gap) == pytest.approx(float(values[0] - values[1]), rel=1e-10)
    assert float(told.epsilon) == pytest.approx(float(jnp.linalg.norm(slope)), rel=1e-10)
    assert float(told.bound) >= float(told.gap)
    with pytest.raises(ValueError, match="the printed form is for the linear predictor"):
        theorem_4_4(other, omega, tasks, 0.3, 10.0, risk=risk)


def test_training_stays_in_the_ball():
    _, tasks = random_tasks(6)
    tasks = replace(tasks, energy=two_layer)
    network = two_layer_network(jax.random.key(0), 32, D)
    result = jaxlqr.meta_train(
        ProximalLoss(ETA),
        network.initial,
        tasks,
        num_steps=30,
        objective=jaxlqr.Mean(),
        optimizer=within_ball(optax.adam(0.1), radius=0.5),
    )
    assert float(jnp.linalg.norm(result.params - network.initial)) == pytest.approx(0.5)
    assert result.history["loss"][-1].mean() < result.history["loss"][0].mean() - 1e-3
    with pytest.raises(ValueError, match="radius must be positive and finite"):
        within_ball(optax.sgd(1.0), radius=0.0)


def test_projected_steps_minimise_over_the_ball():
    """On a quadratic the minimum in a ball is the nearest point of the ball to the minimiser."""
    target = jnp.array([3.0, 4.0])
    optimizer = within_ball(optax.sgd(0.5), radius=1.0)
    params, state = jnp.zeros(2), optimizer.init(jnp.zeros(2))
    for _ in range(10):
        updates, state = optimizer.update(params - target, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, [0.6, 0.8], rtol=1e-12)


def test_drift_and_linearisation_error_against_their_definitions():
    network, weights, _ = pair(16, 3)
    x, rho = jax.random.normal(jax.random.key(5), (6, 3)), jnp.full(6, 1 / 6)
    slopes = jax.jacobian(lambda w: two_layer(w, x))
    moved, first = slopes(weights).reshape(6, -1), slopes(network.initial).reshape(6, -1)
    told = linearisation(network, weights, x, rho)
    assert float(told.drift) == pytest.approx(np.sqrt(np.mean(((moved - first) ** 2).sum(1))), rel=1e-12)
    error = two_layer(weights, x) - first @ (weights - network.initial).ravel()
    assert float(told.error) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)


def test_the_tangent_kernel_is_the_limit_of_the_features():
    x = jax.random.normal(jax.random.key(0), (5, 3))
    kernel = np.asarray(tangent_kernel(x))
    network = two_layer_network(jax.random.key(1), 400_000, 3)
    phi = np.asarray(network.features(network.initial, x))
    # A mean of 200,000 terms below |x| |x'|: 5 standard errors.
    largest = np.linalg.norm(x, axis=1)
    np.testing.assert_array_less(np.abs(phi @ phi.T - kernel), 5 * 0.5 * np.outer(largest, largest) / np.sqrt(2e5))
    root = kernel_features(jnp.asarray(kernel))
    np.testing.assert_allclose(root @ root.T, kernel, atol=1e-12)
    target, rho = jnp.arange(5.0), jnp.full(5, 0.2)
    wide, limit = (float(best_in_ball(f, target, rho, 3.0).residual) for f in (jnp.asarray(phi), root))
    assert wide == pytest.approx(limit, rel=0.02)
    assert limit > 0.1  # at a fixed radius the limit is not zero
    assert float(tangent_kernel(jnp.zeros((1, 2)))[0, 0]) == 0
    assert float(tangent_kernel(x)[2, 2]) == pytest.approx(float(x[2] @ x[2]) / 2)
