"""The meta-gradient: closed form, automatic differentiation of the generic core, and a complex step in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxlqr
from jaxlqr.mdp import ProximalLoss, make_tasks, mdp_loss, mdp_return, meta_gradient
from tests.mdp.settings import ETA, A, D, S, random_tasks, reference_objective

SEEDS = range(4)


def objective(theta, tasks):
    """The meta-objective (3.4), by the generic core."""
    return -jaxlqr.maml_loss(ProximalLoss(ETA), theta, tasks, inner_step_size=0.0, num_inner_steps=0)


# One compiled function for all seeds.
automatic = jax.jit(jax.grad(objective))
closed = jax.jit(meta_gradient)


def assert_equal(one, other):
    error = np.linalg.norm(np.asarray(one) - np.asarray(other))
    assert error <= 1e-10 * np.linalg.norm(np.asarray(other)) + 1e-14, error


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tabular", [False, True], ids=["linear", "tabular"])
def test_closed_form_equals_automatic_differentiation_of_the_generic_core(seed, tabular):
    theta, tasks = random_tasks(seed, tabular=tabular)
    assert_equal(closed(theta, tasks, ETA), automatic(theta, tasks))


@pytest.mark.parametrize("tabular", [False, True], ids=["linear", "tabular"])
def test_a_complex_step_through_numpy_agrees(tabular):
    theta, tasks = random_tasks(10, tabular=tabular)
    assert float(objective(theta, tasks)) == pytest.approx(reference_objective(theta, tasks, ETA), rel=1e-13)
    steps = 1e-30j * np.eye(theta.size).reshape(-1, *theta.shape)
    by_step = [reference_objective(np.asarray(theta) + step, tasks, ETA).imag / 1e-30 for step in steps]
    assert_equal(closed(theta, tasks, ETA).ravel(), by_step)


def test_weights_are_those_of_the_generic_core():
    theta, tasks = random_tasks(5)
    weights = jnp.array([0.5, 0.2, 0.3])
    loss = jax.grad(
        lambda t: (
            -jaxlqr.maml_loss(ProximalLoss(ETA), t, tasks, inner_step_size=0.0, num_inner_steps=0, weights=weights)
        )
    )
    assert_equal(meta_gradient(theta, tasks, ETA, weights=weights), loss(theta))


def test_hessian_vector_products_agree():
    theta, tasks = random_tasks(7)
    u, v = jax.random.normal(jax.random.key(1), (2, D))

    @jax.jit
    def products(theta, u, v):
        closed_form = jax.jvp(lambda t: meta_gradient(t, tasks, ETA), (theta,), (v,))[1]
        forward_over_reverse = jax.jvp(lambda t: jax.grad(objective)(t, tasks), (theta,), (v,))[1]
        reverse_over_reverse = jax.grad(lambda t: jnp.vdot(jax.grad(objective)(t, tasks), v))(theta)
        other = jax.jvp(lambda t: meta_gradient(t, tasks, ETA), (theta,), (u,))[1]
        return closed_form, forward_over_reverse, reverse_over_reverse, other

    Hv, forward, reverse, Hu = products(theta, u, v)
    assert_equal(forward, Hv)
    assert_equal(reverse, Hv)
    assert float(u @ Hv) == pytest.approx(float(v @ Hu), rel=1e-11)
    # And against a difference of gradients, whose error is that of the step squared.
    step = 1e-5
    difference = (closed(theta + step * v, tasks, ETA) - closed(theta - step * v, tasks, ETA)) / (2 * step)
    np.testing.assert_allclose(Hv, difference, rtol=1e-6, atol=1e-9)


def network(theta, inputs):
    """A two-layer network on features [S, A, d], energies [S, A]."""
    hidden, out = theta
    return jnp.tanh(inputs @ hidden) @ out


def test_energies_of_a_network_are_differentiated_through():
    _, linear = random_tasks(8)
    tasks = make_tasks(linear.mdp, features=linear.features[0], temperature=0.7, energy=network)
    keys = jax.random.split(jax.random.key(0))
    params = (jax.random.normal(keys[0], (D, 6)), jax.random.normal(keys[1], (6,)))
    one, other = automatic(params, tasks), meta_gradient(params, tasks, ETA)
    assert_equal(ravel_pytree(one)[0], ravel_pytree(other)[0])
    # Its linearisation at the same parameters, with features grad f, has the same gradient.
    flat, unravel = ravel_pytree(params)
    slopes = jax.jacobian(lambda w: network(unravel(w), linear.features[0]))(flat)
    offset = network(params, linear.features[0]) - slopes @ flat
    affine = make_tasks(linear.mdp, features=(slopes, offset), temperature=0.7, energy=lambda w, f: f[0] @ w + f[1])
    assert_equal(meta_gradient(flat, affine, ETA), ravel_pytree(other)[0])


def test_the_zeroth_order_oracle_takes_the_loss_unchanged():
    theta, tasks = random_tasks(9)
    oracle = jaxlqr.ZerothOrderOracle(num_samples=20_000, radius=1e-2)
    exact = np.asarray(automatic(theta, tasks))
    estimate = -np.asarray(
        jaxlqr.maml_gradient(
            ProximalLoss(ETA),
            theta,
            tasks,
            inner_step_size=0.0,
            oracle=oracle,
            key=jax.random.key(0),
            num_inner_steps=0,
        )
    )
    # 20,000 directions in 4 dimensions for each of 3 tasks: a standard error of about sqrt(4 / 20,000) of the norm.
    assert np.linalg.norm(estimate - exact) < 0.1 * np.linalg.norm(exact)


def test_the_return_is_a_loss_of_the_generic_core():
    """Plain MAML: one gradient step in theta, as in section 2.2; ascent is a negative step on the return."""
    theta, tasks = random_tasks(11)
    by_return = jaxlqr.maml_loss(mdp_return, theta, tasks, inner_step_size=-0.1)
    assert float(by_return) == pytest.approx(
        -float(jaxlqr.maml_loss(mdp_loss, theta, tasks, inner_step_size=0.1)), rel=1e-14
    )
    gradient = jaxlqr.maml_gradient(mdp_loss, theta, tasks, inner_step_size=0.1)
    assert_equal(gradient, jax.grad(lambda t: jaxlqr.maml_loss(mdp_loss, t, tasks, inner_step_size=0.1))(theta))


def test_meta_training_raises_the_return_after_adaptation():
    _, tasks = random_tasks(12, tabular=True)
    theta = jnp.zeros((S, A))
    result = jaxlqr.meta_train(
        ProximalLoss(ETA), theta, tasks, num_steps=20, objective=jaxlqr.Mean(), outer_step_size=5.0
    )
    assert float(objective(result.params, tasks)) > float(objective(theta, tasks)) + 0.01
    assert result.history["loss"].shape == (21, 3)


def test_policies_that_are_all_but_deterministic_give_finite_gradients():
    theta, tasks = random_tasks(13, tabular=True)
    assert np.all(np.isfinite(meta_gradient(400 * theta, tasks, 50.0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": jnp.ones(2)}, r"tasks must be a stack, with weights \[M\]"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    theta, tasks = random_tasks(0)
    with pytest.raises(ValueError, match=message):
        meta_gradient(theta, tasks, ETA, **options)
    with pytest.raises(ValueError, match="inner_step_size must be non-negative"):
        meta_gradient(theta, tasks, -1.0)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_change_nothing(batch_size):
    theta, tasks = random_tasks(14)
    weights = jnp.array([0.5, 0.2, 0.3])
    together, apart = (meta_gradient(theta, tasks, ETA, weights=weights, batch_size=c) for c in (None, batch_size))
    assert_equal(apart, together)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        meta_gradient(theta, tasks, ETA, batch_size=0)


def largest_intermediate(jaxpr) -> int:
    """Number of entries of the largest array in a program and the programs it calls."""
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [v.aval.size for v in equation.outvars if hasattr(v.aval, "size")]
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            program = getattr(inner, "jaxpr", inner)
            if hasattr(program, "eqns"):
                sizes.append(largest_intermediate(program))
    return max(sizes)


def test_no_matrix_of_state_action_pairs_is_formed():
    """Everything is at most of the size of P, S A S, with S A times S A ten times as large."""
    mdp = jaxlqr.families.garnet(jax.random.key(0), 1, 6, 10)
    task = jax.tree.map(lambda leaf: leaf[0], make_tasks(mdp))
    programs = (
        lambda theta: mdp_return(theta, task),
        jax.grad(ProximalLoss(ETA)),
        lambda theta: meta_gradient(theta, make_tasks(mdp), ETA),
    )
    arguments = (jnp.zeros((6, 10)), jnp.zeros((6, 10)), jnp.zeros((6, 10)))
    for program, theta in zip(programs, arguments, strict=True):
        closed_over = (theta, task) if program is programs[1] else (theta,)
        assert largest_intermediate(jax.make_jaxpr(program)(*closed_over).jaxpr) <= 6 * 10 * 6
    chain = jax.make_jaxpr(lambda pi: jnp.einsum("sat,tb->satb", task.mdp.P, pi))(jnp.zeros((6, 10)))
    assert largest_intermediate(chain.jaxpr) == 3600  # the test sees one
