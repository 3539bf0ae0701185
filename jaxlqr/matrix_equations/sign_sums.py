"""Both Gramians of a stable continuous system, or factors of them, by one matrix sign iteration.

The iteration of :mod:`jaxlqr.matrix_equations.sign` needs one inverse of the state matrix a step, which serves the
equation a x + x a' + q = 0 and its dual a' y + y a + s = 0:

    x <- (x / c + c a^-1 x a^-T) / 2,    y <- (y / c + c a^-T y a^-1) / 2.

The iteration carries a factor f with x = f f' and never forms x, so small eigenvalues keep their digits: f <- [f /
sqrt(c), sqrt(c) a^-1 f] / sqrt(2), compressed to a square factor by an orthogonal transformation.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.scaling import similarity
from jaxlqr.matrix_equations.sign import advanced, sign

# Doublings of the discrete sums: 2^60 terms. A system that needs more is unstable to working precision.
_DOUBLINGS = 60


Pair = tuple[Array, Array]


def sign_gramians(a: Array, q: Array, s: Array) -> Pair:
    """Solutions x of a x + x a' + q = 0 and y of a' y + y a + s = 0, all real [n, n]; NaN unless ``a`` is stable."""

    def advance(pair: Pair, inverse: Array, scale: Array) -> Pair:
        x, y = pair
        return advanced(x, inverse, scale), advanced(y, inverse.T, scale)

    d = similarity(a, 0)[:, None]
    found = sign(a * d.T / d, (q / d / d.T, s * d * d.T), advance)
    (x, y), stable = found.carried, found.is_stable()
    return jnp.where(stable, x / 2 * d * d.T, jnp.nan), jnp.where(stable, y / 2 / d / d.T, jnp.nan)


def _compressed(*blocks: Array) -> Array:
    """A square f [n, n] with f f' the sum of b b' over the blocks b, [n, k] each."""
    return jnp.linalg.qr(jnp.concatenate(blocks, axis=1).T, mode="r").T


def _square(f: Array) -> Array:
    """A factor [n, k] as one of shape [n, n], of the same product with its transpose."""
    n, k = f.shape
    return jnp.pad(f, ((0, 0), (0, n - k))) if k <= n else _compressed(f)


def continuous_factors(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Factors f, g [n, n] of the Gramians f f' and g g' of x' = a x + b u, y = c x, and whether ``a`` is stable."""

    def advance(pair: Pair, inverse: Array, scale: Array) -> Pair:
        root = jnp.sqrt(scale)
        f, g = pair
        half = jnp.sqrt(jnp.asarray(0.5, a.dtype))
        return (
            half * _compressed(f / root, root * matmul(inverse, f)),
            half * _compressed(g / root, root * matmul(inverse.T, g)),
        )

    found = sign(a, (_square(b), _square(c.T)), advance)
    f, g = found.carried
    half = jnp.sqrt(jnp.asarray(0.5, a.dtype))
    return half * f, half * g, found.is_stable()


def discrete_factors(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """As :func:`continuous_factors` for x[t+1] = a x[t] + b u[t]: [f, a f] is compressed while a is squared."""

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        power, f, g, steps = state
        f, g = _compressed(f, matmul(power, f)), _compressed(g, matmul(power.T, g))
        return matmul(power, power), f, g, steps + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        size = jnp.max(jnp.abs(state[0]))
        # A power of size e leaves e^2 of the sums to come. NaN compares false and ends the loop.
        return (size > jnp.finfo(a.dtype).eps) & (size < jnp.inf) & (state[3] < _DOUBLINGS)

    start = (a, _square(b), _square(c.T), jnp.asarray(0, jnp.int32))
    power, f, g, _ = lax.while_loop(unfinished, step, start)
    stable = (jnp.max(jnp.abs(power)) <= jnp.finfo(a.dtype).eps) & jnp.all(jnp.isfinite(f)) & jnp.all(jnp.isfinite(g))
    return f, g, stable
