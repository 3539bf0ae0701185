"""Static checks shared by the solvers: what is wrong, with what was expected, what was got and the remedy."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def as_floating(value: ArrayLike, name: str, function: str) -> Array:
    """The value as an array of floating dtype; Python numbers and lists become arrays, integers are refused."""
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(
            f"{function}: argument {name} must have a floating dtype, got {array.dtype}; write 1.0 for 1, or convert "
            f"it with {name}.astype(float)."
        )
    return array


def as_square_pair(a: ArrayLike, q: ArrayLike, function: str) -> tuple[Array, Array]:
    """Both arguments as [n, n] arrays of one dtype."""
    a, q = as_floating(a, "a", function), as_floating(q, "q", function)
    for name, array in (("a", a), ("q", q)):
        if array.ndim != 2 or array.shape[0] != array.shape[1]:
            raise ValueError(
                f"{function}: argument {name} must be a square matrix [n, n], got shape {array.shape}; use jax.vmap "
                "for a batch."
            )
    if a.shape != q.shape:
        raise ValueError(f"{function}: arguments a and q must have the same shape, got {a.shape} and {q.shape}.")
    dtype = jnp.promote_types(a.dtype, q.dtype)
    return a.astype(dtype), q.astype(dtype)
