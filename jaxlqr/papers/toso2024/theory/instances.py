"""Random task sets with a gain, as functions of unconstrained numbers, so that an attack can move them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask

Parameters = dict[str, Array]


class Instance(NamedTuple):
    """A stack of tasks, a gain, and a direction [m, n] for Lemma 6."""

    K: Array
    tasks: LQRTask
    direction: Array


def draw(key: Array, num_states: int, num_inputs: int, num_tasks: int = 2, least_log_level: float = -7.0) -> Parameters:
    """Unconstrained numbers from which :func:`instance` makes a task set.

    The scale of each matrix varies by e^2, the logarithm of the level of heterogeneity between ``least_log_level``
    and 0.
    """
    n, m = num_states, num_inputs
    shapes = {"A": (n, n), "B": (n, m), "Q": (n, n), "R": (m, m), "S": (n, n), "K": (m, n), "direction": (m, n)}
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    # One draw for all: a compilation of a fraction of the length.
    numbers = jax.random.normal(key, (len(shapes) + (1 + num_tasks) * sum(sizes) + 1,))
    scales, rest, level = jnp.split(numbers, [len(shapes), numbers.size - 1])
    theta: Parameters = {"log_level": least_log_level * jax.scipy.stats.norm.cdf(level[0])}
    ends = np.cumsum([(1 + num_tasks) * size for size in sizes])[:-1]
    for (name, shape), part, scale in zip(shapes.items(), jnp.split(rest, ends), scales, strict=True):
        part = part.reshape(1 + num_tasks, *shape)
        theta[name], theta["d" + name] = jnp.exp(scale) * part[0], part[1:]
    return theta


def instance(theta: Parameters) -> Instance:
    """The task set: definite Q, R and Sigma0, a gain near the optimum of the nominal task, tasks at the drawn level."""
    level = jnp.exp(theta["log_level"])

    def definite(name: str) -> Array:
        roots = theta[name][None] + level * theta["d" + name]
        return roots @ roots.mT + 1e-2 * jnp.eye(roots.shape[-1])[None]

    A, B = (theta[name][None] + level * theta["d" + name] for name in ("A", "B"))
    Sigma0 = jnp.broadcast_to(definite("S")[:1], A.shape)
    tasks = LQRTask(A, B, definite("Q"), definite("R"), Sigma0)
    nominal = jax.tree.map(lambda leaf: leaf[0], tasks)
    K = lax.stop_gradient(optimal_gain(nominal)) + 0.1 * theta["K"]
    return Instance(K, tasks, theta["direction"])
