"""Over-parameterised two-layer ReLU networks that start at zero, with fixed output signs."""

from dataclasses import KW_ONLY, dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def two_layer(weights: Array, x: Array) -> Array:
    r""":math:`f(x; W) = m^{-1/2} \sum_r b_r\, \mathrm{relu}(w_r^\top x)`, b = 1 in the first half, -1 in the other.

    Use it as a predictor for :class:`jaxlqr.supervised.Risk`, or as an energy for :func:`jaxlqr.mdp.make_tasks` on
    inputs [S, A, d]. It is one ordinary function, so networks with different initial weights share compiled programs.

    Arguments:
        weights: W [m, d], of any even width m.
        x: inputs [..., d].

    >>> two_layer(jnp.array([[1.0], [0.5]]), jnp.array([[2.0], [-2.0]])) * jnp.sqrt(2)
    Array([1., 0.], dtype=...)

    Source: wang2020, appendix A, as far as the main text tells (docs/errata.md, W5).
    """
    if jnp.ndim(weights) != 2 or len(weights) % 2 or jnp.shape(weights)[1:] != jnp.shape(x)[-1:]:
        raise ValueError(
            f"weights must have shape [m, d] with m even and x [..., d], got {jnp.shape(weights)} and {jnp.shape(x)}."
        )
    hidden = jax.nn.relu(jnp.matmul(x, weights.T, precision=lax.Precision.HIGHEST))
    return jnp.matmul(hidden, _signs(len(weights), hidden.dtype), precision=lax.Precision.HIGHEST)


def _signs(width: int, dtype) -> np.ndarray:
    """Signs over the root of the width."""
    return np.repeat(np.array([1, -1]) / np.sqrt(width), width // 2).astype(dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TwoLayer:
    r"""A network :func:`two_layer` with its initialisation.

    Attributes:
        initial: hidden weights at initialisation [m, d]; the second half repeats the first, so that f is zero there.
        radius: radius of the ball around ``initial``; :meth:`project` maps weights into it.
    """

    initial: Array
    _: KW_ONLY
    radius: float = field(default=1.0, metadata={"static": True})

    def __call__(self, weights: Array, x: Array) -> Array:
        """Outputs [...] for weights [m, d] and inputs [..., d]."""
        return two_layer(weights, x)

    def features(self, weights: Array, x: Array) -> Array:
        r"""Gradients of the output with respect to the weights [..., m d], for inputs [..., d]: the features
        :math:`\phi = \nabla_W f` at ``weights``, in which f is linear as long as no unit changes its sign."""
        active = jnp.matmul(x, weights.T, precision=lax.Precision.HIGHEST) > 0
        signs = _signs(len(weights), x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        return (jnp.where(active, signs, 0)[..., :, None] * x[..., None, :]).reshape(*x.shape[:-1], -1)

    def project(self, weights: Array) -> Array:
        """The nearest weights in the ball around the initial ones."""
        change = weights - self.initial
        return self.initial + change * jnp.minimum(1, self.radius / jnp.maximum(jnp.linalg.norm(change), self.radius))


def two_layer_network(key: Array, width: int, num_inputs: int, *, radius: float = 1.0) -> TwoLayer:
    """A network of an even width whose initial weights are Gaussian, with variance 1/d, and symmetric.

    To train it, start at ``network.initial`` with an optimiser from :func:`jaxlqr.training.within_ball`.

    >>> network = two_layer_network(jax.random.key(0), width=8, num_inputs=3)
    >>> bool(abs(network(network.initial, jnp.ones(3))) < 1e-6)
    True

    Source: wang2020, appendix A, as far as the main text tells (docs/errata.md, W5).
    """
    if width < 2 or width % 2 or num_inputs < 1:
        raise ValueError(
            f"width must be even and at least 2, one half for each sign, and num_inputs positive, got {width} and "
            f"{num_inputs}."
        )
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}.")
    half = jax.random.normal(key, (width // 2, num_inputs)) / jnp.sqrt(1.0 * num_inputs)
    return TwoLayer(jnp.concatenate([half, half]), radius=radius)
