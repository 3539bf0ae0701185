"""Derivatives in the gain and in every array of the task, against finite differences, in both modes, to order two."""

import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads

import jaxlqr
from tests.problems import random_problem

ARRAYS = ("A", "B", "Q", "R", "Sigma0")
PROBLEM = random_problem(20, 3, 2, radius=0.7)
# check_grads differentiates numerically with steps of 1e-4 or so; its float64 default (1e-5) suits O(1) values, and
# the cost here is O(10) with third derivatives of O(1e3).
TOLERANCE = 1e-4


def cost_of(gain, *leaves):
    return jaxlqr.cost(gain, jaxlqr.LQRTask(*leaves))


def leaves():
    return tuple(getattr(PROBLEM.task, name) for name in ARRAYS)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_cost_in_the_gain_and_all_arrays_at_once(mode):
    check_grads(jax.jit(cost_of), (PROBLEM.K, *leaves()), order=2, modes=[mode], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("mode", ["fwd", pytest.param("rev", marks=pytest.mark.slow)])
def test_optimal_gain_in_all_arrays_at_once(mode):
    def gain(*leaves):
        return jaxlqr.optimal_gain(jaxlqr.LQRTask(*leaves, PROBLEM.task.Sigma0))

    check_grads(jax.jit(gain), leaves()[:4], order=2, modes=[mode], atol=TOLERANCE, rtol=TOLERANCE)


def test_no_leaf_of_the_gradient_is_zero():
    gradients = jax.grad(cost_of, argnums=range(6))(PROBLEM.K, *leaves())
    for name, gradient in zip(("K", *ARRAYS), gradients, strict=True):
        assert float(jnp.max(jnp.abs(gradient))) > 1e-2, name


def test_the_gradient_in_the_task_is_a_task():
    gradient = jax.grad(jaxlqr.cost, argnums=1)(PROBLEM.K, PROBLEM.task)
    assert isinstance(gradient, jaxlqr.LQRTask)
    assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, PROBLEM.task)
