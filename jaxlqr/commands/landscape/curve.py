"""Scalar tasks: the meta-objective along the gain, its stationary points, and the kind of each minimum."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr.lqr import optimal_gain
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.landscape import StationaryPoints, certify, evaluate, excess, stationary_points


class Example(NamedTuple):
    """Scalar tasks, a stack, the adaptation step size, and what the curve shows, in one line."""

    tasks: LQRTask
    inner_step_size: float
    claim: str


class Study(NamedTuple):
    """Landscape of one example: gains [points], values [points, M], stationary points, optimal gains [M]."""

    example: Example
    gains: np.ndarray
    values: np.ndarray
    points: StationaryPoints
    optima: np.ndarray


def study(example: Example, grid: np.ndarray, keep: Callable[..., Any] | None = None) -> Study:
    """Evaluate the landscape on gains [points, 1, 1] and find all its stationary points there.

    ``keep`` is None, or a function that is called as ``keep(work, StationaryPoints)`` and returns ``work()`` or the
    result that an earlier run stored.
    """
    work = partial(_look, example, grid)
    found: tuple[np.ndarray, StationaryPoints, np.ndarray] = work() if keep is None else keep(work, StationaryPoints)
    return Study(example, grid.ravel(), *found)


def _look(example: Example, grid: np.ndarray) -> tuple[np.ndarray, StationaryPoints, np.ndarray]:
    tasks, step = example.tasks, example.inner_step_size
    values = np.asarray(evaluate(scalar_cost, grid, tasks, step, per_task=True))
    points = stationary_points(scalar_cost, grid, tasks, step)
    return values, points, np.asarray(_optima(tasks)).ravel()


def told(study: Study) -> dict[str, Any]:
    """The numbers of a study for ``summary.json``, with its parameters."""
    tasks, points = study.example.tasks, study.points
    return {
        "claim": study.example.claim,
        "parameters": {
            name: np.asarray(getattr(tasks, field)).ravel()
            for name, field in (("a", "A"), ("b", "B"), ("q", "Q"), ("r", "R"), ("sigma0", "Sigma0"))
        },
        "inner_step_size": study.example.inner_step_size,
        "optimal_gains": study.optima,
        "minima": [_minimum(study, int(index)) for index in points.minima],
        "maxima": [{"gain": points.params[i].item(), "value": points.values[i]} for i in points.maxima],
        "excess": excess(points),
        "relative_excess": excess(points) / points.least,
    }


_slopes = jax.jit(jax.vmap(jax.grad(scalar_cost), in_axes=(None, 0)))
_optima = jax.jit(jax.vmap(optimal_gain))


def _minimum(study: Study, index: int) -> dict[str, Any]:
    tasks, step = study.example.tasks, study.example.inner_step_size
    gain = jnp.asarray(study.points.params[index])
    slopes = _slopes(gain, tasks).ravel()
    certificate = certify(scalar_cost, gain, tasks, step)
    return {
        "gain": gain.item(),
        "value": study.points.values[index],
        "derivative": study.points.gradients[index, 0],
        "curvature": study.points.eigenvalues[index, 0],
        "adapted_gains": np.asarray(gain.ravel() - step * slopes),
        "largest_task_gradient": float(jnp.max(jnp.abs(slopes))),
        "largest_step_ratio": float(jnp.max(certificate.step_ratios)),
        "certified": bool(certificate.holds),
    }
