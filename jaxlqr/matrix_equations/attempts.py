"""Second attempts of a solver, which only the lanes run that need them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.batching import with_batch_rule


class Solved(NamedTuple):
    """Outcome of one solver: the value (NaN unless converged), a flag, and the iterations that were spent."""

    value: Array
    converged: Array
    iterations: Array


Solver = Callable[..., Solved]


def with_fallback(first: Solver, second: Solver) -> Solver:
    """``first``, and where it does not converge ``second``; lanes that did converge keep their bits.

    Under vmap a plain ``lax.cond`` becomes a select that pays for both branches always. Here the whole batch is tested
    by one scalar, so that a batch without failures never runs ``second``.
    """

    def choose(found: Solved, args: tuple[Array, ...], second: Solver) -> Solved:
        def fall_back() -> Solved:
            # Finished lanes are blanked: they must not hold up the loops of the second attempt.
            blanked = [jnp.where(_like(found.converged, arg), 0, arg) for arg in args]
            other = second(*blanked)
            # A first value that is doubtful but finite stands when the second attempt has none.
            doubtful = jnp.all(jnp.isfinite(found.value), axis=(-2, -1)) & ~other.converged
            keep = found.converged | doubtful
            value = jnp.where(_like(keep, found.value), found.value, other.value)
            spent = jnp.where(found.converged, 0, other.iterations)
            return Solved(value, keep | other.converged, found.iterations + spent)

        return lax.cond(jnp.all(found.converged), lambda: found, fall_back)

    def single(*args: Array) -> Solved:
        return choose(first(*args), args, second)

    def batched(*args: Array) -> Solved:
        return choose(jax.vmap(first)(*args), args, jax.vmap(second))

    return with_batch_rule(single, batched)


def _like(lane: Array, array: Array) -> Array:
    return lane.reshape(lane.shape + (1,) * (array.ndim - lane.ndim))


def finite_or_zero(*arrays: Array) -> tuple[Array, list[Array]]:
    """Whether all arrays are finite, and the arrays, zeroed unless they are: decompositions may not end on NaN."""
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays]))
    return finite, [jnp.where(finite, array, 0) for array in arrays]
