"""Losses over families with infeasible tasks: a constant with zero derivatives replaces an infinite loss."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import num_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.matrix_equations.gramians import infinite_unless
from jaxlqr.meta.maml import params_and_tasks
from jaxlqr.oracles.protocol import Loss


@dataclass(frozen=True)
class FeasibleLoss:
    """A loss where it is finite, and a constant elsewhere: a function (params, task) -> scalar without +inf or NaN.

    If ``loss`` is not finite, all derivatives are zero, in both modes and to any order. So it can be averaged over a
    batch with infeasible lanes. The derivative of ``loss`` itself is NaN there, and NaN times zero is NaN:
    ``jnp.where`` around ``loss`` does not keep it out of a gradient.

    A constant has no slope towards the feasible set, and an optimiser may lower a mean by leaving this set. So count
    the infeasible lanes, or shorten the step, as :func:`jaxlqr.meta_train` does.

    Attributes:
        loss: function (params, task) -> scalar.
        otherwise: the constant.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> task, bad = jaxlqr.make_task([[0.9]], [[1.0]]), jnp.array([[-0.5]])
    >>> print(jax.grad(jaxlqr.cost)(bad, task), jax.grad(FeasibleLoss(jaxlqr.cost))(bad, task))
    [[nan]] [[0.]]
    """

    loss: Loss
    _: KW_ONLY
    otherwise: float = 0.0

    def __call__(self, params: PyTree, task: PyTree) -> Array:
        """The loss, or the constant, a scalar."""
        value, feasible = _gated(self.loss, params, task)
        return jnp.where(feasible, value, jnp.asarray(self.otherwise, value.dtype))


def _gated(loss: Loss, params: PyTree, task: PyTree) -> tuple[Array, Array]:
    """The loss, and whether it is finite; where it is not, no derivative passes from its value to its arguments."""
    fixed_params, fixed_task = lax.stop_gradient((params, task))
    feasible = jnp.isfinite(loss(fixed_params, fixed_task))

    # There is a where at the entrance and one at the exit. The first stops NaN in reverse mode, the second in forward
    # mode, and every derivative contains both again. XLA sees one value, and computes the loss once.
    def gate(leaf: Any, fixed: Any) -> Any:
        return jnp.where(feasible, leaf, fixed)

    return loss(*jax.tree.map(gate, (params, task), (fixed_params, fixed_task))), feasible


@compiled(prepare=params_and_tasks)
def mean_over_feasible(
    loss: Loss, params: PyTree, tasks: PyTree, *, weights: Float[Array, " tasks"] | None = None
) -> Float[Array, ""]:
    r"""Mean of the loss over the tasks for which it is finite, a scalar: :math:`\sum_i w_i J_i / \sum_i w_i`.

    Arguments:
        loss: function (params, task) -> scalar, unbatched; +inf or NaN marks infeasible parameters.
        params: pytree of parameters.
        tasks: a stack of tasks, leading axis M, or a list of :class:`jaxlqr.LQRTask`.
        weights: task weights w [M], not negative; equal unless given.

    Returns:
        A scalar. Its derivatives equal the derivatives of the mean over the feasible tasks, in both modes and to any
        order: an infeasible task adds zero. Where no task is feasible, +inf with NaN for derivatives.

    It does not depend on the infeasible tasks; see :class:`jaxlqr.FeasibleLoss`.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 2.0])  # the gain 0.5 stabilises the first alone
    >>> print(jax.grad(mean_over_feasible, argnums=1)(jaxlqr.cost, jnp.array([[0.5]]), tasks).round(4))
    [[-0.2268]]
    """
    count = num_tasks(tasks)
    if weights is not None and jnp.shape(weights) != (count,):
        raise ValueError(f"weights must have shape ({count},), one for each task, got {jnp.shape(weights)}.")
    values, feasible = jax.vmap(lambda task: _gated(loss, params, task))(tasks)
    shares = jnp.ones_like(values) if weights is None else jnp.asarray(weights, values.dtype)
    shares = jnp.where(feasible, shares, 0)
    total = jnp.sum(shares)
    mean = jnp.sum(shares * jnp.where(feasible, values, 0)) / jnp.where(total > 0, total, 1)
    # A zero that reaches the parameters past the gates: where no task is left their derivatives are NaN.
    reach = sum(jnp.sum(0 * leaf) for leaf in jax.tree.leaves(params))
    return infinite_unless(total > 0, mean + jnp.asarray(reach, mean.dtype))
