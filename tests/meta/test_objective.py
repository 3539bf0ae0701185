"""The meta-objective and its gradient, on LQR and on a loss that has nothing to do with control."""

from functools import partial

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import ExactOracle, ZerothOrderOracle, adapt, maml_gradient, maml_loss
from tests.references import relative_error

TASKS = jaxlqr.stack_tasks([jaxlqr.make_task([[0.9 + 0.02 * i, 0.3], [0.0, 0.8]], [[0.1], [1.0]]) for i in range(3)])
GAIN = jnp.array([[0.2, 0.3]])
NETWORK = {"w": jnp.array([[0.5, -0.3], [0.2, 0.9]]), "b": jnp.array([0.1, -0.2])}
POINTS = {"x": jnp.array([[1.0, 0.5], [-0.5, 1.0], [0.3, -1.2]]), "y": jnp.array([0.5, -0.3, 0.8])}
WEIGHTS = jnp.array([0.2, 0.5, 0.3])
KEY = jax.random.key(5)
# The contract between maml_gradient with the exact oracle and jax.grad of maml_loss.
CONTRACT = 1e-10


def regression(params, task):
    """A smooth two-layer regression with an unbalanced fourth power: nothing is quadratic."""
    output = jnp.sum(jnp.tanh(params["w"] @ task["x"] + params["b"]))
    return (output - task["y"]) ** 4 + 0.1 * jnp.sum(params["w"] ** 2)


PROBLEMS = {"lqr": (jaxlqr.cost, GAIN, TASKS, 0.003), "network": (regression, NETWORK, POINTS, 0.1)}


def assert_close(left, right, tolerance=CONTRACT):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for found, expected in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert relative_error(found, expected) < tolerance


def cases():
    """Three inner steps on LQR take ten seconds to compile; the network covers them in the default run."""
    for problem in PROBLEMS:
        for steps in range(4):
            marks = [pytest.mark.slow] if (problem, steps) == ("lqr", 3) else []
            yield pytest.param(problem, steps, marks=marks, id=f"{problem}-{steps}")


@pytest.mark.parametrize(("problem", "num_inner_steps"), list(cases()))
def test_gradient_is_the_gradient_of_the_objective(problem, num_inner_steps):
    loss, params, tasks, step = PROBLEMS[problem]
    for weights in (None, WEIGHTS) if problem == "network" else (WEIGHTS,):

        @jax.jit
        def both(params, weights=weights):
            expected = jax.grad(
                lambda p: maml_loss(
                    loss, p, tasks, inner_step_size=step, num_inner_steps=num_inner_steps, weights=weights
                )
            )(params)
            options = {"num_inner_steps": num_inner_steps, "weights": weights}
            return expected, maml_gradient(loss, params, tasks, inner_step_size=step, oracle=ExactOracle(), **options)

        expected, found = both(params)
        assert_close(found, expected)
        assert all(float(jnp.max(jnp.abs(leaf))) > 1e-3 for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_adaptation_matters_in_these_tests(problem):
    loss, params, tasks, step = PROBLEMS[problem]
    gradient = jax.jit(
        lambda step: jax.flatten_util.ravel_pytree(maml_gradient(loss, params, tasks, inner_step_size=step))[0]
    )
    assert relative_error(gradient(0.0), gradient(step)) > 1e-2


def test_objective_is_a_weighted_sum_of_adapted_losses():
    lanes = [jax.tree.map(lambda leaf, i=i: leaf[i], POINTS) for i in range(3)]
    adapted = NETWORK
    expected = 0.0
    for weight, task in zip(WEIGHTS, lanes, strict=True):
        adapted = NETWORK
        for _ in range(2):
            adapted = jax.tree.map(lambda p, g: p - 0.1 * g, adapted, jax.grad(regression)(adapted, task))
        expected += weight * regression(adapted, task)
        assert_close(adapt(regression, NETWORK, task, 0.1, num_inner_steps=2), adapted, 1e-13)  # rounding
    assert (
        relative_error(
            maml_loss(regression, NETWORK, POINTS, inner_step_size=0.1, num_inner_steps=2, weights=WEIGHTS), expected
        )
        < 1e-13
    )
    uniform = jnp.full(3, 1 / 3)
    np.testing.assert_allclose(
        maml_loss(regression, NETWORK, POINTS, inner_step_size=0.1),
        maml_loss(regression, NETWORK, POINTS, inner_step_size=0.1, num_inner_steps=1, weights=uniform),
        rtol=1e-14,
    )


def test_gradient_agrees_with_a_finite_difference_of_the_objective():
    direction = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=float)).reshape(leaf.shape), NETWORK)
    gradient = maml_gradient(regression, NETWORK, POINTS, inner_step_size=0.1, num_inner_steps=2)
    inner = sum(jnp.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    step = 1e-5
    upper, lower = (
        maml_loss(
            regression,
            jax.tree.map(lambda p, d, s=s: p + s * d, NETWORK, direction),
            POINTS,
            inner_step_size=0.1,
            num_inner_steps=2,
        )
        for s in (step, -step)
    )
    # step^2 = 1e-10 times a third derivative, rounding 1e-16 / step = 1e-11.
    assert relative_error(inner, (upper - lower) / (2 * step)) < 1e-7


def test_first_order_leaves_out_the_hessian():
    loss, params, tasks, step = PROBLEMS["network"]

    def plain(task):
        return jax.grad(loss)(adapt(loss, params, task, step, num_inner_steps=2), task)

    expected = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(plain)(tasks))
    found = maml_gradient(loss, params, tasks, inner_step_size=step, num_inner_steps=2, first_order=True)
    assert_close(found, expected)
    exact = maml_gradient(loss, params, tasks, inner_step_size=step, num_inner_steps=2)
    assert relative_error(found["w"], exact["w"]) > 1e-2


def test_the_value_in_first_order_has_the_derivative_of_first_order_maml():
    options = {"inner_step_size": 0.05, "num_inner_steps": 2, "first_order": True}
    slope = jax.jit(jax.grad(lambda p: maml_loss(regression, p, POINTS, **options)))(NETWORK)
    assert_close(slope, maml_gradient(regression, NETWORK, POINTS, **options), 1e-12)  # rounding
    whole = maml_loss(regression, NETWORK, POINTS, inner_step_size=0.05, num_inner_steps=2)
    np.testing.assert_allclose(maml_loss(regression, NETWORK, POINTS, **options), whole, rtol=1e-14)


def test_the_value_adapts_by_the_oracle_and_in_any_batches():
    oracle = ZerothOrderOracle(num_samples=10, radius=0.01)
    options = {"inner_step_size": 0.05, "oracle": oracle, "key": KEY, "perturbations": "shared"}
    value = maml_loss(regression, NETWORK, POINTS, **options)

    def one(task):
        slope = oracle.gradient(regression, NETWORK, task, KEY)
        return regression(jax.tree.map(lambda leaf, change: leaf - 0.05 * change, NETWORK, slope), task)

    np.testing.assert_allclose(value, np.mean(jax.vmap(one)(POINTS)), rtol=1e-12)  # rounding
    exact = maml_loss(regression, NETWORK, POINTS, inner_step_size=0.05)
    assert abs(value - exact) > 1e-6 * abs(exact)
    np.testing.assert_allclose(maml_loss(regression, NETWORK, POINTS, **options, batch_size=2), value, rtol=1e-12)


@partial(jax.jit, static_argnames="perturbations")
def zeroth(tasks, weights, **options):
    oracle = ZerothOrderOracle(num_samples=10, radius=0.01)
    return maml_gradient(
        regression, NETWORK, tasks, inner_step_size=0.001, oracle=oracle, key=KEY, weights=weights, **options
    )["w"]


def test_keys_are_folded_by_task_index():
    """With all weight on task i its estimate shows; it stays when other tasks are appended."""
    two = jax.tree.map(lambda leaf: leaf[:2], POINTS)
    for index in range(2):
        among_two = zeroth(two, jnp.eye(2)[index])
        among_three = zeroth(POINTS, jnp.eye(3)[index])
        # The same draws; the order of summation may differ. Cost differences are 1e-14 over a radius of 1e-2.
        assert relative_error(among_three, among_two) < 1e-9


def test_independent_perturbations_differ_between_tasks_and_shared_ones_do_not():
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 2), POINTS)
    for perturbations, alike in (("independent", False), ("shared", True)):
        first, second = (zeroth(same, jnp.eye(2)[i], perturbations=perturbations) for i in range(2))
        assert (relative_error(first, second) < 1e-12) == alike


def test_zeroth_order_estimate_tends_to_the_exact_gradient():
    exact = maml_gradient(regression, NETWORK, POINTS, inner_step_size=0.05)
    oracle = ZerothOrderOracle(num_samples=2000, radius=0.02)
    estimate = jax.jit(
        jax.vmap(lambda key: maml_gradient(regression, NETWORK, POINTS, inner_step_size=0.05, oracle=oracle, key=key))
    )(jax.random.split(KEY, 40))
    # Not unbiased, as the adapted parameters are random: 5 % of the gradient bounds bias and noise (1 % here) together.
    assert relative_error(jnp.mean(estimate["w"], axis=0), exact["w"]) < 0.05


def test_an_infeasible_adaptation_is_nan():
    assert bool(jnp.all(jnp.isnan(maml_gradient(jaxlqr.cost, GAIN, TASKS, inner_step_size=10.0))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": jnp.ones(2)}, r"weights must have shape \(3,\), one for each task, got \(2,\)"),
        ({"weights": jnp.ones((3, 1))}, r"weights must have shape \(3,\)"),
        ({"perturbations": "both"}, "perturbations must be .*got 'both'"),
        ({"oracle": ZerothOrderOracle(num_samples=2, radius=0.1)}, "key must be given for ZerothOrderOracle"),
        ({"tasks": jax.tree.map(lambda leaf: leaf[0], POINTS)}, "tasks must be a pytree .*stack_tasks"),
        ({"tasks": {"x": POINTS["x"], "y": POINTS["y"][:2]}}, r"tasks must be a pytree .*one common leading"),
        ({"tasks": jax.tree.map(lambda leaf: leaf[:0], POINTS)}, "tasks must hold at least one task"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    arguments = {"loss": regression, "params": NETWORK, "tasks": POINTS, "inner_step_size": 0.1} | changes
    with pytest.raises(ValueError, match=message):
        maml_gradient(**arguments)
    if "weights" in changes or "tasks" in changes:
        with pytest.raises(ValueError, match=message):
            maml_loss(**arguments)


def test_the_mean_over_drawn_tasks_is_the_population_objective_in_expectation():
    """wang2020, (2.6) and (2.7): three tasks that are drawn with the probabilities WEIGHTS, two at a time, exactly."""
    loss, params, tasks, step = PROBLEMS["network"]
    population = maml_loss(loss, params, tasks, inner_step_size=step, weights=WEIGHTS)
    drawn = jnp.array([(i, j) for i in range(3) for j in range(3)])
    empirical = jax.jit(
        jax.vmap(lambda pair: maml_loss(loss, params, jax.tree.map(lambda x: x[pair], tasks), inner_step_size=step))
    )
    expected = jnp.sum(WEIGHTS[drawn[:, 0]] * WEIGHTS[drawn[:, 1]] * empirical(drawn))
    assert float(expected) == pytest.approx(float(population), rel=1e-12)  # rounding
    assert float(jnp.std(empirical(drawn))) > 0.01 * float(population)  # the draws differ
