"""Supervised tasks: weighted points, one distribution a task."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.checks import refuse_masked


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SupervisedTask:
    """A distribution on N points (x, y), a pytree of arrays; :func:`make_supervised_tasks` builds a checked stack.

    Attributes:
        x: inputs, or their features [N, d].
        y: targets [N]; labels -1 and 1 for the logistic loss, integers for the cross-entropy.
        probability: of each point [N].
    """

    x: Array
    y: Array
    probability: Array


def make_supervised_tasks(x: Any, y: Any, *, probability: Any | None = None) -> SupervisedTask:
    """Stack of tasks from inputs [M, N, d], targets [M, N] and probabilities [M, N], uniform unless given.

    >>> make_supervised_tasks(np.zeros((2, 5, 3)), np.zeros((2, 5))).probability[0, 0].item()
    0.2
    """
    for name, value in (("x", x), ("y", y), ("probability", probability)):
        refuse_masked(value, name)
    inputs, targets = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if inputs.ndim != 3 or 0 in inputs.shape or targets.shape != inputs.shape[:2]:
        raise ValueError(f"x must have shape [M, N, d] and y [M, N], got {inputs.shape} and {targets.shape}.")
    shares = np.full(targets.shape, 1 / targets.shape[1]) if probability is None else np.asarray(probability, float)
    if shares.shape != targets.shape:
        raise ValueError(f"probability must have the shape of y, {targets.shape}, got {shares.shape}.")
    if shares.min() < 0 or np.any(np.abs(shares.sum(axis=1) - 1) > 1e-6):
        raise ValueError("probability must not be negative and must sum to one in each task; normalise it.")
    if not (np.all(np.isfinite(inputs)) and np.all(np.isfinite(targets))):
        raise ValueError("x and y must be finite; drop the points that are not.")
    dtype = jnp.result_type(float)
    return SupervisedTask(*(jnp.asarray(value, dtype) for value in (inputs, targets, shares)))
