"""Optimisers that are kept in a ball around where they start."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxlqr.core.types import PyTree

if TYPE_CHECKING:
    import optax


def within_ball(optimizer: "optax.GradientTransformation", radius: float) -> "optax.GradientTransformation":
    r"""``optimizer`` with a projection: each step ends at the nearest point of the ball around the first parameters.

    .. math:: \theta \leftarrow \Pi(\theta + \mathrm{update}), \quad
              \Pi(\theta) = \theta_0 + (\theta - \theta_0) \min\{1, R / \|\theta - \theta_0\|\}

    with the Euclidean norm over all leaves. A fraction of a step stays in the ball, so the safeguard of
    :func:`jaxlqr.meta_train` may shorten it.

    Arguments:
        optimizer: any optax optimiser.
        radius: R, positive.

    >>> import optax
    >>> near = within_ball(optax.sgd(1.0), radius=1.0)
    >>> updates, _ = near.update(jnp.array([-3.0, -4.0]), near.init(jnp.zeros(2)), jnp.zeros(2))
    >>> [round(float(u), 6) for u in updates]
    [0.6, 0.8]

    Source: wang2020, appendix A, for networks whose weights stay near their initialisation.
    """
    import optax

    if not 0 < radius < float("inf"):
        raise ValueError(f"radius must be positive and finite, got {radius}.")

    def init(params: PyTree):
        return optimizer.init(params), params

    def update(updates: PyTree, state, params: PyTree = None):
        inner, center = state
        updates, inner = optimizer.update(updates, inner, params)
        change = jax.tree.map(lambda p, u, c: p + u - c, params, updates, center)
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(change)))
        kept = jnp.where(norm > radius, radius / jnp.maximum(norm, radius), 1)
        return jax.tree.map(lambda p, d, c: c + kept * d - p, params, change, center), (inner, center)

    return optax.GradientTransformation(init, update)
