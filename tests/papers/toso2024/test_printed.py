"""What toso2024 prints for the Hessian is not it: errata T2 and T3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.papers.toso2024.printed import PrintedOracle, printed_hessian_vector_product
from tests.oracles.test_zeroth_order import TRAPS, check_finite, guarded
from tests.problems import random_problem
from tests.references import complex_step, long_gradient, relative_error

product = jax.jit(printed_hessian_vector_product)


def test_the_printed_hessian_is_right_as_a_quadratic_form_and_wrong_as_an_operator():
    problem = random_problem(4, 4, 2)
    printed = product(problem.K, problem.X, problem.task)
    exact = complex_step(lambda gain: long_gradient(gain, problem.task), problem.K, problem.X)
    quadratic_form = np.sum(exact * np.asarray(problem.X))
    assert relative_error(jnp.sum(printed * problem.X), quadratic_form) < 1e-13  # rounding
    assert relative_error(printed, exact) > 0.05
    # Not an artefact of one direction: symmetry fails as well.
    other = jnp.asarray(np.random.default_rng(51).standard_normal(problem.X.shape))
    turned = product(problem.K, other, problem.task)
    left, right = jnp.sum(other * printed), jnp.sum(turned * problem.X)
    assert abs(left - right) > 0.05 * max(abs(left), abs(right))


def test_the_error_of_the_printed_hessian_at_the_gain_of_the_paper():
    """Erratum T2: a few per cent in most directions, most of the norm in few."""
    task, K = jaxlqr.families.boeing(), jaxlqr.families.boeing_initial_gain()

    def both(X):
        exact = jaxlqr.closed_form.hessian_vector_product(K, X, task)
        difference = printed_hessian_vector_product(K, X, task) - exact
        return jnp.linalg.norm(difference) / jnp.linalg.norm(exact)

    errors = np.asarray(jax.jit(jax.vmap(both))(jax.random.normal(jax.random.key(0), (1000, 2, 4))))
    assert 0.04 < np.median(errors) < 0.047  # 4.3 %; its standard error is 0.1 %
    assert 0 < np.mean(errors > 0.79) < 0.02


def test_the_printed_hessian_estimates_something_else():
    """Erratum T3: -(n_u / (2 n_x)) tr(H) I in the place of H, with ||U||_F = r."""
    task = jaxlqr.families.boeing()
    gain = jaxlqr.optimal_gain(task)
    hessian = jax.jit(jax.hessian(jaxlqr.cost))(gain, task).reshape(8, 8)
    trace = float(jnp.trace(hessian))
    oracle = PrintedOracle(num_samples=20_000, radius=1e-3)
    vector = jnp.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    estimate = jax.jit(lambda key: oracle.hessian_vector_product(jaxlqr.cost, gain, vector, task, key))(
        jax.random.key(7)
    )
    # It is a 2 x 2 matrix applied from the left; the first two columns show it.
    printed = np.asarray(estimate[:, :2])
    predicted = -2 / (2 * 4) * trace
    # "Close to": with 20 000 samples the error of a mean is below 2 %, and (U U' - I) is -I only up to r^2.
    np.testing.assert_allclose(np.diag(printed), predicted, rtol=0.02)
    assert abs(printed[0, 1]) < 0.02 * abs(predicted)
    assert float(jnp.sum(vector * estimate)) < 0 < float(jnp.sum(vector.reshape(-1) * (hessian @ vector.reshape(-1))))


@pytest.mark.parametrize("params", [jnp.ones(3), {"w": jnp.ones((2, 2))}, jnp.ones((2, 2, 2))])
def test_the_printed_hessian_needs_one_matrix(params):
    oracle = PrintedOracle(num_samples=4, radius=0.1)

    def loss(params, task):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    with pytest.raises(ValueError, match=r"params must be one matrix \[n_u, n_x\].*use ZerothOrderOracle"):
        oracle.hessian_vector_product(loss, params, params, None, jax.random.key(2))


@pytest.mark.parametrize("rule", TRAPS)
def test_the_loss_is_never_differentiated(rule):
    check_finite(PrintedOracle(num_samples=8, radius=0.1), guarded(rule), jnp.array([[1.0, 2.0]]))
