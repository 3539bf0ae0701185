"""Best approximation by linear functions whose coefficients lie in a ball."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.iterations.bisection import bisect

# Halvings of the interval of log(lambda): from 1e-30 to 1 times its upper end, to the last digit.
_HALVINGS = 64
_LARGE = 1e150  # its square is finite


class Approximation(NamedTuple):
    """The coefficients v [d] and the weighted norm of the residual, infinite if the target is infinite."""

    v: Array
    residual: Array


@compiled()
def best_in_ball(features: Array, target: Array, weights: Array, radius: float | Array) -> Approximation:
    r"""Solve :math:`\min_{\|v\|_2 \le R} \| f - \Phi v \|_w` with :math:`\|g\|_w^2 = \sum_j w_j g_j^2`.

    One singular value decomposition of :math:`W^{1/2} \Phi = U S V^\top` gives
    :math:`v(\lambda) = V S (S^2 + \lambda)^{-1} U^\top W^{1/2} f`, whose norm falls with :math:`\lambda`; the secular
    equation :math:`\|v(\lambda)\| = R` is solved by bisection where :math:`v(0)` lies outside the ball.

    Arguments:
        features: :math:`\Phi` [N, d].
        target: f [N]; where it is not finite the residual is infinite and v is zero.
        weights: w [N], not negative.
        radius: R, not negative.

    >>> v, residual = best_in_ball(jnp.eye(2), jnp.array([3.0, 4.0]), jnp.ones(2), 1.0)
    >>> [round(float(x), 6) for x in (*v, residual)]
    [0.6, 0.8, 4.0]

    Source: the right side of wang2020, equations (3.17) and (4.16).
    """
    if jnp.ndim(features) != 2 or jnp.shape(target) != jnp.shape(weights) or len(features) != len(target):
        raise ValueError(
            "features must have shape [N, d], target and weights [N], got "
            f"{jnp.shape(features)}, {jnp.shape(target)} and {jnp.shape(weights)}."
        )
    usable = jnp.all(jnp.isfinite(target))
    # Scaled to one, so that no square overflows.
    scale = jnp.maximum(jnp.max(jnp.abs(jnp.where(usable, target, 0))), jnp.finfo(target.dtype).tiny)
    root = jnp.sqrt(weights)
    f = jnp.where(usable, target, 0) / scale
    U, S, Vt = jnp.linalg.svd(root[:, None] * features, full_matrices=False)
    c = S * (U.T @ (root * f))
    small = jnp.finfo(S.dtype).eps * max(features.shape) * S[0] >= S
    limit = jnp.asarray(radius, f.dtype) / scale

    def at(shift: Array) -> Array:
        return jnp.where(small, 0, c / jnp.where(small, 1, S**2 + shift))

    # ||v(lambda)|| <= ||c|| / lambda: at the upper end the coefficients are inside the ball.
    upper = jnp.log(jnp.maximum(jnp.linalg.norm(c), jnp.finfo(S.dtype).tiny)) - jnp.log(
        jnp.maximum(limit, 1 / jnp.asarray(_LARGE, f.dtype))
    )

    _, shift = bisect(
        lambda shift: ~(jnp.linalg.norm(at(jnp.exp(shift))) <= limit), upper - 70, upper, num_steps=_HALVINGS
    )
    free = at(jnp.zeros_like(shift))
    v = jnp.where(jnp.linalg.norm(free) <= limit, free, at(jnp.exp(shift))) @ Vt
    residual = scale * jnp.linalg.norm(root * (f - features @ v))
    return Approximation(scale * jnp.where(usable, v, 0), jnp.where(usable, residual, jnp.inf))
