"""The exact optimum of the meta-objective, by damped Newton: for few parameters and cheap derivatives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import hermitian
from jaxlqr.core.types import PyTree
from jaxlqr.iterations.newton import damped_newton
from jaxlqr.meta.maml import maml_gradient, maml_loss
from jaxlqr.oracles.protocol import Loss

_TRIALS = 15  # lengths of a step


class NewtonOptimum(NamedTuple):
    """Where Newton's method ended.

    Attributes:
        params: the parameters.
        gradient_norm: norm of the meta-gradient there, relative to that at the start.
        curvature: least eigenvalue of the Hessian there; positive at a strict minimum.
        num_steps: steps taken.
    """

    params: PyTree
    gradient_norm: Array
    curvature: Array
    num_steps: Array


@compiled(static=("num_inner_steps", "max_steps"))
def newton_optimum(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    inner_step_size: float | Array,
    *,
    num_inner_steps: int = 1,
    max_steps: int = 30,
    tolerance: float | Array = 1e-13,
) -> NewtonOptimum:
    r"""A local minimum of :func:`jaxlqr.maml_loss` near ``params``.

    The Hessian, by forward-mode autodiff of the exact meta-gradient, is scaled to a unit diagonal, so that units of
    parameters do not matter. The moduli of its eigenvalues make it positive. A step is halved until the objective does
    not grow.

    Arguments:
        loss: function (params, task) -> scalar, hashable; +inf marks infeasible parameters.
        params: where to begin, feasible for every adapted task; d numbers, whose cube the work grows with.
        tasks: pytree with a leading task axis.
        inner_step_size, num_inner_steps: of the adaptation; 0 steps for the optimum of the mean loss.
        max_steps: at most so many steps.
        tolerance: stop when the gradient's norm is below this fraction of that at the start, where each parameter is
            measured in the unit that makes its own curvature one at the start.

    Returns:
        :class:`NewtonOptimum`. Runs inside ``jit`` and ``vmap``.

    >>> quadratic = lambda params, task: jnp.sum((params - task) ** 2)
    >>> found = newton_optimum(quadratic, jnp.array([3.0]), jnp.array([[0.0], [1.0]]), 0.1)
    >>> print(found.params, int(found.num_steps))
    [0.5] 1
    """
    start, unravel = ravel_pytree(params)

    def value(flat: Array) -> Array:
        return maml_loss(loss, unravel(flat), tasks, inner_step_size=inner_step_size, num_inner_steps=num_inner_steps)

    def gradient(flat: Array) -> Array:
        slope = maml_gradient(
            loss, unravel(flat), tasks, inner_step_size=inner_step_size, num_inner_steps=num_inner_steps
        )
        return ravel_pytree(slope)[0]

    def derivatives(flat: Array) -> tuple[Array, Array]:
        # One linearisation for the gradient and all columns of the Hessian.
        slope, product = jax.linearize(gradient, flat)
        return slope, hermitian(jax.vmap(product)(jnp.eye(flat.size, dtype=flat.dtype)))

    end = damped_newton(value, derivatives, start, max_steps=max_steps, max_backtracks=_TRIALS, tolerance=tolerance)
    return NewtonOptimum(unravel(end.point), end.size, jnp.linalg.eigvalsh(end.hessian)[0], end.num_steps)
