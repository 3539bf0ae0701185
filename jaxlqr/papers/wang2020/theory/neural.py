r"""Two-layer networks near their initialisation: how far their features move, and the limit of infinite width.

With :math:`\phi = \nabla_W f` at the point itself, Theorems 3.5 and 4.4 hold at every width (docs/errata.md, W5). The
features at initialisation are a substitute, whose price is measured here.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.supervised import TwoLayer


class Linearisation(NamedTuple):
    r"""How far a network has left its linearisation at initialisation; scalars.

    Attributes:
        drift: :math:`\| \phi_W - \phi_{W_0} \|_\varrho`, the root of the mean squared distance of the features.
        error: :math:`\| f(\cdot; W) - \phi_{W_0}^\top (W - W_0) \|_\varrho`; f is zero at :math:`W_0`.
    """

    drift: Array
    error: Array


@compiled()
def linearisation(network: TwoLayer, weights: Array, x: Array, rho: Array) -> Linearisation:
    r"""Feature drift and linearisation error at ``weights`` [m, d], over inputs x [N, d] with measure rho [N].

    While weights stay in a ball of fixed radius, each of the m weights moves by the order of :math:`m^{-1/2}`. So a
    share :math:`m^{-1/2}` of the units change their sign. The squared drift has this order, and the drift has the order
    :math:`m^{-1/4}`.

    >>> import jax
    >>> from jaxlqr.supervised import two_layer_network
    >>> network = two_layer_network(jax.random.key(0), width=8, num_inputs=3)
    >>> told = linearisation(network, network.initial, jnp.ones((2, 3)), jnp.full(2, 0.5))
    >>> float(told.drift)
    0.0

    Source: wang2020, appendix A, by the argument of Cai, Yang, Lee, Wang, NeurIPS 2019, Lemma 4.5.
    """
    phi, phi_0 = network.features(weights, x), network.features(network.initial, x)
    linear = jnp.matmul(phi_0, (weights - network.initial).ravel(), precision=lax.Precision.HIGHEST)
    drift = jnp.sqrt(jnp.sum(rho * jnp.sum((phi - phi_0) ** 2, axis=1)))
    return Linearisation(drift, jnp.sqrt(jnp.sum(rho * (network(weights, x) - linear) ** 2)))


@compiled()
def tangent_kernel(x: Array) -> Array:
    r"""Neural tangent kernel of :func:`jaxlqr.supervised.two_layer` at infinite width [N, N], for inputs [N, d].

    .. math:: K(x, x') = \lim_m \phi_{W_0}(x)^\top \phi_{W_0}(x') = x^\top x'\, \frac{\pi - \angle(x, x')}{2 \pi}

    >>> tangent_kernel(jnp.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.5]]

    Source: Cho and Saul, NIPS 2009, the arc-cosine kernel of degree zero.
    """
    inner = jnp.matmul(x, x.T, precision=lax.Precision.HIGHEST)
    norms = jnp.sqrt(jnp.diagonal(inner))
    product = norms[:, None] * norms[None]
    # The angle by arctan: near 0 and pi, where arccos loses half of the digits, it does not.
    across = jnp.linalg.norm(x[:, None] * norms[None, :, None] - x[None] * norms[:, None, None], axis=-1)
    along = jnp.linalg.norm(x[:, None] * norms[None, :, None] + x[None] * norms[:, None, None], axis=-1)
    angle = 2 * jnp.arctan2(across, along)
    return jnp.where(product > 0, inner * (jnp.pi - angle) / (2 * jnp.pi), 0)


@compiled()
def kernel_features(kernel: Array) -> Array:
    """Features [N, N] whose inner products are a kernel [N, N], positive semidefinite: its symmetric root.

    On the N points, the ball of radius R in these features is the ball of the kernel's Hilbert space, so
    :func:`jaxlqr.papers.wang2020.theory.best_in_ball` with them is the limit of what wide networks reach.

    >>> kernel_features(jnp.diag(jnp.array([4.0, 9.0]))).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    values, vectors = jnp.linalg.eigh(kernel)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))[None]) @ vectors.T
