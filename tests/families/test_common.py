"""Scalar families and families that share their dynamics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import check_common_dynamics, combinations, common_dynamics, scalar
from jaxlqr.lqr.closed_form import scalar_cost


def test_scalar_tasks_take_numbers_and_sequences():
    tasks = scalar(a=[0.5, 1.5], b=2.0, r=[1.0, 3.0], sigma0=0.25)
    assert tasks.A.ravel().tolist() == [0.5, 1.5]
    assert tasks.B.ravel().tolist() == [2.0, 2.0]
    assert tasks.R.ravel().tolist() == [1.0, 3.0]
    assert tasks.Sigma0.ravel().tolist() == [0.25, 0.25]
    assert scalar(a=0.5).A.shape == (1, 1, 1)


def test_scalar_cost_is_the_cost_with_its_derivatives():
    tasks = scalar(a=[0.9, 1.2], b=[1.3, 0.7], q=[1.7, 0.3], r=[0.6, 2.0], sigma0=[0.8, 1.1])
    gain = jnp.array([[0.7]])
    for order in range(3):
        first, second = scalar_cost, jaxlqr.cost
        for _ in range(order):
            first, second = (lambda k, t, f=f: jnp.sum(jax.grad(f)(k, t)) for f in (first, second))
        np.testing.assert_allclose(
            jax.vmap(first, (None, 0))(gain, tasks), jax.vmap(second, (None, 0))(gain, tasks), rtol=1e-9
        )


def test_scalar_cost_is_infinite_without_derivatives_outside():
    task = jaxlqr.make_task([[0.9]], [[1.0]])
    outside = jnp.array([[2.0]])
    assert scalar_cost(outside, task) == jnp.inf
    assert jnp.isnan(jax.grad(scalar_cost)(outside, task)[0, 0])
    assert jnp.isnan(jax.jvp(lambda k: scalar_cost(k, task), (outside,), (outside,))[1])


@pytest.mark.parametrize("arguments", [{"a": [1.0, 2.0], "q": [1.0, 2.0, 3.0]}, {"a": [[1.0]]}])
def test_scalar_refuses_lengths_that_differ(arguments):
    with pytest.raises(ValueError, match="sequences of one common length"):
        scalar(**arguments)


def test_common_dynamics_share_what_they_should():
    A, B = [[1.5, 0.0], [0.0, -2.0]], [[0.5], [0.5]]
    Q = combinations(jax.random.key(0), [np.eye(2), np.diag([1.0, 3.0])], 5)
    R = combinations(jax.random.key(1), [[[2.0]], [[0.1]]], 5)
    tasks = common_dynamics(A, B, Q, R, 0.1 * np.eye(2))
    check_common_dynamics(tasks)
    np.testing.assert_array_equal(tasks.A, np.broadcast_to(A, (5, 2, 2)))
    np.testing.assert_allclose(tasks.Q, Q)
    assert len(np.unique(np.asarray(tasks.R))) == 5


def test_combinations_are_uniform_between_their_limits():
    weights = np.asarray(combinations(jax.random.key(3), [[[1.0]]], 4000, low=2.0, high=6.0)).ravel()
    assert weights.min() > 2
    assert weights.max() < 6
    error = 4 / np.sqrt(12 * 4000)
    assert abs(weights.mean() - 4) < 5 * error < 0.05 * 4 + 0.1


def test_a_family_without_common_dynamics_is_named():
    with pytest.raises(ValueError, match=r"A of task 1 differs from that of task 0 by 0\.1"):
        check_common_dynamics(scalar(a=[1.0, 1.1]))
    with pytest.raises(ValueError, match=r"B of task 2 differs"):
        check_common_dynamics(scalar(a=1.0, b=[1.0, 1.0, 1.3]))


def test_costs_must_come_in_equal_numbers():
    with pytest.raises(ValueError, match="one matrix for each of M tasks"):
        common_dynamics([[1.0]], [[1.0]], np.ones((2, 1, 1)), np.ones((3, 1, 1)))
    with pytest.raises(ValueError, match="num_tasks must be at least 1"):
        combinations(jax.random.key(0), [np.eye(1)], 0)
