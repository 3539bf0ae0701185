"""Bisection: the place where a condition ends, to a given number of bits."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def bisect(
    holds: Callable[[Array], Array], low: Array, high: Array, *, num_steps: int, reach: float = 1.0
) -> tuple[Array, Array]:
    """The bracket (low, high) of the place where ``holds`` turns false, after ``num_steps`` halvings.

    Arguments:
        holds: function of an array of the brackets' shape, elementwise true below the place and false above it.
        low, high: ends of the first brackets, of one shape. Where ``high`` is infinite, the search doubles ``low`` and
            adds ``reach`` until ``holds`` is false.
        num_steps: evaluations of ``holds``.
        reach: the first point at which ``holds`` is evaluated in an infinite bracket whose ``low`` is zero.

    Returns:
        The ends, of the same shape: ``holds`` was true at ``low``, or ``low`` never moved; it was false at ``high``, or
        ``high`` never moved. Runs inside ``jit`` and ``vmap``; the ends have no derivatives.

    >>> low, high = bisect(lambda x: x**2 < 2, jnp.asarray(1.0), jnp.asarray(2.0), num_steps=40)
    >>> print(f"{(low + high) / 2:.6f}")
    1.414214
    """

    def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = jnp.where(jnp.isinf(high), 2 * low + reach, (low + high) / 2)
        below = holds(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    return lax.fori_loop(0, num_steps, halve, (low, high))
