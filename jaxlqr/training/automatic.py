"""Step sizes from the curvature at the first iterate: what ``"auto"`` means to the learners and the command line."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxlqr.core.types import PyTree
from jaxlqr.oracles.protocol import Loss, Oracle
from jaxlqr.oracles.zeroth_order import ZerothOrderOracle

INNER_FRACTION = 0.1  # of 1 / L: adaptation refines, it should not leap
_ITERATIONS = 100


class AutomaticSteps(NamedTuple):
    """Inner and outer step size: numbers, or arrays with one number for each run."""

    inner: Any
    outer: Any


def largest_curvature(loss: Loss, params: PyTree, tasks: PyTree) -> Array:
    """Largest modulus of the eigenvalues of the Hessians of ``loss`` at ``params`` over a stack of tasks.

    Power iteration with a hundred Hessian-vector products for each task.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[0.0]], [[1.0]])  # J(K) = (1 + K^2) / (1 - K^2), J''(0) = 4
    >>> print(f"{largest_curvature(jaxlqr.cost, jnp.zeros((1, 1)), jaxlqr.stack_tasks([task])):.3f}")
    4.000
    """
    flat, unravel = ravel_pytree(params)

    def of_task(task: PyTree) -> Array:
        gradient = jax.grad(lambda vector: loss(unravel(vector), task))

        def step(_, state: tuple[Array, Array]) -> tuple[Array, Array]:
            product = jax.jvp(gradient, (flat,), (state[0],))[1]
            size = jnp.linalg.norm(product)
            return product / jnp.where(size > 0, size, 1), size

        start = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
        return lax.fori_loop(0, _ITERATIONS, step, (start / jnp.linalg.norm(start), jnp.zeros((), flat.dtype)))[1]

    return jnp.max(jax.vmap(of_task)(tasks))


@partial(jax.jit, static_argnames=("loss", "batched"))
def _curvatures(loss: Loss, params: PyTree, tasks: PyTree, batched: bool) -> Array:
    of_run = partial(largest_curvature, loss)
    return (jax.vmap(of_run) if batched else of_run)(params, tasks)


def automatic_steps(
    loss: Loss, params: PyTree, tasks: PyTree, *, oracle: Oracle | None = None, batched: bool = False
) -> AutomaticSteps:
    """Step sizes that are safe at ``params``: 0.1 / L inside and 1 / L outside, L the largest curvature over the tasks.

    A sampled gradient is longer than the exact one, in mean square 1 + d / m times as long for d parameters and m
    samples: with the zeroth-order oracle the outer step is divided by that.

    Arguments:
        loss, params, tasks, oracle, batched: as in :func:`jaxlqr.meta_train`.

    Raises:
        ValueError: where the curvature is zero or not finite.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[0.0]], [[1.0]])  # L = 4
    >>> inner, outer = automatic_steps(jaxlqr.cost, jnp.zeros((1, 1)), jaxlqr.stack_tasks([task]))
    >>> print(f"{inner:.4f} {outer:.4f}")
    0.0250 0.2500
    """
    curvature = np.asarray(_curvatures(loss, params, tasks, batched))
    if not np.all((curvature > 0) & np.isfinite(curvature)):
        raise ValueError(
            f"no step size can be chosen, because the largest Hessian eigenvalue at the first parameters is "
            f"{curvature}; give the inner and the outer step size."
        )
    noise = 1.0
    if isinstance(oracle, ZerothOrderOracle):
        sizes = [math.prod(np.shape(leaf)[1:] if batched else np.shape(leaf)) for leaf in jax.tree.leaves(params)]
        noise += sum(sizes) / oracle.num_samples
    return AutomaticSteps(INNER_FRACTION / curvature, 1 / (curvature * noise))
