"""Families of supervised tasks: sinusoids, and a logistic family whose meta-objective is not convex."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.supervised.task import SupervisedTask


def sinusoid(key: Array, num_tasks: int, *, num_points: int = 20, num_features: int = 8) -> SupervisedTask:
    r"""Stack of sinusoids :math:`y = a \sin(x + b)`, a in [0.1, 5], b in [0, pi], x in [-5, 5], on Fourier features.

    >>> sinusoid(jax.random.key(0), num_tasks=3).x.shape
    (3, 20, 8)

    Source: Finn, Abbeel, Levine, ICML 2017, section 5.1, for the sinusoids.
    """
    if min(num_tasks, num_points, num_features) < 1:
        raise ValueError(
            f"num_tasks, num_points and num_features must be positive, got {num_tasks}, {num_points}, {num_features}."
        )
    shape_key, point_key, feature_key = jax.random.split(key, 3)
    amplitude, phase = jax.random.uniform(shape_key, (2, num_tasks, 1))
    x = jax.random.uniform(point_key, (num_tasks, num_points), minval=-5, maxval=5)
    y = (0.1 + 4.9 * amplitude) * jnp.sin(x + jnp.pi * phase)
    frequency, offset = jax.random.uniform(feature_key, (2, 1, 1, num_features))
    features = jnp.sqrt(2 / num_features) * jnp.cos(2 * frequency * x[..., None] + 2 * jnp.pi * offset)
    return SupervisedTask(features, y, jnp.full(y.shape, 1 / num_points))


def logistic_nonconvex() -> SupervisedTask:
    """Two tasks of one point and one feature, with labels 1 and -1: at a large adaptation step the meta-objective of
    the logistic loss is not convex, though each risk is (docs/errata.md, W4).

    >>> logistic_nonconvex().y.tolist()
    [[1.0], [-1.0]]
    """
    return SupervisedTask(jnp.ones((2, 1, 1)), jnp.asarray(np.array([[1.0], [-1.0]])), jnp.ones((2, 1)))
