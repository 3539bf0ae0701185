"""The small convolutional networks of few-shot learning: blocks of convolution, normalisation and activation."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.core.types import PyTree

_ACTIVATIONS = {"silu": jax.nn.silu, "relu": jax.nn.relu}
_EPSILON = 1e-3  # added to variances


@dataclass(frozen=True)
class ConvNetwork:
    r"""Blocks of 3 x 3 convolution with stride 2, normalisation over the batch, and activation; then one linear layer.

    Normalisation is by the mean and variance of the images given, as in MAML: there are no running averages, so the
    output for an image depends on those that come with it. All is as smooth as the activation.

    A convolution is written as a gather of patches and one matrix product. With second derivatives, and weights of
    their own for each task, that is several times as fast on a CPU as XLA's convolutions (docs/benchmarks/images.md).

    Attributes:
        image_size: side of the square images.
        channels: of every block.
        num_outputs: of the linear layer; None leaves it out, and the outputs are the features of the last block.
        activation: ``"silu"``, or ``"relu"``, with which a loss after adaptation jumps (docs/errata.md, N7).
        num_blocks: each halves the side, rounded up.

    >>> network = ConvNetwork(image_size=16, channels=4, num_outputs=5)
    >>> params = network.init(jax.random.key(0))
    >>> network(params, jnp.zeros((3, 16, 16), jnp.uint8)).shape, network.num_params
    ((3, 5), 525)

    Source: nguyen2023, section 5.1, with the strides of Finn, Abbeel, Levine, ICML 2017, in place of max-pooling.
    """

    image_size: int
    channels: int
    num_outputs: int | None = None
    activation: Literal["silu", "relu"] = "silu"
    num_blocks: int = 4

    def __post_init__(self) -> None:
        sizes = {"image_size": self.image_size, "channels": self.channels, "num_blocks": self.num_blocks}
        sizes |= {} if self.num_outputs is None else {"num_outputs": self.num_outputs}
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"ConvNetwork: argument {name} must be a positive integer, got {value!r}.")
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"ConvNetwork: argument activation must be one of {tuple(_ACTIVATIONS)}, got {self.activation!r}."
            )

    @property
    def num_features(self) -> int:
        """Outputs of the last block for one image."""
        side = self.image_size
        for _ in range(self.num_blocks):
            side = math.ceil(side / 2)
        return side * side * self.channels

    @property
    def num_params(self) -> int:
        """Number of entries of the parameters."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    def init(self, key: Array) -> PyTree:
        """Random parameters: kernels of variance 2 / fan-in, a linear layer of zeros."""
        blocks, inputs = [], 1
        for block_key in jax.random.split(key, self.num_blocks):
            kernel = jax.random.normal(block_key, (9 * inputs, self.channels)) * math.sqrt(2 / (9 * inputs))
            blocks.append({"kernel": kernel, "scale": jnp.ones(self.channels), "shift": jnp.zeros(self.channels)})
            inputs = self.channels
        if self.num_outputs is None:
            return {"blocks": blocks}
        head = {"kernel": jnp.zeros((self.num_features, self.num_outputs)), "bias": jnp.zeros(self.num_outputs)}
        return {"blocks": blocks, "head": head}

    def __call__(self, params: PyTree, images: Array, weights: Array | None = None) -> Array:
        """Outputs [N, num_outputs], or features, of images [N, size, size] of bytes.

        Images of weight 0, which pad a batch, change nothing for the others; ``weights`` [N] are one unless given.
        """
        dtype = params["blocks"][0]["kernel"].dtype
        count, side = images.shape[0], self.image_size
        shares = jnp.full(count, 1 / count, dtype) if weights is None else weights / jnp.sum(weights)
        x = images.reshape(count, side * side, 1).astype(dtype) / 255
        for block in params["blocks"]:
            x = _product(_patches(x, side), block["kernel"])
            x = _normalised(x, shares) * block["scale"].reshape(1, 1, -1) + block["shift"].reshape(1, 1, -1)
            x = _ACTIVATIONS[self.activation](x)
            side = math.ceil(side / 2)
        x = x.reshape(count, -1)
        if "head" not in params:
            return x
        return _product(x, params["head"]["kernel"]) + params["head"]["bias"].reshape(1, -1)


def _product(x: Array, kernel: Array) -> Array:
    flat = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel, precision=lax.Precision.HIGHEST)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])


def _normalised(x: Array, shares: Array) -> Array:
    """Mean 0 and variance 1 in each channel of [N, pixels, channels], over images of the given shares."""

    def mean(values: Array) -> Array:
        return jnp.tensordot(shares, jnp.mean(values, axis=1), axes=1).reshape(1, 1, -1)

    centred = x - mean(x)
    return centred * lax.rsqrt(mean(centred**2) + _EPSILON)


def _patches(x: Array, side: int) -> Array:
    """The inputs of each output of a 3 x 3 convolution with stride 2: [N, side^2, c] to [N, ceil(side/2)^2, 9 c]."""
    padded = jnp.concatenate([x, jnp.zeros_like(x[:, :1])], axis=1)
    seen = padded.at[:, _places(side)].get(mode="promise_in_bounds")
    return seen.reshape(x.shape[0], -1, 9 * x.shape[-1])


@cache
def _places(side: int) -> np.ndarray:
    """Pixel numbers under the kernel, for each output in turn; side^2 is the zero beyond the border."""
    half = math.ceil(side / 2)
    before = (2 * (half - 1) + 3 - side) // 2  # as "SAME" pads: an odd pixel of padding goes to the end
    rows = 2 * np.arange(half)[:, None] + np.arange(3) - before  # [half, 3]
    row, column = rows[:, None, :, None], rows[None, :, None, :]
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    return np.where(inside, row * side + column, side * side).ravel()
