"""The kinds of stationary points, and measures of a landscape that follow from them."""

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxlqr.core.result import short_repr


class Kind(enum.IntEnum):
    """The kind of a stationary point, from the eigenvalues of its Hessian.

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


def classify(eigenvalues: Any, *, tolerance: float = 1e-9, scale: Any = None) -> np.ndarray:
    """:class:`Kind` codes [...] of stationary points, from their Hessian eigenvalues [..., d].

    An eigenvalue counts as zero below ``tolerance`` times ``scale`` [...], a curvature in the units of the eigenvalues;
    unless given, the largest modulus among those of the same point. Then a single eigenvalue is zero only if it is 0.

    >>> [Kind(kind).name for kind in classify([[1.0, 2.0], [-1.0, -2.0], [-1.0, 2.0], [0.0, 2.0]])]
    ['MINIMUM', 'MAXIMUM', 'SADDLE', 'DEGENERATE']
    """
    values = np.asarray(eigenvalues, dtype=float)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"eigenvalues must have shape [..., d] with d >= 1, got {values.shape}.")
    largest = np.max(np.abs(values), axis=-1, keepdims=True)
    scale = largest if scale is None else np.maximum(largest, np.asarray(scale, float)[..., None])
    sign = np.where(np.abs(values) > tolerance * scale, np.sign(values), 0.0)
    kinds = np.full(values.shape[:-1], Kind.SADDLE)
    kinds[np.all(sign > 0, axis=-1)] = Kind.MINIMUM
    kinds[np.all(sign < 0, axis=-1)] = Kind.MAXIMUM
    kinds[~np.all(np.abs(sign) == 1, axis=-1)] = Kind.DEGENERATE  # also NaN
    return kinds


@dataclass(frozen=True, kw_only=True)
class StationaryPoints:
    """Stationary points of the meta-objective; on an interval in the order of the parameter, otherwise by value.

    Attributes:
        params: parameters [k, ...], for LQR gains [k, m, n].
        values: objective [k].
        gradients: gradient [k, d], zero to rounding, for d entries of the parameters.
        eigenvalues: of the Hessian [k, d], ascending; for d = 1 the second derivative.
        kinds: :class:`Kind` codes [k].
        hits: how many starts ended at each [k]; for an interval, how many brackets, which is one.
        least: the least value seen, at these points or elsewhere.
        num_lost: starts that ended at no stationary point; none for an interval.
    """

    params: np.ndarray
    values: np.ndarray
    gradients: np.ndarray
    eigenvalues: np.ndarray
    kinds: np.ndarray
    hits: np.ndarray
    least: float
    num_lost: int = 0

    def __repr__(self) -> str:
        return short_repr(self)

    def of_kind(self, kind: Kind) -> np.ndarray:
        """Indices of the points of one kind."""
        return np.flatnonzero(self.kinds == kind)

    @property
    def minima(self) -> np.ndarray:
        """Indices of the local minima."""
        return self.of_kind(Kind.MINIMUM)

    @property
    def maxima(self) -> np.ndarray:
        """Indices of the local maxima."""
        return self.of_kind(Kind.MAXIMUM)


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
    >>> from jaxlqr.meta.landscape import stationary_points
    >>> copies = jaxlqr.families.scalar(a=1.0, b=1.0, q=[1.0, 3.0], r=[1.0, 3.0])
    >>> grid = np.linspace(0.01, 1.99, 400).reshape(-1, 1, 1)
    >>> points = stationary_points(scalar_cost, grid, copies, inner_step_size=0.02)
    >>> is_epsilon_global(points, 1e-9), is_epsilon_global(points, 1.0)
    (False, True)

    Source: molybog2021, Definitions 1 (epsilon = 0) and 2.
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative, got {epsilon}.")
    return excess(points) <= epsilon
