"""Supervised tasks, risks, functional derivatives, networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import families
from jaxlqr.supervised import (
    Risk,
    frechet_derivative,
    linear,
    make_supervised_tasks,
    two_layer,
    two_layer_network,
)

M, N, D = 3, 8, 3
RISKS = {kind: Risk(kind=kind) for kind in ("squared", "logistic")}


def random_tasks(seed: int, kind: str):
    """Tasks on common inputs with targets, and probabilities, of their own; and two random parameters."""
    rng = np.random.default_rng(seed)
    x = np.broadcast_to(rng.normal(size=(N, D)), (M, N, D))
    y = np.sign(rng.normal(size=(M, N))) if kind == "logistic" else rng.normal(size=(M, N))
    tasks = make_supervised_tasks(x, y, probability=rng.dirichlet(np.ones(N), size=M))
    return tasks, jnp.asarray(rng.normal(size=D)), jnp.asarray(rng.normal(size=D))


def curvatures(risk, tasks, eta, thetas):
    hessian = jax.hessian(lambda theta: jaxlqr.maml_loss(risk, theta, tasks, inner_step_size=eta))
    return np.linalg.eigvalsh(jax.jit(jax.vmap(hessian))(thetas))[:, 0]


@pytest.mark.parametrize("eta", [0.1, 3.0, 100.0])
def test_with_squared_loss_and_linear_features_the_meta_objective_is_convex(eta):
    """Erratum W4: the adapted parameters are affine in theta, whatever the step."""
    tasks, _, _ = random_tasks(0, "squared")
    thetas = jax.random.normal(jax.random.key(0), (20, D))
    smallest = curvatures(RISKS["squared"], tasks, eta, thetas)
    assert np.all(smallest > -1e-9 * max(1.0, eta**2))


def test_with_logistic_loss_it_is_not_at_large_steps():
    """Erratum W4, and the family made for it: convex at a step of 0.1, not at 20."""
    tasks, thetas = families.logistic_nonconvex(), jnp.linspace(-6, 6, 121)[:, None]
    assert curvatures(RISKS["logistic"], tasks, 0.1, thetas).min() > 0
    assert curvatures(RISKS["logistic"], tasks, 20.0, thetas).min() < -0.005


@pytest.mark.parametrize("kind", ["squared", "logistic", "cross_entropy"])
def test_the_functional_derivative_is_the_derivative_along_functions(kind):
    risk, rng = Risk(kind=kind), np.random.default_rng(1)
    y = rng.integers(3, size=N) if kind == "cross_entropy" else np.sign(rng.normal(size=N))
    task = jax.tree.map(lambda leaf: leaf[0], make_supervised_tasks(rng.normal(size=(1, N, D)), y[None]))
    theta = jnp.asarray(rng.normal(size=(D, 3) if kind == "cross_entropy" else D))
    rho = jnp.asarray(rng.dirichlet(np.ones(N)))
    h = linear(theta, task.x)
    g = jnp.asarray(rng.normal(size=h.shape))
    step = 1e-6
    along = (risk.of_predictions(h + step * g, task) - risk.of_predictions(h - step * g, task)) / (2 * step)
    inner = jnp.tensordot(rho, (frechet_derivative(risk, theta, task, rho=rho) * g).reshape(N, -1).sum(1), 1)
    assert float(inner) == pytest.approx(float(along), rel=1e-7)


@pytest.mark.parametrize("kind", ["squared", "logistic", "cross_entropy"])
def test_a_risk_lies_above_its_tangent_which_touches_it(kind):
    """Proposition 4.3, over functions on the points and any inner product; (4.6): the remainder is of order two."""
    risk, rng, count = Risk(kind=kind), np.random.default_rng(2), 200
    classes = 3 if kind == "cross_entropy" else 1
    y = rng.integers(3, size=N) if kind == "cross_entropy" else np.sign(rng.normal(size=N))
    # Features that are the points' own indicators: the parameters are the values of the function.
    task = jax.tree.map(lambda leaf: leaf[0], make_supervised_tasks(np.eye(N)[None], y[None]))
    shape = (N, classes) if classes > 1 else (N,)

    def above(first, second, rho):
        gap = risk.of_predictions(first, task) - risk.of_predictions(second, task)
        slope = frechet_derivative(risk, second, task, rho=rho) * (first - second)
        return gap - jnp.sum(rho * slope.reshape(N, -1).sum(1))

    every = jax.jit(jax.vmap(above))
    first, second = (jnp.asarray(3 * rng.normal(size=(count, *shape))) for _ in range(2))
    rho = jnp.asarray(rng.dirichlet(np.ones(N), size=count))
    heights = np.asarray(every(first, second, rho))
    assert np.all(heights > 0)
    near, twice = (np.asarray(every(second + step * (first - second), second, rho)) for step in (1e-3, 2e-3))
    np.testing.assert_allclose(twice / near, 4, rtol=0.02)  # third order, in steps of 1e-3 times a few units


def test_a_network_starts_at_zero_and_is_linear_in_its_features():
    network = two_layer_network(jax.random.key(0), width=64, num_inputs=D, radius=0.5)
    x = jax.random.normal(jax.random.key(1), (N, D))
    np.testing.assert_allclose(network(network.initial, x), 0, atol=1e-15)
    weights = network.initial + 0.1 * jax.random.normal(jax.random.key(2), network.initial.shape)
    slopes = jax.jacobian(network)(weights, x).reshape(N, -1)
    np.testing.assert_allclose(network.features(weights, x), slopes, atol=1e-14)
    # Homogeneous of degree one: f = <grad f, W>.
    np.testing.assert_allclose(network.features(weights, x) @ weights.ravel(), network(weights, x), atol=1e-13)


def test_projection_ends_in_the_ball_and_leaves_its_points_alone():
    network = two_layer_network(jax.random.key(0), width=8, num_inputs=D, radius=0.5)
    far = network.initial + 1.0
    assert float(jnp.linalg.norm(network.project(far) - network.initial)) == pytest.approx(0.5)
    near = network.initial + 0.01
    np.testing.assert_array_equal(network.project(near), near)


def test_sinusoids_are_learned():
    tasks = families.sinusoid(jax.random.key(0), 6)
    result = jaxlqr.meta_train(
        Risk(kind="squared"),
        jnp.zeros(8),
        tasks,
        num_steps=30,
        objective=jaxlqr.Maml(inner_step_size=0.5),
        outer_step_size=0.3,
    )
    before, after = (
        jaxlqr.maml_loss(Risk(kind="squared"), p, tasks, inner_step_size=0.5) for p in (jnp.zeros(8), result.params)
    )
    assert float(after) < float(before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Risk(kind="hinge"), 'kind must be "squared", "logistic" or "cross_entropy"'),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: linear(jnp.ones(3), jnp.ones((5, 2))), r"features must have shape \[N, d\]"),
        (lambda: make_supervised_tasks(np.ones((2, 3)), np.ones(2)), r"x must have shape \[M, N, d\]"),
        (
            lambda: make_supervised_tasks(np.ones((1, 2, 1)), [[0, 1]], probability=[[0.5, 0.6]]),
            "must sum to one in each task",
        ),
        (
            lambda: make_supervised_tasks(np.ones((1, 2, 1)), [[0, 1]], probability=[0.5, 0.5]),
            "must have the shape of y",
        ),
        (lambda: make_supervised_tasks(np.full((1, 2, 1), np.nan), [[0, 1]]), "must be finite"),
        (lambda: two_layer_network(jax.random.key(0), 3, 2), "width must be even"),
        (lambda: two_layer_network(jax.random.key(0), 4, 2, radius=0.0), "radius must be positive"),
        (lambda: families.sinusoid(jax.random.key(0), 0), "num_tasks, num_points and num_features must be positive"),
        (lambda: two_layer(jnp.ones((3, 2)), jnp.ones((5, 2))), r"weights must have shape \[m, d\] with m even"),
        (lambda: two_layer(jnp.ones((4, 2)), jnp.ones((5, 3))), r"weights must have shape \[m, d\] with m even"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
