"""The trace of a product with a Gramian: against a dense solve, with stored powers and without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr.matrix_equations import gramian_trace


def problem(n, seed=0, radius=0.8):
    rng = np.random.default_rng(seed)
    a, q, s = rng.normal(size=(3, n, n))
    return a * (radius / np.max(np.abs(np.linalg.eigvals(a)))), q @ q.T / n, s @ s.T / n


def dense(a, q, s):
    """The same trace by the Kronecker form; JAX differentiates the solve."""
    x = jnp.linalg.solve(jnp.eye(a.size) - jnp.kron(a, a), q.reshape(-1)).reshape(q.shape)
    return jnp.sum(s * x)


def symmetric(x):
    return (x + x.T) / 2


# 33 is the least odd size for which the powers are stored.
@pytest.mark.parametrize("n", [1, 3, 33])
def test_value_gradient_and_hessian_vector_product_are_those_of_the_dense_solve(n):
    args = problem(n)
    directions = [symmetric(x) if i else x for i, x in enumerate(np.random.default_rng(1).normal(size=(3, n, n)))]

    def orders(f):
        gradient = jax.value_and_grad(f, argnums=(0, 1, 2))
        return jax.jit(lambda *args: jax.jvp(gradient, args, tuple(jnp.asarray(d) for d in directions)))(*args)

    (value, first), (slope, second) = orders(gramian_trace)
    (dense_value, dense_first), (dense_slope, dense_second) = orders(dense)
    # The condition of the equation is below 1e4: rounding leaves twelve digits.
    np.testing.assert_allclose([value, slope], [dense_value, dense_slope], rtol=1e-11)
    for i, (found, expected) in enumerate(zip((*first, *second), (*dense_first, *dense_second), strict=True)):
        # In q and s, of which the symmetric parts count, the gradient is the symmetric one.
        expected = symmetric(expected) if i % 3 else expected
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11 * float(jnp.max(jnp.abs(expected))))


def test_derivatives_against_differences_in_both_modes_and_nested():
    args = tuple(jnp.asarray(x) for x in problem(2))
    check_grads(jax.jit(gramian_trace), args, order=2, modes=("fwd", "rev"), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 33])
def test_third_derivatives_agree_in_every_order_of_modes(n):
    a, q, s = (jnp.asarray(x) for x in problem(n))
    u, v = jnp.asarray(np.random.default_rng(2).normal(size=(2, n, n))) / n

    def along(f, direction, mode):
        if mode == "fwd":
            return lambda a: jax.jvp(f, (a,), (direction,))[1]
        return lambda a: jnp.sum(jax.grad(f)(a) * direction)

    expected = jax.jvp(lambda a: jax.hessian(lambda t: dense(a + t * u, q, s))(0.0), (a,), (v,))[1] if n < 9 else None
    found = []
    for modes in ("fwd fwd fwd", "rev fwd rev", "fwd rev rev", "rev rev fwd", "rev rev rev"):
        f = lambda a: gramian_trace(a, q, s)  # noqa: E731
        for direction, mode in zip((u, u, v), modes.split(), strict=True):
            f = along(f, direction, mode)
        found.append(float(jax.jit(f)(a)))
    np.testing.assert_allclose(found, found[0] if expected is None else float(expected), rtol=1e-10)


def test_only_symmetric_parts_count():
    a, q, s = problem(3)
    skew = np.array([[0.0, 1.0, 2.0], [-1.0, 0.0, 3.0], [-2.0, -3.0, 0.0]])
    np.testing.assert_allclose(gramian_trace(a, q + skew, s - 2 * skew), gramian_trace(a, q, s), rtol=1e-14)


@pytest.mark.parametrize("n", [2, 33])
def test_an_unstable_lane_is_nan_and_changes_no_other(n):
    a, q, s = (jnp.asarray(x) for x in problem(n))
    batch = jnp.stack([a, 2 * a, 0.5 * a])
    function = jax.jit(jax.vmap(jax.value_and_grad(gramian_trace), in_axes=(0, None, None)))
    value, gradient = function(batch, q, s)
    assert np.isnan(value[1])
    assert np.all(np.isnan(gradient[1]))
    other_value, other_gradient = function(jnp.stack([a, a, 0.5 * a]), q, s)
    for lane in (0, 2):
        assert value[lane] == other_value[lane]
        np.testing.assert_array_equal(gradient[lane], other_gradient[lane])
