r"""The meta-objective :math:`\sum_i w_i\, J_i(\theta - \eta \nabla J_i(\theta))` and its gradient, for any loss."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlqr.core.arguments import as_key, check_count, check_number
from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import Layout, check_batch_size
from jaxlqr.core.types import PyTree
from jaxlqr.lqr.task import LQRTask, as_stack
from jaxlqr.meta.estimate import Perturbations
from jaxlqr.meta.objective import Maml
from jaxlqr.oracles.exact import as_oracle
from jaxlqr.oracles.protocol import Loss, Oracle, step_along


def _steps(inner_step_size: Any, num_inner_steps: Any) -> dict[str, Any]:
    """The inner step size, which may be left out where no inner step is taken."""
    check_count("num_inner_steps", num_inner_steps, 0)
    if inner_step_size is None and num_inner_steps == 0:
        return {"inner_step_size": 0.0}
    check_number("inner_step_size", inner_step_size)
    return {}


def params_and_tasks(params: Any, tasks: Any) -> dict[str, Any]:
    """Tasks as a stack, and a gain for LQR tasks, written as nested lists, as an array."""
    tasks = as_stack(tasks)
    if isinstance(params, list | tuple) and isinstance(tasks, LQRTask):
        params = jnp.asarray(params, tasks.A.dtype)
    return {"params": params, "tasks": tasks}


def _arguments(
    params: Any, tasks: Any, inner_step_size: Any, num_inner_steps: Any, oracle: Any, key: Any, batch_size: Any
) -> dict[str, Any]:
    check_batch_size(batch_size)
    keys = {} if key is None else {"key": as_key(key)}
    adaptation = _steps(inner_step_size, num_inner_steps)
    return params_and_tasks(params, tasks) | adaptation | keys | {"oracle": as_oracle(oracle)}


@compiled(static=("num_inner_steps",), prepare=_steps)
def adapt(
    loss: Loss, params: PyTree, task: PyTree, inner_step_size: float | Array, *, num_inner_steps: int = 1
) -> PyTree:
    """Parameters after ``num_inner_steps`` exact gradient steps on one task; differentiable."""
    for _ in range(num_inner_steps):
        params = step_along(params, inner_step_size, jax.grad(loss)(params, task))
    return params


_STATIC = ("num_inner_steps", "first_order", "perturbations", "batch_size")


@compiled(static=_STATIC, prepare=_arguments)
def maml_loss(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    inner_step_size: float | Array | None = None,
    num_inner_steps: int = 1,
    weights: Array | None = None,
    oracle: Oracle | None = None,
    key: Array | None = None,
    first_order: bool = False,
    perturbations: Perturbations = "independent",
    batch_size: int | None = None,
) -> Float[Array, ""]:
    r"""Meta-objective :math:`\sum_i w_i\, J_i(\bar\theta_i)` with adapted parameters :math:`\bar\theta_i`, a scalar.

    Arguments:
        loss: function (params, task) -> scalar, unbatched.
        params: pytree of parameters, a gain [m, n] for LQR.
        tasks: pytree with a leading task axis M.
        inner_step_size: step size of the adaptation; not needed with ``num_inner_steps=0``.
        num_inner_steps: number of adaptation steps; 0 is the plain multi-task objective.
        weights: task weights [M]; 1/M each unless given.
        oracle: source of the gradients of the adaptation; exact unless given.
        key: random key, for zeroth-order oracles and stochastic losses.
        first_order: take the inner gradients as constants, so that derivatives of the value are those of first-order
            MAML; the value is the same.
        perturbations: ``"independent"`` draws for each task and inner step; ``"shared"`` uses one draw for all of them,
            as the released code of toso2024 does (docs/errata.md, T8).
        batch_size: tasks worked on at once, which bounds the memory; all of them unless given.

    Returns:
        A scalar, differentiable as often as ``loss`` is, less the inner gradients.

    Raises:
        ValueError: when an argument does not fit.

    >>> import jax.numpy as jnp
    >>> quadratic = lambda params, task: (params - task) ** 2 / 2
    >>> float(maml_loss(quadratic, jnp.array(0.0), jnp.array([1.0, -1.0]), inner_step_size=0.5))
    0.125

    Source: toso2024, equation (3); Finn, Abbeel, Levine, ICML 2017.
    """
    objective = Maml(
        inner_step_size=inner_step_size,
        num_inner_steps=num_inner_steps,
        first_order=first_order,
        perturbations=perturbations,
    )
    layout = Layout(batch_size=batch_size)
    return objective.value(loss, params, tasks, as_oracle(oracle), key, weights=weights, layout=layout)


@compiled(static=_STATIC, prepare=_arguments)
def maml_gradient(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    inner_step_size: float | Array | None = None,
    num_inner_steps: int = 1,
    weights: Array | None = None,
    oracle: Oracle | None = None,
    key: Array | None = None,
    first_order: bool = False,
    perturbations: Perturbations = "independent",
    batch_size: int | None = None,
) -> PyTree:
    r"""Gradient of :func:`maml_loss`, a pytree like ``params``, with all derivatives of the loss taken from ``oracle``.

    For one inner step, :math:`\sum_i w_i (I - \eta_l \nabla^2 J_i(\theta)) \nabla J_i(\bar\theta_i)`: with
    :class:`jaxlqr.ExactOracle` Algorithm 1 of toso2024, and ``jax.grad`` of :func:`maml_loss` to rounding; with
    :class:`jaxlqr.ZerothOrderOracle` Algorithm 3.

    Arguments:
        loss, params, tasks, inner_step_size, num_inner_steps, weights, key, perturbations, batch_size: as in
            :func:`maml_loss`.
        oracle: source of all derivatives; exact unless given.
        first_order: leave out the Hessian (first-order MAML).

    Returns:
        A pytree like ``params``; NaN where the loss of some adapted task is infinite.

    Raises:
        ValueError: when an argument does not fit.

    >>> import jax.numpy as jnp
    >>> quadratic = lambda params, task: (params - task) ** 2 / 2
    >>> float(maml_gradient(quadratic, jnp.array(1.0), jnp.array([1.0, -1.0]), inner_step_size=0.5))
    0.25
    """
    objective = Maml(
        inner_step_size=inner_step_size,
        num_inner_steps=num_inner_steps,
        first_order=first_order,
        perturbations=perturbations,
    )
    layout = Layout(batch_size=batch_size)
    return objective.estimate(loss, params, tasks, as_oracle(oracle), key, weights=weights, layout=layout).gradient
