"""The limit of repeated star products: the map h for which y = h x, of x' = e x + g y', y = h0 x + f y'.

Two periods follow from one by eliminating the unknowns between them, W = (I - g h)^-1,

    e <- e W e,   g <- g + e W g f,   h <- h + f h W e,   f <- f (f + h W g f),

and 2^k periods from k such steps. Over many periods e and f vanish when exactly len(x) roots are stable; h then maps
the states to the unknowns that bring no explosion. A step takes a small LU factorisation and seven products, and no
eigenvalues.

Source: Redheffer, J. Math. Phys. 41 (1962), the product; Guo, Lin, Xu, Numer. Math. 103 (2006), the doubling.
"""

import math

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.attempts import Solved


def star_limit(e: Array, g: Array, f: Array, h: Array) -> Solved:
    """The limit of h [m, n] for e [n, n], g [n, m], f [m, m] in balanced units.

    It is not converged unless both e and f vanish in the end. Entries are compared with one, not with each other: an
    entry that should be zero is rounding after a few steps.
    """
    real = jnp.finfo(e.dtype)
    n = len(e)
    # A root at 1 - eps^(1/2) needs as many doublings; slower ones are left to the second attempt.
    cap = math.ceil(-math.log2(float(real.eps)) / 2) + 6
    # The next step would change h by a product with e and f: it is rounding when both are below eps^(1/2). That their
    # product is small is not enough: it vanishes, too, where e grows more slowly than f decays.
    vanishing = math.sqrt(float(real.eps) / h.size)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        e, g, f, h, _, steps = state
        turned = matmul(g, f)
        between = jnp.linalg.solve(jnp.eye(n, dtype=e.dtype) - matmul(g, h), jnp.concatenate([e, turned], axis=1))
        states, returned = matmul(e, between), matmul(h, between)
        g, h = g + states[:, n:], h + matmul(f, returned[:, :n])
        e, f = states[:, :n], matmul(f, f + returned[:, n:])
        left = jnp.maximum(jnp.max(jnp.abs(e)), jnp.max(jnp.abs(f)))
        return e, g, f, h, left, steps + 1

    def unfinished(state: tuple[Array, ...]) -> Array:
        *_, left, steps = state
        return (left > vanishing) & (steps < cap)  # NaN ends the loop

    start = (e, g, f, h, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    *_, h, left, steps = lax.while_loop(unfinished, step, start)
    return Solved(h, (left <= vanishing) & jnp.all(jnp.isfinite(h)), steps)
