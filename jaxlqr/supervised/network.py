"""Over-parameterised two-layer ReLU networks that start at zero, with fixed output signs."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array, lax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TwoLayer:
    r""":math:`f(x; W) = m^{-1/2} \sum_r b_r\, \mathrm{relu}(w_r^\top x)` with fixed signs b, of any width m.

    Attributes:
        initial: hidden weights at initialisation [m, d]; the second half repeats the first, so that f is zero there.
        signs: :math:`b_r = \pm 1` [m]; opposite in the two halves.
        radius: of the ball around ``initial`` that :meth:`project` keeps the weights in.
    """

    initial: Array
    signs: Array
    radius: float = field(default=1.0, metadata={"static": True})

    def __call__(self, weights: Array, x: Array) -> Array:
        """Outputs [...] for weights [m, d] and inputs [..., d]."""
        hidden = jax.nn.relu(jnp.matmul(x, weights.T, precision=lax.Precision.HIGHEST))
        return jnp.matmul(hidden, self.signs, precision=lax.Precision.HIGHEST) / jnp.sqrt(1.0 * len(self.signs))

    def features(self, weights: Array, x: Array) -> Array:
        r"""Gradients of the output with respect to the weights [..., m d], for inputs [..., d]: the features
        :math:`\phi = \nabla_W f` at ``weights``, in which f is linear as long as no unit changes its sign."""
        active = jnp.matmul(x, weights.T, precision=lax.Precision.HIGHEST) > 0
        scaled = jnp.where(active, self.signs.reshape((1,) * (x.ndim - 1) + (-1,)), 0) / jnp.sqrt(1.0 * len(self.signs))
        return (scaled[..., :, None] * x[..., None, :]).reshape(*x.shape[:-1], -1)

    def project(self, weights: Array) -> Array:
        """The nearest weights in the ball around the initial ones."""
        change = weights - self.initial
        return self.initial + change * jnp.minimum(1, self.radius / jnp.maximum(jnp.linalg.norm(change), self.radius))


def two_layer_network(key: Array, width: int, num_inputs: int, radius: float = 1.0) -> TwoLayer:
    """A network of an even width whose initial weights are Gaussian, with variance 1/d, and symmetric.

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
    ones = jnp.ones(width // 2, half.dtype)
    return TwoLayer(jnp.concatenate([half, half]), jnp.concatenate([ones, -ones]), radius)
