"""Derivatives estimated from cost queries alone (ZO2P)."""

from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.core.types import PyTree
from jaxlqr.oracles.protocol import Expansion, Loss, StochasticLoss, with_key


class Queries(NamedTuple):
    """Costs at params + U_j, at params - U_j for directions U [m, d], and at params."""

    directions: Array
    plus: Array
    minus: Array
    base: Array  # NaN without the second order
    usable: Array  # [m], false for a dropped pair


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ZerothOrderOracle:
    r"""Two-point zeroth-order estimates of gradient and Hessian; the loss is queried, never differentiated.

    With :math:`U_1, \dots, U_m` uniform on the sphere of radius r in the d entries of the parameters,

    .. math:: \hat\nabla J = \frac{d}{2 r^2} \frac1m \sum_j (J(K + U_j) - J(K - U_j)) U_j,

    unbiased for the gradient of J averaged over the ball of radius r, and, with u = vec(U),

    .. math:: \hat H = \frac{d (d + 2)}{r^4} \frac1m \sum_j \tfrac12 (J(K + U_j) + J(K - U_j) - 2 J(K))
              \left(u_j u_j^\top - \tfrac{r^2}{d + 2} I\right),

    unbiased for a quadratic. Stochastic losses (see :class:`jaxlqr.RolloutCost`) use new random numbers for each query.

    Attributes:
        num_samples: number m of directions: 2 m queries for a gradient, one more for the Hessian.
        radius: smoothing radius r, in units of the parameters.
        failed_queries: what to do when a query is not finite (the perturbed gain does not stabilise). ``"drop"`` omits
            both queries of that direction and averages over the others; NaN when no direction remains. ``"propagate"``
            returns NaN. Both count the failed queries.
        common_random_numbers: use the same random numbers in all queries of a stochastic loss at one point. If the
            plant can be reset to the same initial state and noise, this removes most of the noise from the differences.

    >>> import jax, jax.numpy as jnp
    >>> oracle = ZerothOrderOracle(num_samples=20_000, radius=0.1)
    >>> loss = lambda params, task: jnp.sum(task * params**2)
    >>> estimate = oracle.gradient(loss, jnp.ones(2), jnp.array([1.0, 3.0]), jax.random.key(0))
    >>> bool(jnp.allclose(estimate, jnp.array([2.0, 6.0]), atol=0.2))
    True

    Source: toso2024, Algorithm 2, whose Hessian estimate is another one; Nesterov and Spokoiny, Found. Comput. Math. 17
    (2017) for the gradient; the constants of the Hessian are derived in docs/errata.md, T3.
    """

    _: KW_ONLY
    num_samples: int = field(metadata={"static": True})
    radius: float | Array
    failed_queries: Literal["drop", "propagate"] = field(default="drop", metadata={"static": True})
    common_random_numbers: bool = field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        if not isinstance(self.num_samples, int) or self.num_samples < 1:
            raise ValueError(f"num_samples must be an integer of at least 1, got {self.num_samples!r}.")
        # The radius is a tracer when jit rebuilds the oracle; it was checked as a number before that.
        if isinstance(self.radius, (int, float)) and not 0 < self.radius < float("inf"):
            raise ValueError(f"radius must be positive and finite, got {self.radius}; try 1e-2.")
        if self.failed_queries not in ("drop", "propagate"):
            raise ValueError(f'failed_queries must be "drop" or "propagate", got {self.failed_queries!r}.')

    def expand(self, loss: Loss, params: PyTree, task: PyTree, key: Array, *, second_order: bool = True) -> Expansion:
        """Estimates of the gradient and of the Hessian-vector map from one set of 2 m + 1 queries."""
        queries = self._ask(loss, params, task, key, with_base=second_order)
        failed = jnp.sum(~jnp.isfinite(queries.plus)) + jnp.sum(~jnp.isfinite(queries.minus))
        product = partial(self._hessian_vector_product, params, queries) if second_order else None
        asked = jnp.asarray(2 * self.num_samples + second_order, jnp.int32)
        return Expansion(self._gradient(params, queries), product, failed.astype(jnp.int32), asked)

    @compiled()
    def gradient(self, loss: Loss, params: PyTree, task: PyTree, key: Array) -> PyTree:
        """Estimate of the gradient from 2 m queries, a pytree like ``params``."""
        return self._gradient(params, self._ask(loss, params, task, key, with_base=False))

    @compiled()
    def hessian_vector_product(self, loss: Loss, params: PyTree, vector: PyTree, task: PyTree, key: Array) -> PyTree:
        """Estimate of the Hessian applied to ``vector``, from 2 m + 1 queries; both are pytrees like ``params``."""
        return self._hessian_vector_product(params, self._ask(loss, params, task, key, with_base=True), vector)

    @compiled(static=("with_base",))
    def _ask(self, loss: Loss, params: PyTree, task: PyTree, key: Array, *, with_base: bool) -> Queries:
        flat, unravel = ravel_pytree(params)
        direction_key, loss_key = jax.random.split(key)
        # Drawn in one row: the same numbers, but a compilation of half the length (XLA unrolls short inner loops).
        gaussian = jax.random.normal(direction_key, (self.num_samples * flat.size,), flat.dtype)
        gaussian = gaussian.reshape(self.num_samples, flat.size)
        directions = self.radius * gaussian / jnp.linalg.norm(gaussian, axis=1, keepdims=True)
        points = [flat[None] + directions, flat[None] - directions] + ([flat[None]] if with_base else [])
        values = self._values(loss, jnp.concatenate(points), unravel, task, loss_key)
        m = self.num_samples
        plus, minus = values[:m], values[m : 2 * m]
        usable = jnp.ones_like(plus, bool)
        if self.failed_queries == "drop":
            usable = jnp.isfinite(plus) & jnp.isfinite(minus)
        return Queries(directions, plus, minus, values[2 * m] if with_base else jnp.array(jnp.nan, flat.dtype), usable)

    def _values(self, loss: Loss, points: Array, unravel, task: PyTree, key: Array) -> Array:
        if not isinstance(loss, StochasticLoss):
            return jax.vmap(lambda point: loss(unravel(point), task))(points)
        if self.common_random_numbers:
            fixed = with_key(loss, key)
            return jax.vmap(lambda point: fixed(unravel(point), task))(points)
        # Folded by index, so that the draws of a gradient do not change with the additional query of the Hessian.
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(points.shape[0]))
        return jax.vmap(lambda point, k: with_key(loss, k)(unravel(point), task))(points, keys)

    @staticmethod
    def _average(weights: Array, queries: Queries) -> tuple[Array, Array]:
        """Means over usable directions of w_j u_j ... as (w_j / count) and their sum; NaN when no direction is left."""
        count = jnp.sum(queries.usable)
        scale = jnp.where(count > 0, 1 / count.astype(weights.dtype), jnp.nan)
        # where, not a product: an infinite query times zero would be NaN.
        weights = scale * jnp.where(queries.usable, weights, 0)
        return weights, jnp.sum(weights)

    def _gradient(self, params: PyTree, queries: Queries) -> PyTree:
        flat, unravel = ravel_pytree(params)
        weights, _ = self._average(queries.plus - queries.minus, queries)
        return unravel(flat.size / (2 * self.radius**2) * matmul(weights, queries.directions))

    def _hessian_vector_product(self, params: PyTree, queries: Queries, vector: PyTree) -> PyTree:
        flat, unravel = ravel_pytree(params)
        v, _ = ravel_pytree(vector)
        d, u = flat.size, queries.directions
        weights, total = self._average((queries.plus + queries.minus - 2 * queries.base) / 2, queries)
        product = matmul(weights * matmul(u, v), u) - self.radius**2 / (d + 2) * total * v
        return unravel(d * (d + 2) / self.radius**4 * product)
