"""The equation x = g x h + r with two coefficients, whose solution is the sum over k of g^k r h^k.

The equations that implicit differentiation of a quadratic matrix equation leads to have this form, with a product of
spectral radii below one. Matrix products only, on any device, and derivatives of any order.
"""

import math

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.attempts import Solved
from jaxlqr.matrix_equations.scaling import relative


def two_sided_sum(g: Array, h: Array, r: Array) -> Solved:
    """Sum over k of g^k r h^k [n, m], by doubling; NaN unless the product of both spectral radii is below one."""
    # x <- x + G x H,  G <- G^2,  H <- H^2.  The next term is small relative to x if the entries of G and H are small
    # relative to the largest values of the same entries in the powers 1, 2, 4, ... up to n (see doubling.py).
    real = jnp.finfo(r.dtype)
    cap = math.ceil(-math.log2(float(real.eps))) + 6
    reach = (max(r.shape) - 1).bit_length()
    vanishing = float(real.eps) / max(r.size, 1)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        g, h, x, sizes_g, sizes_h, _, steps = state
        x = x + matmul(g, x, h)
        g, h = matmul(g, g), matmul(h, h)
        # In this order, since a power may overflow while the other one vanishes.
        ratio = relative(g, sizes_g) * relative(h, sizes_h)
        early = steps < reach
        sizes_g = jnp.where(early, jnp.maximum(sizes_g, jnp.abs(g)), sizes_g)
        sizes_h = jnp.where(early, jnp.maximum(sizes_h, jnp.abs(h)), sizes_h)
        return g, h, x, sizes_g, sizes_h, ratio, steps + 1

    def unfinished(state: tuple[Array, ...]) -> Array:
        *_, ratio, steps = state
        return ((ratio > vanishing) | (steps <= reach)) & (steps < cap)  # NaN ends the loop

    start = (g, h, r, _sizes(g), _sizes(h), jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    _, _, x, _, _, ratio, steps = lax.while_loop(unfinished, step, start)
    converged = (ratio <= vanishing) & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x, jnp.nan), converged, steps)


def _sizes(power: Array) -> Array:
    return jnp.maximum(jnp.abs(power), jnp.eye(len(power), dtype=power.real.dtype))


def solve_two_sided_stein(g: Array, h: Array, r: Array) -> Array:
    """Solution x [n, m] of x = g x h + r, differentiable to any order in both modes; NaN as :func:`two_sided_sum`."""
    # L(x) = x - g x h is linear in x. Its transpose is y - g^T y h^T.
    return lax.custom_linear_solve(
        lambda x: x - matmul(g, x, h),
        r,
        solve=lambda _, rhs: two_sided_sum(g, h, rhs).value,
        transpose_solve=lambda _, rhs: two_sided_sum(g.T, h.T, rhs).value,
    )
