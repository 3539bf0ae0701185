"""Energies: the functions f_theta(s, a) whose softmax is the policy."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

Energy = Callable[[Any, Any], Array]  # (params, features) -> [S, A]


def linear_energy(params: Array, features: Array | None) -> Array:
    r"""Energies :math:`\phi(s, a)^\top \theta`, [S, A], for features [S, A, d]; without features ``params`` is [S, A].

    >>> linear_energy(jnp.array([2.0]), jnp.ones((3, 2, 1))).shape
    (3, 2)
    """
    if features is None:
        if jnp.ndim(params) != 2:
            raise ValueError(
                f"params must be a table [S, A] where there are no features, got shape {jnp.shape(params)}."
            )
        return params
    if jnp.ndim(features) != 3 or jnp.shape(params) != jnp.shape(features)[2:]:
        raise ValueError(
            f"features must have shape [S, A, d] and params [d], got {jnp.shape(features)} and {jnp.shape(params)}."
        )
    return jnp.tensordot(features, params, axes=1, precision=lax.Precision.HIGHEST)
