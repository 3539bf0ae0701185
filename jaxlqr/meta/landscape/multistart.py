"""Distinct stationary points in any number of parameters, from many starts at once."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import num_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.meta.landscape.objective import check_step, in_parts, mean_value, nowhere_feasible
from jaxlqr.meta.landscape.points import StationaryPoints, classify
from jaxlqr.oracles.protocol import Loss

# Starts in flight together: each holds a Hessian of every task's adaptation.
_TOGETHER = 64


def multistart(
    loss: Loss,
    starts: Any,
    tasks: PyTree,
    inner_step_size: float | Array,
    *,
    num_steps: int = 100,
    tolerance: float = 1e-9,
    separation: float = 1e-5,
) -> StationaryPoints:
    r"""Distinct points with :math:`\nabla h(\theta) = 0`, of every kind, searched from many starts in parallel.

    Each start minimises :math:`\tfrac12 \|\nabla h\|^2` by damped Newton steps
    :math:`-(H^2 + \mu I)^{-1} H \nabla h` (Levenberg and Marquardt) with the exact Hessian H; a step is taken only when
    it decreases the gradient's norm, so no iterate leaves the feasible set. They are attracted by saddles and maxima as
    much as by minima. A search finds what its starts lead to and proves nothing about other points.

    Arguments:
        loss: function (params, task) -> scalar.
        starts: parameters [starts, ...], for LQR gains [starts, m, n]; those that are not feasible are left out.
        tasks: pytree with a leading task axis.
        inner_step_size: adaptation step size, positive.
        num_steps: Newton steps of each start.
        tolerance: an end is a stationary point when the undamped Newton step from there is below ``tolerance`` times
            :math:`1 + \|\theta\|`, where each entry of :math:`\theta` has the spread of the starts for its unit.
        separation: ends closer than this, times the same, are one point.

    Returns:
        :class:`StationaryPoints` in the order of their values; ``num_lost`` counts the feasible starts that ended at
        none, such as at a local minimum of the gradient's norm.

    Raises:
        ValueError: when no start is feasible.

    >>> import jax, jax.numpy as jnp
    >>> from jaxlqr.meta.landscape import Kind
    >>> def camel(x, t):
    ...     return (4 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3) * x[0] ** 2 + x[0] * x[1] + 4 * (x[1] ** 2 - 1) * x[1] ** 2 + t
    >>> starts = jax.random.uniform(jax.random.key(0), (200, 2), minval=-2.0, maxval=2.0)
    >>> found = multistart(camel, starts, jnp.zeros(1), 1e-6)
    >>> [int((found.kinds == kind).sum()) for kind in Kind]  # of the six-hump camel back function
    [6, 2, 7, 0]
    """
    check_step(inner_step_size)
    starts = np.asarray(starts, jnp.result_type(float))
    if starts.ndim < 1 or len(starts) == 0:
        raise ValueError(f"starts must hold at least one point, got shape {starts.shape}.")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    size = min(_TOGETHER, len(starts))
    # The search and its tests scale each entry of the parameters to a spread of one.
    unit = _units(starts.reshape(len(starts), -1))
    search = partial(_search, loss, num_steps, size, jnp.asarray(unit))
    ends, looks, first = in_parts(search, size, starts, tasks, inner_step_size)
    ends, first = np.asarray(ends), np.asarray(first)
    if not np.any(np.isfinite(first)):
        raise ValueError(nowhere_feasible(len(starts), num_tasks(tasks)).replace("grid", "starts", 1))
    values, gradients, hessians = (np.asarray(part) for part in looks)
    flat = ends.reshape(len(ends), -1) / unit
    scale = 1 + np.linalg.norm(flat, axis=1)
    feasible = np.isfinite(values) & np.isfinite(first)
    safe = np.where(feasible[:, None, None], hessians, np.eye(flat.shape[1]))
    safe = (safe + safe.mT) / 2
    curvatures, vectors = np.linalg.eigh(safe)
    inner = np.abs(np.einsum("kij,ki->kj", vectors, np.where(feasible[:, None], gradients, 0)))
    # As a product: along a direction without curvature the gradient must be zero itself.
    reached = feasible & np.all(inner <= tolerance * scale[:, None] * np.abs(curvatures), axis=1)
    kept = _distinct(flat, values, np.flatnonzero(reached), separation * scale)
    index = np.array([members[0] for members in kept], int)
    return StationaryPoints(
        params=ends[index],
        values=values[index],
        gradients=gradients[index] / unit,
        eigenvalues=np.linalg.eigvalsh(safe[index] / unit / unit[:, None]),
        kinds=classify(curvatures[index]) if len(index) else np.zeros(0, int),
        hits=np.array([len(members) for members in kept], int),
        least=float(np.nanmin([*first[np.isfinite(first)], *values[index]])),
        num_lost=int(np.sum(np.isfinite(first) & ~reached)),
    )


def _units(starts: np.ndarray) -> np.ndarray:
    """A unit for each entry of the parameters: the spread of the starts; where they agree, their modulus or one."""
    spread, size = np.ptp(starts, axis=0), np.max(np.abs(starts), axis=0)
    return np.where(spread > 0, spread, np.where(size > 0, size, 1))


def _distinct(points: np.ndarray, values: np.ndarray, candidates: np.ndarray, distance: np.ndarray) -> list[list[int]]:
    """Groups of candidates that are one point, by value of their first members."""
    groups: list[list[int]] = []
    for index in candidates[np.argsort(values[candidates], kind="stable")]:
        for group in groups:
            if np.linalg.norm(points[index] - points[group[0]]) <= distance[index]:
                group.append(int(index))
                break
        else:
            groups.append([int(index)])
    return groups


class _Look(NamedTuple):
    value: Array
    gradient: Array
    hessian: Array


@compiled(static=("num_steps", "max_points"))
def _search(loss: Loss, num_steps: int, max_points: int, unit, starts, tasks, inner_step_size):
    shape = starts.shape[1:]

    def objective(flat: Array) -> Array:
        return mean_value(loss, (flat * unit).reshape(shape), tasks, inner_step_size)

    def with_gradient(flat: Array):
        value, gradient = jax.value_and_grad(objective)(flat)
        return gradient, (value, gradient)

    def look(flat: Array) -> _Look:
        # Forward over reverse, all columns at once: value and gradient come with them.
        hessian, (value, gradient) = jax.jacfwd(with_gradient, has_aux=True)(flat)
        return _Look(value, gradient, hessian)

    def one(start: Array):
        def step(number: Array, carry):
            point, seen, damping, first = carry
            normal = seen.hessian.T @ seen.hessian
            shift = damping * jnp.trace(normal) / len(point) * jnp.eye(len(point), dtype=point.dtype)
            move = jnp.linalg.solve(normal + shift, seen.hessian.T @ seen.gradient)
            # The zeroth step stands still: it is the first look, so that looking is compiled once.
            there = jnp.where(number > 0, point - move, point)
            ahead = look(there)
            better = jnp.linalg.norm(ahead.gradient) < jnp.linalg.norm(seen.gradient)  # false for NaN
            take = (number == 0) | (better & jnp.isfinite(ahead.value))
            point, seen = jax.tree.map(lambda new, old: jnp.where(take, new, old), (there, ahead), (point, seen))
            damping = jnp.where(number == 0, damping, jnp.clip(damping * jnp.where(take, 0.2, 5.0), 1e-14, 1e8))
            return point, seen, damping, jnp.where(number == 0, ahead.value, first)

        zero = jnp.zeros((), start.dtype)
        blank = _Look(zero, jnp.zeros_like(start), jnp.eye(len(start), dtype=start.dtype))
        point, seen, _, first = lax.fori_loop(0, num_steps + 1, step, (start, blank, zero + 1e-2, zero))
        return (point * unit).reshape(shape), seen, first

    return lax.map(one, starts.reshape(len(starts), -1) / unit[None], batch_size=max_points)
