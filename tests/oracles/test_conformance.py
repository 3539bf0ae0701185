"""What every oracle promises: shapes, agreement of its methods for one key, transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr import ExactOracle, ZerothOrderOracle
from jaxlqr.oracles import Oracle

ORACLES = {
    "exact": ExactOracle(),
    "stein": ZerothOrderOracle(num_samples=16, radius=0.1),
    "propagating": ZerothOrderOracle(num_samples=16, radius=0.1, failed_queries="propagate"),
    "common numbers": ZerothOrderOracle(num_samples=16, radius=0.1, common_random_numbers=True),
}
PARAMS = {"w": jnp.array([[0.3, -0.2], [0.5, 0.1]]), "b": jnp.array(0.7)}
VECTOR = {"w": jnp.array([[1.0, 0.5], [-0.5, 2.0]]), "b": jnp.array(-1.0)}
TASK = jnp.array([1.0, 2.0])
KEY = jax.random.key(3)


def loss(params, task):
    return jnp.sum(jnp.tanh(params["w"] @ task + params["b"]) ** 2) + params["b"] ** 4


class Noisy:
    """A stochastic loss, so that keys must reach it."""

    def __call__(self, params, task):
        return self.with_key(jax.random.key(0))(params, task)

    def with_key(self, key):
        return lambda params, task: loss(params, task) * (1 + 0.1 * jax.random.normal(key))


each = pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)
both_losses = pytest.mark.parametrize("objective", [loss, Noisy()], ids=["plain", "stochastic"])


def assert_trees_equal(left, right, rtol=1e-13):  # the same arithmetic, perhaps fused differently
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-12), left, right)


@each
@both_losses
def test_methods_agree_with_expand_for_one_key(oracle: Oracle, objective):
    @jax.jit
    def everything(key):
        expansion = oracle.expand(objective, PARAMS, TASK, key)
        return {
            "expand": (expansion.gradient, expansion.hessian_vector_product(VECTOR)),
            "methods": (
                oracle.gradient(objective, PARAMS, TASK, key),
                oracle.hessian_vector_product(objective, PARAMS, VECTOR, TASK, key),
            ),
            "first order": oracle.expand(objective, PARAMS, TASK, key, second_order=False)[0],
            "failed": expansion.failed_queries,
        }

    found = everything(KEY)
    assert_trees_equal(found["expand"], found["methods"])
    assert_trees_equal(found["first order"], found["expand"][0])
    assert found["failed"].dtype == jnp.int32
    assert found["failed"] == 0
    # Pytrees like the parameters, and not trivially zero.
    for tree in found["methods"]:
        assert jax.tree.map(jnp.shape, tree) == jax.tree.map(jnp.shape, PARAMS)
        assert all(float(jnp.max(jnp.abs(leaf))) > 1e-3 for leaf in jax.tree.leaves(tree))
    assert_trees_equal(everything(KEY)["methods"], found["methods"], rtol=0)


@each
def test_first_order_expansion_has_no_hessian(oracle: Oracle):
    assert oracle.expand(loss, PARAMS, TASK, KEY, second_order=False).hessian_vector_product is None


@each
def test_hessian_map_is_linear_and_symmetric(oracle: Oracle):
    product = oracle.expand(loss, PARAMS, TASK, KEY).hessian_vector_product
    combined = product(jax.tree.map(lambda v, p: 2 * v - 3 * p, VECTOR, PARAMS))
    first, second = product(VECTOR), product(PARAMS)
    assert_trees_equal(combined, jax.tree.map(lambda a, b: 2 * a - 3 * b, first, second), rtol=1e-9)

    def inner(left, right):
        return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))

    np.testing.assert_allclose(inner(PARAMS, first), inner(VECTOR, second), rtol=1e-10)  # rounding


@each
def test_vmap_over_tasks_is_a_loop(oracle: Oracle):
    tasks = jnp.stack([TASK, -TASK, 0.5 * TASK])
    keys = jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(lambda task, key: oracle.gradient(loss, PARAMS, task, key)))(tasks, keys)
    for lane in range(3):
        alone = oracle.gradient(loss, PARAMS, tasks[lane], keys[lane])
        # 1e-10: differences of costs 1e-16 apart, divided by the radius of 0.1.
        assert_trees_equal(jax.tree.map(lambda leaf, lane=lane: leaf[lane], together), alone, rtol=1e-10)


@each
def test_an_oracle_is_a_pytree_that_can_be_an_argument_of_a_compiled_function(oracle: Oracle):
    leaves, structure = jax.tree.flatten(oracle)
    assert jax.tree.unflatten(structure, leaves) == oracle
    gradient = jax.jit(lambda oracle, key: oracle.gradient(loss, PARAMS, TASK, key))(oracle, KEY)
    assert_trees_equal(gradient, oracle.gradient(loss, PARAMS, TASK, KEY), rtol=1e-10)


def test_exact_oracle_is_autodiff():
    oracle = ExactOracle()
    assert_trees_equal(oracle.gradient(loss, PARAMS, TASK), jax.grad(loss)(PARAMS, TASK), rtol=0)
    product = jax.jvp(lambda p: jax.grad(loss)(p, TASK), (PARAMS,), (VECTOR,))[1]
    assert_trees_equal(oracle.hessian_vector_product(loss, PARAMS, VECTOR, TASK), product, rtol=0)


def test_different_keys_give_different_estimates():
    first, second = (ORACLES["stein"].gradient(loss, PARAMS, TASK, key)["w"] for key in (KEY, jax.random.key(4)))
    assert float(jnp.max(jnp.abs(first - second))) > 1e-3
