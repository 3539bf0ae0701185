"""Autodiff, the closed forms and extended precision agree on first and second derivatives, over the problem bank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import closed_form
from tests.problems import bank, boeing_problem, by_name, random_problem, scalar_problem
from tests.references import complex_step, long_gradient, relative_error, slope

# The contract of the library for autodiff against closed forms; in fact they agree to 1e-14.
CONTRACT = 1e-9
EPS = np.finfo(float).eps


@jax.jit
def derivatives(K, X, task):
    """Every derivative under test, in one compiled function."""

    def cost(gain):
        return jaxlqr.cost(gain, task)

    return {
        "gradient": jax.grad(cost)(K),
        "slope": jax.jvp(cost, (K,), (X,))[1],
        "forward-over-reverse": jax.jvp(jax.grad(cost), (K,), (X,))[1],
        "reverse-over-reverse": jax.grad(lambda gain: jnp.sum(jax.grad(cost)(gain) * X))(K),
        "reverse-over-forward": jax.grad(lambda gain: jax.jvp(cost, (gain,), (X,))[1])(K),
        "public": jaxlqr.hessian_vector_product(K, X, task),
        "closed gradient": closed_form.gradient(K, task),
        "closed product": closed_form.hessian_vector_product(K, X, task),
        "closed form": closed_form.hessian_quadratic_form(K, X, task),
    }


ORDERS = ("forward-over-reverse", "reverse-over-reverse", "reverse-over-forward", "public")


def long_product(problem):
    return complex_step(lambda gain: long_gradient(gain, problem.task), problem.K, problem.X)


def attainable(problem) -> float:
    """Relative accuracy that rounding A - B K at eps leaves, with a factor for the cube in the second derivative."""
    radius = float(jaxlqr.spectral_radius(problem.K, problem.task))
    return max(1e-11, 30 * EPS / (1 - radius))


@pytest.mark.parametrize("problem", bank(), ids=by_name)
def test_gradient_agrees_with_the_closed_form_and_extended_precision(problem):
    found = derivatives(problem.K, problem.X, problem.task)
    expected = long_gradient(problem.K, problem.task)
    assert relative_error(found["gradient"], found["closed gradient"]) < CONTRACT
    assert relative_error(found["gradient"], expected) < attainable(problem)
    # Forward mode; the scale is that of the gradient, since X may be nearly orthogonal to it.
    inner = float(np.sum(expected * np.asarray(problem.X)))
    scale = np.linalg.norm(expected.astype(float)) * np.linalg.norm(problem.X)
    assert abs(found["slope"] - inner) < attainable(problem) * scale


@pytest.mark.parametrize("problem", bank(), ids=by_name)
def test_three_orders_of_hessian_vector_product_agree_with_both_closed_forms(problem):
    found = derivatives(problem.K, problem.X, problem.task)
    for order in ORDERS:
        assert relative_error(found[order], found["closed product"]) < CONTRACT, order
        assert relative_error(jnp.sum(found[order] * problem.X), found["closed form"]) < CONTRACT, order
    for order in (*ORDERS, "closed product"):
        assert relative_error(found[order], long_product(problem)) < attainable(problem), order


@pytest.mark.parametrize("problem", bank(), ids=by_name)
def test_hessian_is_symmetric(problem):
    other = jnp.asarray(np.random.default_rng(50).standard_normal(problem.X.shape))
    left = jnp.sum(other * derivatives(problem.K, problem.X, problem.task)["public"])
    product = derivatives(problem.K, other, problem.task)["public"]
    # Relative to the norms: <u, Hv> itself may nearly vanish.
    scale = jnp.linalg.norm(product) * jnp.linalg.norm(problem.X)
    assert abs(left - jnp.sum(product * problem.X)) < CONTRACT * scale


@pytest.mark.parametrize("problem", [random_problem(4, 4, 2), boeing_problem()], ids=by_name)
def test_taylor_remainders_vanish_at_the_right_order(problem):
    # Steps where the next order dominates rounding: the remainder of order three is still 1e-10 of the value.
    found = derivatives(problem.K, problem.X, problem.task)
    steps = 10.0 ** -np.array([2.5, 3.0, 3.5]) * (0.05 if problem.name == "boeing" else 1.0)
    values = [jaxlqr.cost(problem.K + h * problem.X, problem.task) for h in (0.0, *steps)]
    first = [abs(v - values[0] - h * found["slope"]) for h, v in zip(steps, values[1:], strict=True)]
    second = [
        abs(v - values[0] - h * found["slope"] - h**2 / 2 * found["closed form"])
        for h, v in zip(steps, values[1:], strict=True)
    ]
    assert abs(slope(steps, first) - 2) < 0.1
    assert abs(slope(steps, second) - 3) < 0.1


def test_jax_hessian_works_and_matches_products_with_basis_matrices():
    problem = random_problem(4, 4, 2)
    hessian = jax.jit(jax.hessian(jaxlqr.cost))(problem.K, problem.task)
    assert hessian.shape == (2, 4, 2, 4)
    product = jnp.einsum("abcd,cd->ab", hessian, problem.X)
    assert relative_error(product, long_product(problem)) < 1e-12
    dense = hessian.reshape(8, 8)
    assert relative_error(dense, dense.T) < 1e-12


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_third_derivative_agrees_with_a_difference_of_second_derivatives(mode):
    problem = scalar_problem()
    one = problem.X

    def along(function):
        if mode == "forward":
            return lambda gain: jax.jvp(function, (gain,), (one,))[1]
        return lambda gain: jnp.sum(jax.grad(function)(gain) * one)

    third = jax.jit(along(along(along(lambda gain: jaxlqr.cost(gain, problem.task)))))(problem.K)
    step = 1e-4
    upper, lower = (
        complex_step(lambda gain: long_gradient(gain, problem.task), problem.K + sign * step, one) for sign in (1, -1)
    )
    # A central difference in extended precision errs by step^2 = 1e-8 times a fifth derivative.
    assert relative_error(third, (np.sum(upper) - np.sum(lower)) / (2 * step)) < 1e-6
