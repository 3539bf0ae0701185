"""All stationary points of the meta-objective in one parameter, and what they say about its landscape."""

import enum
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.meta.landscape.objective import CHUNK, check_step, mean_value, nowhere_feasible
from jaxlqr.meta.objective import num_tasks
from jaxlqr.oracles.protocol import Loss, PyTree

# Newton or bisection steps inside a bracket: bisection alone reaches the last bit of a float64 in 60.
_REFINEMENTS = 60
# Rounding errors of a derivative over its slope, in units of the machine precision: what the steps end at.
_NOISE = 256


class Kind(enum.IntEnum):
    """What a stationary point is, from the eigenvalues of the Hessian there.

    Attributes:
        MINIMUM: all are positive.
        MAXIMUM: all are negative.
        SADDLE: there are both.
        DEGENERATE: one is zero within the tolerance, which the second order cannot decide.
    """

    MINIMUM = 0
    MAXIMUM = 1
    SADDLE = 2
    DEGENERATE = 3


def classify(eigenvalues: Any, tolerance: float = 1e-9) -> np.ndarray:
    """:class:`Kind` codes [...] of stationary points, from their Hessian eigenvalues [..., d].

    An eigenvalue counts as zero below ``tolerance`` times the largest modulus among those of the same point (or times
    one, if that is larger than the modulus).

    >>> [Kind(kind).name for kind in classify([[1.0, 2.0], [-1.0, -2.0], [-1.0, 2.0], [0.0, 2.0]])]
    ['MINIMUM', 'MAXIMUM', 'SADDLE', 'DEGENERATE']
    """
    values = np.asarray(eigenvalues, dtype=float)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"eigenvalues must have shape [..., d] with d >= 1, got {values.shape}.")
    scale = np.maximum(np.max(np.abs(values), axis=-1, keepdims=True), 1.0)
    sign = np.where(np.abs(values) > tolerance * scale, np.sign(values), 0.0)
    kinds = np.full(values.shape[:-1], Kind.SADDLE)
    kinds[np.all(sign > 0, axis=-1)] = Kind.MINIMUM
    kinds[np.all(sign < 0, axis=-1)] = Kind.MAXIMUM
    kinds[~np.all(np.abs(sign) == 1, axis=-1)] = Kind.DEGENERATE  # also NaN
    return kinds


@dataclass(frozen=True, kw_only=True)
class StationaryPoints:
    """Stationary points of the meta-objective on an interval, in the order of the parameter.

    Attributes:
        params: parameters [k, ...], for LQR gains [k, 1, 1].
        values: objective [k].
        derivatives: first derivative [k], zero to rounding.
        curvatures: second derivative [k].
        kinds: :class:`Kind` codes [k].
        least: the least value on the grid and at these points.
    """

    params: np.ndarray
    values: np.ndarray
    derivatives: np.ndarray
    curvatures: np.ndarray
    kinds: np.ndarray
    least: float

    @property
    def minima(self) -> np.ndarray:
        """Indices of the local minima."""
        return np.flatnonzero(self.kinds == Kind.MINIMUM)

    @property
    def maxima(self) -> np.ndarray:
        """Indices of the local maxima."""
        return np.flatnonzero(self.kinds == Kind.MAXIMUM)


def stationary_points(
    loss: Loss, tasks: PyTree, grid: Any, inner_step_size: float | Array, *, tolerance: float = 1e-10
) -> StationaryPoints:
    r"""All points with :math:`h'(\theta) = 0` that a grid separates, for a single scalar parameter.

    The derivative, by autodiff, is evaluated on the grid; each change of sign between neighbours is a bracket, inside
    which Newton's method, with bisection where it would leave the bracket, runs until its step is below ``tolerance``
    times :math:`1 + |\theta|`. A change of sign across which the objective is infinite is no stationary point, and is
    not reported; neither is a pair of points that lie between two neighbours, so choose the grid fine enough.

    Arguments:
        loss: function (params, task) -> scalar.
        tasks: pytree with a leading task axis.
        grid: increasing parameters [points, 1, ..., 1], for LQR [points, 1, 1].
        inner_step_size: adaptation step size, positive.
        tolerance: of the parameter.

    Returns:
        :class:`StationaryPoints`, which may be none.

    >>> import numpy as np, jaxlqr
    >>> from jaxlqr.lqr.closed_form import scalar_cost
    >>> task = jaxlqr.families.scalar(a=1.0, b=1.0)
    >>> grid = np.linspace(0.01, 1.99, 400).reshape(-1, 1, 1)
    >>> found = stationary_points(scalar_cost, task, grid, inner_step_size=0.05)
    >>> print(np.round(found.params.ravel(), 3), [Kind(kind).name for kind in found.kinds])
    [0.246 0.376 0.618 1.366 1.654] ['MINIMUM', 'MAXIMUM', 'MINIMUM', 'MAXIMUM', 'MINIMUM']
    """
    check_step(inner_step_size)
    grid = _increasing(grid)
    size = min(max(1, CHUNK // num_tasks(tasks)), len(grid))
    values, slopes = map(np.asarray, _slopes(loss, size, tasks, grid, inner_step_size))
    if not np.any(np.isfinite(values)):
        raise ValueError(nowhere_feasible(len(grid), num_tasks(tasks)))
    known = np.isfinite(slopes) & np.isfinite(values)
    # Half-open, so that a zero exactly on a grid point is found once.
    changes = known[:-1] & known[1:] & ((slopes[:-1] < 0) != (slopes[1:] < 0))
    left = np.flatnonzero(changes)
    # Brackets in multiples of 16: another number of them compiles nothing. Those added are copies, cut off again.
    padded = np.resize(left, -(-max(len(left), 1) // 16) * 16) if len(left) else np.zeros(16, int)
    params, seen = _refine(loss, tasks, grid[padded], grid[padded + 1], slopes[padded] < 0, inner_step_size)
    params, found, derivatives, curvatures = (np.asarray(part)[: len(left)] for part in (params, *seen))
    reached = max(tolerance, _NOISE * np.finfo(grid.dtype).eps)
    # As a product: a point of zero curvature is kept if its derivative is zero, too.
    close = np.abs(derivatives) <= reached * (1 + np.abs(params.reshape(len(left)))) * np.abs(curvatures)
    kept = np.isfinite(found) & close
    return StationaryPoints(
        params=params[kept],
        values=found[kept],
        derivatives=derivatives[kept],
        curvatures=curvatures[kept],
        kinds=classify(curvatures[kept][:, None]),
        least=float(min([*values[np.isfinite(values)], *found[kept]])),
    )


def excess(points: StationaryPoints) -> float:
    """How far the worst local minimum lies above the least value: the smallest epsilon for which the objective is
    epsilon-global on the interval."""
    if len(points.minima) == 0:
        raise ValueError(
            "points must hold a local minimum, got none; widen the interval until the objective grows at both ends."
        )
    return float(np.max(points.values[points.minima]) - points.least)


def is_epsilon_global(points: StationaryPoints, epsilon: float) -> bool:
    r"""Whether :math:`h(\bar\theta) - \min h \le \epsilon` at every local minimiser :math:`\bar\theta`.

    Arguments:
        points: the stationary points of an interval outside which the objective is infinite, or larger.
        epsilon: in units of the loss, non-negative; at least some 1e-9 of its value, since equal minima are equal to
            rounding only.

    >>> import numpy as np, jaxlqr
    >>> from jaxlqr.lqr.closed_form import scalar_cost
    >>> copies = jaxlqr.families.scalar(a=1.0, b=1.0, q=[1.0, 3.0], r=[1.0, 3.0])
    >>> grid = np.linspace(0.01, 1.99, 400).reshape(-1, 1, 1)
    >>> points = stationary_points(scalar_cost, copies, grid, inner_step_size=0.02)
    >>> is_epsilon_global(points, 1e-9), is_epsilon_global(points, 1.0)
    (False, True)

    Source: molybog2021, Definitions 1 (epsilon = 0) and 2.
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative, got {epsilon}.")
    return excess(points) <= epsilon


def _increasing(grid: Any) -> np.ndarray:
    grid = np.asarray(grid, jnp.result_type(float))
    if grid.ndim == 0 or grid.size != len(grid) or len(grid) < 2 or not np.all(np.diff(grid.ravel()) > 0):
        raise ValueError(
            f"grid must hold at least two increasing values of a single scalar parameter, of shape [points, 1, 1] for "
            f"gains, got shape {grid.shape}; for gains with more entries use evaluate on a plane."
        )
    return grid


@partial(jax.jit, static_argnames=("loss", "chunk_size"))
def _slopes(loss: Loss, chunk_size: int, tasks, grid, inner_step_size) -> tuple[Array, Array]:
    def one(params: Array) -> tuple[Array, Array]:
        value, slope = jax.value_and_grad(lambda p: mean_value(loss, p, tasks, inner_step_size))(params)
        return value, jnp.sum(slope)

    return lax.map(one, grid, batch_size=chunk_size)


class _Look(NamedTuple):
    value: Array
    derivative: Array
    curvature: Array


@partial(jax.jit, static_argnames="loss")
def _refine(loss: Loss, tasks, low, high, falls, inner_step_size) -> tuple[Array, _Look]:
    def both(params: Array) -> tuple[Array, Array]:
        value, slope = jax.value_and_grad(lambda p: mean_value(loss, p, tasks, inner_step_size))(params)
        return value, jnp.sum(slope)

    def look(params: Array) -> _Look:
        (value, derivative), (_, curvature) = jax.jvp(both, (params,), (jnp.ones_like(params),))
        return _Look(value, derivative, curvature)

    def one(low: Array, high: Array, falls: Array):
        # The Newton step is taken at the beginning of a round, so that the last look is at the last point.
        def narrow(_, carry):
            low, high, params, seen = carry
            newton = params - seen.derivative / seen.curvature
            params = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
            seen = look(params)
            before = (seen.derivative < 0) == falls
            return jnp.where(before, params, low), jnp.where(before, high, params), params, seen

        nothing = jnp.zeros((), low.dtype)
        start = (low, high, low, _Look(nothing, nothing, nothing))  # 0 / 0: the first step bisects
        _, _, params, seen = lax.fori_loop(0, _REFINEMENTS, narrow, start)
        return params, seen

    return jax.vmap(one)(low, high, falls)
