"""All stationary points of the meta-objective in one parameter, from a grid that separates them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import num_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.meta.landscape.objective import CHUNK, check_step, in_parts, mean_value, nowhere_feasible
from jaxlqr.meta.landscape.points import StationaryPoints, classify
from jaxlqr.oracles.protocol import Loss

# Newton or bisection steps inside a bracket: bisection alone reaches the last bit of a float64 in 60.
_REFINEMENTS = 60
# Rounding errors of a derivative over its slope, in units of the machine precision: what the steps end at.
_NOISE = 256
# Brackets in multiples of this: another number of them compiles nothing.
_LANES = 16


def stationary_points(
    loss: Loss, grid: Any, tasks: PyTree, inner_step_size: float | Array, *, tolerance: float = 1e-10
) -> StationaryPoints:
    r"""All points with :math:`h'(\theta) = 0` that a grid separates, for a single scalar parameter.

    The derivative, by autodiff, is evaluated on the grid; each change of sign between neighbours is a bracket, inside
    which Newton's method, with bisection where it would leave the bracket, runs until its step is below ``tolerance``
    times :math:`|\theta|` plus the width of the grid. Where the derivative comes near zero without changing sign, its
    extremum, a root of :math:`h''`, is found likewise: beyond zero, it parts two more brackets; at zero to rounding, it
    is a stationary point of its own, of kind ``DEGENERATE``. A change of sign across which the objective is infinite is
    no stationary point. The search misses two changes of sign between neighbours that do not affect the slopes on the
    grid.

    Arguments:
        loss: function (params, task) -> scalar.
        grid: increasing parameters [points, 1, ..., 1], for LQR [points, 1, 1].
        tasks: pytree with a leading task axis.
        inner_step_size: adaptation step size, positive.
        tolerance: of the parameter, relative to its modulus and the width of the grid.

    Returns:
        :class:`StationaryPoints`, which may be none.

    >>> import numpy as np, jaxlqr
    >>> from jaxlqr.lqr.closed_form import scalar_cost
    >>> from jaxlqr.meta.landscape import Kind
    >>> task = jaxlqr.families.scalar(a=1.0, b=1.0)
    >>> grid = np.linspace(0.01, 1.99, 400).reshape(-1, 1, 1)
    >>> found = stationary_points(scalar_cost, grid, task, inner_step_size=0.05)
    >>> print(np.round(found.params.ravel(), 3), [Kind(kind).name for kind in found.kinds])
    [0.246 0.376 0.618 1.366 1.654] ['MINIMUM', 'MAXIMUM', 'MINIMUM', 'MAXIMUM', 'MINIMUM']
    """
    check_step(inner_step_size)
    grid = _increasing(grid)
    size = min(max(1, CHUNK // num_tasks(tasks)), len(grid))
    values, slopes = map(np.asarray, in_parts(partial(_slopes, loss, size), size, grid, tasks, inner_step_size))
    if not np.any(np.isfinite(values)):
        raise ValueError(nowhere_feasible(len(grid), num_tasks(tasks)))
    slopes = np.where(np.isfinite(values), slopes, np.nan)

    def refine(order: int, low: np.ndarray, high: np.ndarray, falls: np.ndarray) -> _Found:
        # Copies fill the lanes, and are removed at the end.
        count = len(low)
        lanes = -(-count // _LANES) * _LANES
        low, high, falls = (np.resize(part, (lanes, *part.shape[1:])) for part in (low, high, falls))
        found = _refine(loss, order, tasks, low, high, falls, inner_step_size)
        return _Found(*(np.asarray(part)[:count] for part in found))

    low, high, falls, touching = _brackets(grid, values, slopes, refine)
    found = touching
    if len(low):
        crossing = refine(1, low, high, falls)
        reached = max(tolerance, _NOISE * np.finfo(grid.dtype).eps)
        # As a product: a point of zero curvature is kept if its derivative is zero, too.
        width = float(np.ptp(grid))
        step = reached * (width + np.abs(crossing.params.reshape(len(low)))) * np.abs(crossing.curvature)
        kept = np.isfinite(crossing.value) & (np.abs(crossing.derivative) <= step)
        found = _join(touching, _at(crossing, kept))
    found = _at(found, np.argsort(found.params.ravel()))
    return StationaryPoints(
        params=found.params,
        values=found.value,
        gradients=found.derivative[:, None],
        eigenvalues=found.curvature[:, None],
        kinds=classify(found.curvature[:, None], scale=_around(grid, slopes, found.params)),
        hits=np.ones(len(found.value), int),
        least=float(min([*values[np.isfinite(values)], *found.value])),
    )


class _Found(NamedTuple):
    params: Any  # [k, 1, ..., 1]
    value: Any  # [k]
    derivative: Any
    curvature: Any


def _at(found: _Found, index: np.ndarray) -> _Found:
    return _Found(*(part[index] for part in found))


def _join(*found: _Found) -> _Found:
    return _Found(*map(np.concatenate, zip(*found, strict=True)))


def _around(grid: np.ndarray, slopes: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Change of the slope over the grid points around each point, divided by their distance. A curvature is small when
    it is small beside this number."""
    points, size = grid.ravel(), np.where(np.isfinite(slopes), np.abs(slopes), 0)
    last = np.clip(np.searchsorted(points, params.ravel()) + 1, 1, len(points) - 1)
    first = np.maximum(last - 3, 0)
    largest = np.array([np.max(size[i : j + 1]) for i, j in zip(first, last, strict=True)])
    return largest / (points[last] - points[first])


def _brackets(grid: np.ndarray, values: np.ndarray, slopes: np.ndarray, refine: Callable[..., _Found]):
    """Brackets (low, high, whether the slope is negative at low) of changes of sign, and points of touching."""
    falling = slopes < 0
    known = np.isfinite(slopes)
    # Half-open, so that a zero exactly on a grid point is found once.
    left = np.flatnonzero(known[:-1] & known[1:] & (falling[:-1] != falling[1:]))
    low, high, falls = grid[left], grid[left + 1], falling[left]
    size, same = np.abs(slopes), falling[1:] == falling[:-1]
    # Grid points where the slope is nearest zero, strictly so on one side, between neighbours of its sign.
    nearest = known[:-2] & known[1:-1] & known[2:] & same[:-1] & same[1:]
    nearest &= (size[1:-1] < size[:-2]) & (size[1:-1] <= size[2:])
    dips = np.flatnonzero(nearest) + 1
    if len(dips) == 0:
        return low, high, falls, _Found(grid[:0], values[:0], values[:0], values[:0])
    turned = refine(2, grid[dips - 1], grid[dips + 1], ~falling[dips])
    # The effect of rounding of the value on a slope, over the width of the grid, and the neighbouring slopes.
    scale = np.abs(turned.value) / float(np.ptp(grid)) + np.maximum(size[dips - 1], size[dips + 1])
    touching = np.abs(turned.derivative) <= _NOISE * np.finfo(grid.dtype).eps * scale
    beyond = ~touching & np.isfinite(turned.value) & ((turned.derivative < 0) != falling[dips])
    middle, around = turned.params[beyond], dips[beyond]
    low = np.concatenate([low, grid[around - 1], middle])
    high = np.concatenate([high, middle, grid[around + 1]])
    falls = np.concatenate([falls, falling[around], ~falling[around]])
    return low, high, falls, _at(turned, touching)


def _increasing(grid: Any) -> np.ndarray:
    grid = np.asarray(grid, jnp.result_type(float))
    if grid.ndim == 0 or grid.size != len(grid) or len(grid) < 2 or not np.all(np.diff(grid.ravel()) > 0):
        raise ValueError(
            f"grid must hold at least two increasing values of a single scalar parameter, of shape [points, 1, 1] for "
            f"gains, got shape {grid.shape}; for gains with more entries use evaluate on a plane."
        )
    return grid


@compiled(static=("max_points",))
def _slopes(loss: Loss, max_points: int, grid, tasks, inner_step_size) -> tuple[Array, Array]:
    def one(params: Array) -> tuple[Array, ...]:
        return _derivatives(lambda p: mean_value(loss, p, tasks, inner_step_size), params, 1)

    return lax.map(one, grid, batch_size=max_points)


def _derivatives(function: Callable[[Array], Array], params: Array, order: int) -> tuple[Array, ...]:
    """Value and derivatives up to ``order``, scalars, along the one parameter."""

    def tower(params: Array, order: int) -> tuple[Array, ...]:
        if order == 0:
            return (function(params),)
        lower, changes = jax.jvp(lambda p: tower(p, order - 1), (params,), (jnp.ones_like(params),))
        return *lower, changes[-1]

    return tower(params, order)


@compiled(static=("order",))
def _refine(loss: Loss, order: int, tasks, low, high, falls, inner_step_size) -> _Found:
    """The root of the derivative of this order in each bracket; ``falls``: that derivative is negative at ``low``."""

    def look(params: Array) -> tuple[Array, ...]:
        return _derivatives(lambda p: mean_value(loss, p, tasks, inner_step_size), params, order + 1)

    def one(low: Array, high: Array, falls: Array) -> _Found:
        # The Newton step is taken at the beginning of a round, so that the last look is at the last point.
        def narrow(_, carry):
            low, high, params, seen = carry
            newton = params - seen[order] / seen[order + 1]
            params = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
            seen = look(params)
            before = (seen[order] < 0) == falls
            return jnp.where(before, params, low), jnp.where(before, high, params), params, seen

        nothing = (jnp.zeros((), low.dtype),) * (order + 2)
        start = (low, high, low, nothing)  # 0 / 0: the first step bisects
        _, _, params, seen = lax.fori_loop(0, _REFINEMENTS, narrow, start)
        return _Found(params, *seen[:3])

    return jax.vmap(one)(low, high, falls)
