"""Solvers by triangular (Schur) form, for coefficients whose powers do not vanish. CPU only."""

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import schur, solve_triangular

from jaxlqr.matrix_equations.products import adjoint, matmul


def schur_lyapunov(a: Array, q: Array) -> Array:
    """Solve x = a x a^H + q for any ``a`` that gives a unique solution; Inf or NaN otherwise. Cost O(n^3).

    With a = u t u^H the unknown y = u^H x u solves y = t y t^H + c. Column j of t^H involves the columns k >= j of y:

        (I - conj(t_jj) t) y_j = c_j + t sum_{k > j} conj(t_jk) y_k,

    triangular systems to be solved from the last column to the first.
    """
    n = a.shape[-1]
    triangle, basis = schur(a, output="complex")
    c = matmul(adjoint(basis), q.astype(triangle.dtype), basis)
    identity = jnp.eye(n, dtype=triangle.dtype)

    def column(y: Array, j: Array) -> tuple[Array, None]:
        row = triangle[j].conj()
        known = jnp.matmul(y, row, precision=lax.Precision.HIGHEST)  # columns up to j of y are still zero
        rhs = c[:, j] + jnp.matmul(triangle, known, precision=lax.Precision.HIGHEST)
        solved = solve_triangular(identity - row[j] * triangle, rhs, lower=False)
        return y.at[:, j].set(solved), None

    y, _ = lax.scan(column, jnp.zeros_like(c), jnp.arange(n - 1, -1, -1))
    x = matmul(basis, y, adjoint(basis))
    return x if jnp.iscomplexobj(q) else x.real
