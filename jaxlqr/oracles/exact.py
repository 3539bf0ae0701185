"""Derivatives by automatic differentiation."""

from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.core.types import PyTree
from jaxlqr.oracles.protocol import Expansion, Loss, Oracle, with_key


def as_oracle(oracle: Any) -> Oracle:
    """Return an oracle: the exact oracle for None and ``"exact"``, else ``oracle``; ``ValueError`` for other values."""
    if oracle is None or (isinstance(oracle, str) and oracle == "exact"):
        return ExactOracle()
    if isinstance(oracle, type) or not hasattr(oracle, "expand"):
        raise ValueError(
            f"oracle must be an oracle, got {oracle!r}; pass jaxlqr.ExactOracle(), or "
            "jaxlqr.ZerothOrderOracle(num_samples=50, radius=1e-2) with a radius in units of the parameters."
        )
    return cast(Oracle, oracle)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExactOracle:
    """Exact gradients and Hessian-vector products of any twice differentiable loss (params, task) -> scalar.

    ``key`` is used by stochastic losses only, whose samples are then differentiated.

    >>> import jax.numpy as jnp
    >>> loss = lambda params, task: task * params**3
    >>> float(ExactOracle().gradient(loss, jnp.array(2.0), jnp.array(1.0)))
    12.0
    >>> float(ExactOracle().hessian_vector_product(loss, jnp.array(2.0), jnp.array(1.0), jnp.array(1.0)))
    12.0
    """

    def expand(
        self, loss: Loss, params: PyTree, task: PyTree, key: Array | None = None, *, second_order: bool = True
    ) -> Expansion:
        """Gradient and Hessian-vector map, from one linearisation."""
        none_failed = jnp.asarray(0, jnp.int32)
        if not second_order:
            return Expansion(self.gradient(loss, params, task, key), None, none_failed)
        gradient, product = jax.linearize(self._gradient_of(loss, task, key), params)
        return Expansion(gradient, product, none_failed)

    @compiled()
    def gradient(self, loss: Loss, params: PyTree, task: PyTree, key: Array | None = None) -> PyTree:
        """Gradient of the loss with respect to ``params``."""
        return self._gradient_of(loss, task, key)(params)

    @compiled()
    def hessian_vector_product(
        self, loss: Loss, params: PyTree, vector: PyTree, task: PyTree, key: Array | None = None
    ) -> PyTree:
        """Hessian of the loss with respect to ``params``, applied to ``vector``."""
        return jax.jvp(self._gradient_of(loss, task, key), (params,), (vector,))[1]

    def _gradient_of(self, loss: Loss, task: PyTree, key: Array | None):
        fixed = loss if key is None else with_key(loss, key)
        return jax.grad(lambda params: fixed(params, task))
