"""Eigenvalues of small symmetric matrices against LAPACK, where they are close, equal, huge and tiny."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.matrix_equations.symmetric import eigh


def cases(n):
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(200, n, n)) * 10.0 ** rng.integers(-3, 4, size=(200, n, n))
    drawn = drawn + np.swapaxes(drawn, 1, 2)
    close = np.eye(n) + 1e-12 * drawn[:20]
    return np.concatenate(
        [drawn, close, 1e150 * drawn[:20], 1e-150 * drawn[:20], [np.zeros((n, n)), np.ones((n, n)), -3 * np.eye(n)]]
    )


@pytest.mark.cpu
@pytest.mark.parametrize("n", [1, 2, 3])
def test_against_lapack(n):
    matrices = cases(n)
    values, vectors = jax.vmap(eigh)(jnp.asarray(matrices))
    size = np.abs(matrices).max(axis=(1, 2))
    wanted = np.linalg.eigvalsh(matrices)
    assert np.all(np.abs(np.sort(values, axis=1) - wanted) <= 4 * n * np.finfo(float).eps * size[:, None])
    back = vectors @ (values[:, :, None] * np.swapaxes(vectors, 1, 2))
    assert np.all(np.abs(back - matrices) <= 4 * n * np.finfo(float).eps * size[:, None, None])
    np.testing.assert_allclose(
        vectors @ np.swapaxes(vectors, 1, 2), np.broadcast_to(np.eye(n), matrices.shape), atol=1e-14
    )


def test_two_by_two_matrices_call_no_lapack():
    assert "custom_call" not in jax.jit(jax.vmap(eigh)).lower(jnp.ones((3, 2, 2))).as_text()
