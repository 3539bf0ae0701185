"""Checks of arguments in every room: keys, numbers and counts; each error is one sentence."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def as_key(key: Any) -> Array:
    """A random key, from a key or an integer seed.

    >>> as_key(3).shape
    ()

    Raises:
        ValueError: for anything else.
    """
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == np.uint32):
        got = type(key).__name__ if dtype is None else f"an array of {dtype}"
        raise ValueError(f"key must be a random key or an integer seed, got {got}; write jax.random.key(0).")
    return cast(Array, key)


def check_number(name: str, value: Any) -> None:
    """Raise ``ValueError`` for text and for None in place of a number; arrays and traced values pass."""
    if value is None or isinstance(value, str):
        raise ValueError(f"{name} must be a number, got {value!r}; docs/howto/step_sizes.md says how to pick one.")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
