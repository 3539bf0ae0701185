r"""Task weights from task losses: uniform, towards the hard tasks (exploration), towards the easy ones (exploitation).

With a Dirichlet prior of concentration kappa > 1 on the weights w,

    exploration:   minimise  -w'l - (kappa - 1) sum log w_i     over the simplex,
    exploitation:  minimise   w'l - (kappa - 1) sum log w_i     over the simplex.

Both are strictly convex. With scores s = l or s = -l, stationarity says w_i = (kappa - 1) / (lambda - s_i) > 0, and the
multiplier lambda > max s is the one root of sum_i w_i = 1. The distance nu = lambda - max s lies between kappa - 1,
where the largest term alone is one, and M (kappa - 1), where every term is at most 1/M.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.core.compiled import compiled
from jaxlqr.iterations.bisection import bisect


def uniform(losses: Array) -> Array:
    """Weights 1/M whatever the losses [M] are, [M].

    >>> import jax.numpy as jnp
    >>> uniform(jnp.array([3.0, 1.0])).tolist()
    [0.5, 0.5]

    Source: nguyen2023, section 2.3.
    """
    losses = _loss_vector(losses, "uniform")
    return jnp.full_like(losses, 1 / losses.size)


def exploration(losses: Array, *, kappa: float | Array = 1.2) -> Array:
    r"""Weights that prefer tasks of large loss: the minimiser of :math:`-w^\top l - (\kappa - 1) \sum_i \log w_i`.

    Arguments:
        losses: one loss for each task, [M].
        kappa: concentration of the Dirichlet prior, above 1; large values make the weights uniform.

    Returns:
        Weights [M], positive, with sum one; differentiable in both arguments, in both modes and to any order. NaN where
        a loss is not finite.

    Raises:
        ValueError: when ``losses`` is not a non-empty vector or ``kappa`` is not above 1.

    >>> import jax.numpy as jnp
    >>> [round(float(weight), 4) for weight in exploration(jnp.array([1.0, 0.0]))]
    [0.8385, 0.1615]

    Source: nguyen2023, (12); one root in place of its SLSQP, docs/errata.md, N9.
    """
    return _dirichlet(_loss_vector(losses, "exploration"), kappa, "exploration")


def exploitation(losses: Array, *, kappa: float | Array = 1.2) -> Array:
    r"""Weights that prefer tasks of small loss: the minimiser of :math:`w^\top l - (\kappa - 1) \sum_i \log w_i`.

    It is the mirror image of :func:`exploration`, with the same arguments, results and errors.

    >>> import jax.numpy as jnp
    >>> [round(float(weight), 4) for weight in exploitation(jnp.array([1.0, 0.0]))]
    [0.1615, 0.8385]

    Source: nguyen2023, (12).
    """
    return _dirichlet(-_loss_vector(losses, "exploitation"), kappa, "exploitation")


def _dirichlet(scores: Array, kappa: float | Array, function: str) -> Array:
    if not isinstance(kappa, Tracer) and not (np.ndim(kappa) == 0 and np.isfinite(kappa) and np.asarray(kappa) > 1):
        raise ValueError(
            f"{function}: argument kappa must be a number above 1, got {kappa}; at 1 the prior is flat and all weight "
            "falls on one task, below it there is no minimum. The paper uses 1.2."
        )
    return _minimiser(scores, kappa)


@compiled()
def _minimiser(scores: Array, kappa: float | Array) -> Array:
    strength = jnp.asarray(kappa, scores.dtype) - 1
    behind = jnp.max(scores) - scores

    def excess(nu: Array) -> Array:
        return jnp.sum(strength / (nu + behind)) - 1

    def root(function: Callable[[Array], Array], start: Array) -> Array:
        # One bit for each iteration: the bits of the mantissa, and the bits of the ratio of the bounds, which is at
        # most M.
        bits = jnp.finfo(scores.dtype).nmant + 2 + int(scores.size).bit_length()
        low, high = bisect(lambda nu: function(nu) > 0, start, start * scores.size, num_steps=bits)
        return (low + high) / 2

    nu = lax.custom_root(excess, strength, root, lambda linear, y: y / linear(jnp.ones_like(y)))
    return strength / (nu + behind)


def _loss_vector(losses: Array, function: str) -> Array:
    losses = jnp.asarray(losses)
    if losses.ndim != 1 or losses.size == 0 or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise ValueError(
            f"{function}: argument losses must be a floating vector [M] with one loss for each of M >= 1 tasks, got "
            f"{losses.dtype} of shape {losses.shape}; use jax.vmap for a batch."
        )
    return losses
