"""Infeasible tasks leave the derivatives of a mean alone: in both modes, at second order, under vmap and jit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import FeasibleLoss, mean_over_feasible
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost

TASKS = scalar(a=[0.9, 2.0, 1.0])  # the gain stabilises the first and the last
GOOD = scalar(a=[0.9, 1.0])
K, X = jnp.array([[0.6]]), jnp.array([[0.3]])


def by_where(K, tasks):
    costs = jax.vmap(FeasibleLoss(scalar_cost, otherwise=7.0), in_axes=(None, 0))(K, tasks)
    return jnp.mean(jnp.where(costs == 7.0, 0, costs))


def derivatives(function, K, X):
    """Value, gradient, directional derivative, and Hessian times X in three orders of modes."""
    gradient = jax.grad(function)
    return (
        function(K),
        gradient(K),
        jax.jvp(function, (K,), (X,))[1],
        jax.jvp(gradient, (K,), (X,))[1],
        jax.grad(lambda K: jnp.sum(gradient(K) * X))(K),
        jax.grad(lambda K: jax.jvp(function, (K,), (X,))[1])(K),
        jax.jvp(lambda K: jax.jvp(function, (K,), (X,))[1], (K,), (X,))[1],
    )


def close(found, wanted):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)  # rounding of sums in another order


def test_the_derivatives_are_those_of_the_feasible_tasks():
    wanted = derivatives(lambda K: jnp.mean(jax.vmap(scalar_cost, (None, 0))(K, GOOD)), K, X)
    assert all(np.all(np.isfinite(leaf)) for leaf in wanted)
    close(derivatives(partial(mean_over_feasible, scalar_cost, tasks=TASKS), K, X), wanted)
    close(jax.jit(partial(derivatives, partial(mean_over_feasible, scalar_cost, tasks=TASKS)))(K, X), wanted)
    close(derivatives(lambda K: 1.5 * by_where(K, TASKS), K, X), wanted)


def test_the_cost_itself_does_make_them_nan():
    # What is mended here: the where that everyone writes first.
    def naive(K):
        costs = jax.vmap(scalar_cost, (None, 0))(K, TASKS)
        return jnp.mean(jnp.where(jnp.isfinite(costs), costs, 0))

    assert np.isnan(jax.grad(naive)(K)).all()


def test_the_cost_by_its_equation_and_derivatives_in_the_task():
    tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[a, 0.1], [0.0, 0.5]], [[1.0], [1.0]]) for a in (0.9, 3.0)])
    gain, alone = jnp.array([[0.5, 0.1]]), jax.tree.map(lambda leaf: leaf[0], tasks)
    wanted = jax.grad(jaxlqr.cost, (0, 1))(gain, alone)
    found = jax.grad(mean_over_feasible, (1, 2))(jaxlqr.cost, gain, tasks)
    close(found[0], wanted[0])
    close(jax.tree.map(lambda leaf: leaf[0], found[1]), wanted[1])
    assert all(np.all(np.asarray(leaf[1]) == 0) for leaf in jax.tree.leaves(found[1]))


def test_lanes_of_a_batch_of_gains_do_not_meet():
    gains = jnp.array([[[0.6]], [[-5.0]], [[0.7]]])  # the middle one stabilises nothing
    slopes = jax.vmap(jax.grad(partial(mean_over_feasible, scalar_cost, tasks=TASKS)))(gains)
    assert np.isnan(slopes[1]).all()
    assert np.isfinite(slopes[::2]).all()
    values = jax.vmap(partial(mean_over_feasible, scalar_cost, tasks=TASKS))(gains)
    assert values[1] == jnp.inf
    assert (
        jax.vmap(FeasibleLoss(scalar_cost, otherwise=3.0), (0, None))(gains, jax.tree.map(lambda x: x[0], TASKS))[1]
        == 3.0
    )


def test_weights_count_the_feasible_tasks_alone():
    costs = jax.vmap(scalar_cost, (None, 0))(K, GOOD)
    found = mean_over_feasible(scalar_cost, K, TASKS, weights=jnp.array([1.0, 5.0, 3.0]))
    np.testing.assert_allclose(found, (costs[0] + 3 * costs[1]) / 4, rtol=1e-15)
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\), one for each task, got \(2,\)"):
        mean_over_feasible(scalar_cost, K, TASKS, weights=jnp.ones(2))
