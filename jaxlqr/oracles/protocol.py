"""The protocol of oracles, which compute or estimate the derivatives of a loss."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.types import PyTree

Loss = Callable[[PyTree, PyTree], Array]  # (params, task) -> scalar


@runtime_checkable
class StochasticLoss(Protocol):
    """A loss whose value is random: ``with_key(key)`` fixes its randomness and returns a plain loss."""

    def __call__(self, params: PyTree, task: PyTree, /) -> Array: ...

    def with_key(self, key: Array) -> Loss: ...


def with_key(loss: Loss, key: Array) -> Loss:
    """``loss`` with its randomness fixed by ``key``; a deterministic loss as it is."""
    return loss.with_key(key) if isinstance(loss, StochasticLoss) else loss


class Expansion(NamedTuple):
    """Derivatives of a loss at one point, all from the same evaluations.

    Attributes:
        gradient: a pytree like the parameters.
        hessian_vector_product: applies the Hessian, or its estimate, to a pytree like the parameters; None without the
            second order.
        failed_queries: number of cost queries that were not finite, a scalar integer.
        queries: number of cost queries, a scalar integer; 0 for an oracle that differentiates.
    """

    gradient: PyTree
    hessian_vector_product: Callable[[PyTree], PyTree] | None
    failed_queries: Array
    queries: Array | int = 0


class Oracle(Protocol):
    """Protocol of oracles. ``loss`` is a function (params, task) -> scalar, unbatched; callers vmap over tasks.

    ``expand`` gives the gradient and the Hessian at one point and shares all work between them. The other two methods
    give one of them; they agree with ``expand`` for the same ``key``, a random key, or None where nothing is random.
    """

    def expand(self, loss: Loss, params: PyTree, task: PyTree, key: Any, *, second_order: bool = True) -> Expansion: ...

    def gradient(self, loss: Loss, params: PyTree, task: PyTree, key: Any) -> PyTree: ...

    def hessian_vector_product(self, loss: Loss, params: PyTree, vector: PyTree, task: PyTree, key: Any) -> PyTree: ...


def step_along(params: PyTree, step_size: Array | float, direction: PyTree) -> PyTree:
    """params - step_size * direction, leaf by leaf."""
    return jax.tree.map(lambda leaf, change: leaf - step_size * change, params, direction)


def all_finite(tree: PyTree) -> Array:
    """Whether every entry of every leaf is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
