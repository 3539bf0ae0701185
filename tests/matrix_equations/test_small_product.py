"""The primitive behind products of small matrices: value, derivatives, batches, against ``jnp.matmul``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr.core.products import matmul
from jaxlqr.core.small_product import small_product


def draw(seed, *shape, dtype=jnp.float64):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    return jnp.asarray(values, dtype)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.complex128])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 4), (4, 1, 2), (4, 4, 4)])
def test_value_and_derivatives_are_those_of_matmul(sizes, dtype):
    m, k, n = sizes
    a, b = draw(0, m, k, dtype=dtype), draw(1, k, n, dtype=dtype)
    np.testing.assert_allclose(small_product(a, b), a @ b, rtol=1e-14, atol=1e-14)
    check_grads(small_product, (a, b), order=3, modes=("fwd", "rev"))


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (2, 0)])
def test_any_axis_of_either_operand_can_be_the_batch(axes):
    shapes = [[4, 3], [3, 2]]
    for shape, axis in zip(shapes, axes, strict=True):
        if axis is not None:
            shape.insert(axis, 5)
    a, b = draw(2, *shapes[0]), draw(3, *shapes[1])
    batched = jax.vmap(small_product, in_axes=axes)(a, b)
    np.testing.assert_allclose(batched, jax.vmap(jnp.matmul, in_axes=axes)(a, b), rtol=1e-14, atol=1e-14)
    for differentiate in (jax.grad, jax.jacfwd):
        found, expected = (
            differentiate(lambda x, f=f: jnp.sum(jnp.sin(jax.vmap(f, in_axes=axes)(x, b))))(a)
            for f in (small_product, jnp.matmul)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def test_a_long_chain_differentiates_into_products_only():
    # What the primitive is for: no padded slices in a second derivative.
    a, b, c = draw(4, 4, 4), draw(5, 4, 2), draw(6, 2, 4)

    def curvature(x, v):
        return jax.jvp(jax.grad(lambda x: jnp.sum(matmul(x, b, c, x) ** 2)), (x,), (v,))[1]

    program = str(jax.make_jaxpr(curvature)(a, a))
    assert "small_matrix_product" in program
    assert not {"pad", "slice"} & set(program.split())


def test_larger_and_empty_matrices_take_the_ordinary_product():
    for shape in [(5, 5), (0, 0)]:
        a = draw(7, *shape)
        assert "small_matrix_product" not in str(jax.make_jaxpr(matmul)(a, a))
        np.testing.assert_allclose(matmul(a, a), np.asarray(a) @ np.asarray(a), rtol=1e-13)
