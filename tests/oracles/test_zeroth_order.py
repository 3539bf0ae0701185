"""The zeroth-order oracle: it queries and never differentiates; what it does with failed queries and bad settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_batching import custom_vmap

import jaxlqr
from jaxlqr import ZerothOrderOracle, maml_gradient
from tests.problems import random_problem

KEY = jax.random.key(2)


@jax.custom_jvp
def _no_forward(x):
    return jnp.sum(x**2)


@_no_forward.defjvp
def _(primals, tangents):
    raise AssertionError("the loss was differentiated in forward mode")


@jax.custom_vjp
def _no_reverse(x):
    return jnp.sum(x**2)


def _raise(*_):
    raise AssertionError("the loss was differentiated in reverse mode")


_no_reverse.defvjp(_raise, _raise)


def guarded(rule):
    def loss(params, task):
        return task * rule(params)

    return loss


def check_finite(oracle, loss, params):
    """The oracle estimates both derivatives, and the meta-gradient from them, without an error."""
    oracle.gradient(loss, params, 2.0, KEY)
    oracle.hessian_vector_product(loss, params, params, 2.0, KEY)
    meta = jax.jit(
        lambda p: maml_gradient(loss, p, jnp.array([1.0, 2.0]), inner_step_size=0.01, oracle=oracle, key=KEY)
    )
    assert bool(jnp.all(jnp.isfinite(meta(params))))


#: Functions of the parameters that raise AssertionError where they are differentiated.
TRAPS = [_no_forward, _no_reverse]


@pytest.mark.parametrize("rule", TRAPS)
def test_the_loss_is_never_differentiated(rule):
    loss, params = guarded(rule), jnp.array([[1.0, 2.0]])
    with pytest.raises(AssertionError, match="was differentiated"):  # the trap works
        jax.grad(loss)(params, 2.0)
    check_finite(ZerothOrderOracle(num_samples=8, radius=0.1), loss, params)
    with pytest.raises(AssertionError, match="was differentiated"):
        jaxlqr.ExactOracle().gradient(loss, params, 2.0)


def test_it_needs_no_derivative_of_a_loss_that_has_none():
    def loss(params, task):  # a step function of the parameters, computed on the host
        return jax.pure_callback(
            lambda p: np.floor(10 * p).sum(), jax.ShapeDtypeStruct((), params.dtype), params, vmap_method="sequential"
        )

    estimate = ZerothOrderOracle(num_samples=4, radius=1.0).gradient(loss, jnp.array([0.5, 0.5]), None, KEY)
    assert bool(jnp.all(jnp.isfinite(estimate)))


def half_infinite(params, task):
    """The linear loss <1, x> where the first entry is at most ``task``; +inf beyond."""
    return jnp.where(params[0] <= task, jnp.sum(params), jnp.inf)


POINT = jnp.zeros(3)
ORACLE = ZerothOrderOracle(num_samples=200, radius=0.1)


def directions():
    """All points that ``ORACLE`` queries for ``KEY``: a batching rule sees them as one array."""
    seen = []

    @custom_vmap
    def loss(params):
        return jnp.sum(params)

    @loss.def_vmap
    def _(axis_size, in_batched, params):
        jax.debug.callback(lambda points: seen.append(np.asarray(points)), params)
        return jnp.sum(params, axis=1), True

    ORACLE.gradient(lambda params, task: loss(params), POINT, None, KEY)
    jax.effects_barrier()
    (points,) = seen
    return points


def test_queries_are_symmetric_pairs_on_the_sphere():
    points = directions()
    assert points.shape == (400, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.1, rtol=1e-12)  # rounding
    np.testing.assert_allclose(points.sum(axis=0), 0, atol=1e-12)  # each direction with its negative


def test_failed_queries_are_counted_and_dropped_with_renormalisation():
    limit = 0.05
    points = directions()
    half = np.unique(np.abs(points.round(12)), axis=0)
    failed_pairs = int(np.sum(half[:, 0] > limit))
    assert 0 < failed_pairs < 200
    expansion = ORACLE.expand(half_infinite, POINT, limit, KEY)
    assert expansion.failed_queries == failed_pairs
    # With the good pairs alone: (d / (2 r^2)) mean of 2 <1, u> u.
    good = points[np.abs(points[:, 0]) <= limit]
    expected = 3 / 0.1**2 * np.mean(good.sum(axis=1, keepdims=True) * good, axis=0)
    np.testing.assert_allclose(expansion.gradient, expected, rtol=1e-10)  # differences of 1e-16 over a radius of 0.1
    assert bool(jnp.all(jnp.isfinite(expansion.hessian_vector_product(jnp.ones(3)))))


def test_no_usable_direction_is_nan():
    expansion = ORACLE.expand(half_infinite, POINT, -1.0, KEY)
    assert expansion.failed_queries == 400
    assert bool(jnp.all(jnp.isnan(expansion.gradient)))
    assert bool(jnp.all(jnp.isnan(expansion.hessian_vector_product(jnp.ones(3)))))


def test_propagate_lets_failures_through_and_still_counts_them():
    oracle = ZerothOrderOracle(num_samples=200, radius=0.1, failed_queries="propagate")
    expansion = oracle.expand(half_infinite, POINT, 0.05, KEY)
    assert expansion.failed_queries == ORACLE.expand(half_infinite, POINT, 0.05, KEY).failed_queries
    assert not bool(jnp.any(jnp.isfinite(expansion.gradient)))
    fine = oracle.gradient(half_infinite, POINT, 1.0, KEY)
    np.testing.assert_array_equal(fine, ORACLE.gradient(half_infinite, POINT, 1.0, KEY))


def test_gains_that_do_not_stabilise_are_failed_queries():
    problem = random_problem(31, 3, 2, radius=0.9)
    oracle = ZerothOrderOracle(num_samples=200, radius=1.0)

    @jax.jit
    def estimate(key):
        expansion = oracle.expand(jaxlqr.cost, problem.K, problem.task, key, second_order=False)
        return expansion.gradient, expansion.failed_queries

    gradient, failed = estimate(KEY)
    assert 0 < failed < 400
    assert bool(jnp.all(jnp.isfinite(gradient)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "num_samples must be an integer of at least 1, got 0"),
        ({"num_samples": 2.5}, "num_samples must be an integer of at least 1, got 2.5"),
        ({"radius": 0.0}, r"radius must be positive and finite, got 0\.0"),
        ({"radius": -1.0}, r"radius must be positive and finite, got -1\.0"),
        ({"radius": float("nan")}, "radius must be positive and finite, got nan"),
        ({"radius": float("inf")}, "radius must be positive and finite, got inf"),
        ({"failed_queries": "ignore"}, "failed_queries must be .*got 'ignore'"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ZerothOrderOracle(**({"num_samples": 10, "radius": 0.1} | changes))


def test_radius_may_be_traced_but_another_radius_compiles_nothing():
    traces = []

    @jax.jit
    def gradient(oracle, key):
        traces.append(1)
        return oracle.gradient(lambda params, task: jnp.sum(params**2), jnp.ones(2), None, key)

    for radius in (0.1, 0.2):
        gradient(ZerothOrderOracle(num_samples=4, radius=radius), KEY)
    assert len(traces) == 1
