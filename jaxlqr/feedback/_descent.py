"""Descent of many starts side by side, for functions that are smooth, kinked or infinite outside of a set.

The values and gradients of all starts come from one compiled program; the few operations of an iteration beside them
are those of NumPy, whole lanes at a time. So one program serves every method here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ValueAndGradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
# The weak Wolfe conditions of Lewis and Overton, and how often an interval is halved or doubled.
_DECREASE, _SLOPE, _TRIALS = 1e-4, 0.9, 30


class Lanes(NamedTuple):
    """Points [s, d], values [s] and gradients [s, d] of all starts, and how many steps each took [s]."""

    x: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    steps: np.ndarray


def start(values: ValueAndGradient, x: np.ndarray) -> Lanes:
    """The lanes at their starts."""
    value, gradient = values(x)
    return Lanes(x, value, gradient, np.zeros(len(x), int))


def bfgs(
    values: ValueAndGradient, lanes: Lanes, max_steps: int, tolerance: float, report: Callable[[Lanes], bool]
) -> Lanes:
    """The BFGS method with a weak Wolfe line search, which also converges to kinks; no lane ever rises.

    A lane rests where its value is not finite, where no step is accepted, and where the predicted decrease of a step is
    below ``tolerance``. ``report`` sees the lanes after each step and ends all if it returns True.

    Source: Lewis, Overton, Math. Program. 141 (2013).
    """
    size = lanes.x.shape[1]
    inverse = np.broadcast_to(np.eye(size), (len(lanes.x), size, size)).copy()
    fresh = np.ones(len(lanes.x), bool)
    active = np.isfinite(lanes.value) & np.all(np.isfinite(lanes.gradient), axis=1)
    for _ in range(max_steps):
        direction = -np.einsum("sij,sj->si", inverse, _finite(lanes.gradient))
        slope = np.sum(direction * _finite(lanes.gradient), axis=1)
        lost = active & ~(slope < 0)
        if np.any(lost):  # rounding spoiled the metric: begin again with steepest descent
            inverse[lost], fresh[lost] = np.eye(size), True
            direction[lost] = -lanes.gradient[lost]
            slope[lost] = -np.sum(lanes.gradient[lost] ** 2, axis=1)
        active &= -slope > tolerance
        if not np.any(active):
            break
        # The first step of a lane has no metric: it changes the value by about one tenth.
        length = np.where(fresh, 0.1 / np.maximum(-slope, 1e-300), 1.0)
        length = np.where(fresh, np.minimum(length, 1.0 / np.maximum(np.linalg.norm(direction, axis=1), 1e-300)), 1.0)
        new, moved = _line_search(values, lanes, direction, slope, length, active)
        change, turn = new.x - lanes.x, new.gradient - lanes.gradient
        _update(inverse, fresh, change, turn, moved)
        active &= moved
        lanes = new
        if report(lanes):
            break
    return lanes


def _line_search(
    values: ValueAndGradient,
    lanes: Lanes,
    direction: np.ndarray,
    slope: np.ndarray,
    length: np.ndarray,
    active: np.ndarray,
) -> tuple[Lanes, np.ndarray]:
    """The lanes after a step that fulfils the weak Wolfe conditions, or the largest decrease seen; and which moved."""
    lower, upper = np.zeros_like(slope), np.full_like(slope, np.inf)
    best, waiting = lanes, active.copy()
    for _ in range(_TRIALS):
        x = np.where(waiting[:, None], lanes.x + length[:, None] * direction, best.x)
        value, gradient = values(x)
        good = np.isfinite(value) & np.all(np.isfinite(gradient), axis=1)
        lower_enough = good & (np.where(good, value, np.inf) <= lanes.value + _DECREASE * length * slope)
        flat = lower_enough & (np.sum(direction * _finite(gradient), axis=1) >= _SLOPE * slope)
        taken = waiting & lower_enough & (value < best.value)
        best = _where(taken, Lanes(x, value, gradient, best.steps), best)
        upper = np.where(waiting & ~lower_enough, length, upper)
        lower = np.where(waiting & lower_enough, length, lower)
        waiting &= ~flat
        if not np.any(waiting):
            break
        bounded = np.isfinite(upper)
        length = np.where(waiting, np.where(bounded, (lower + np.where(bounded, upper, 0)) / 2, 2 * lower), length)
    moved = active & (best.value < lanes.value)
    return best._replace(steps=lanes.steps + moved), moved


def _update(inverse: np.ndarray, fresh: np.ndarray, change: np.ndarray, turn: np.ndarray, moved: np.ndarray) -> None:
    """BFGS's update of the inverse metric, in place, for the lanes that moved and curve upwards."""
    product = np.sum(change * _finite(turn), axis=1)
    for lane in np.flatnonzero(
        moved & (product > 1e-14 * np.linalg.norm(change, axis=1) * np.linalg.norm(turn, axis=1))
    ):
        s, y, rho = change[lane], turn[lane], 1 / product[lane]
        if fresh[lane]:
            inverse[lane], fresh[lane] = np.eye(len(s)) / (rho * (y @ y)), False
        left = np.eye(len(s)) - rho * np.outer(s, y)
        inverse[lane] = left @ inverse[lane] @ left.T + rho * np.outer(s, s)


def newton_cg(
    values: ValueAndGradient, product: Callable[[np.ndarray, np.ndarray], np.ndarray], lanes: Lanes, max_steps: int
) -> Lanes:
    """Newton's method with exact Hessian-vector products and conjugate gradients, ended at negative curvature.

    It runs until the gradients are at rounding level or no step lowers a value. For smooth functions, near a minimum.

    Source: Nocedal, Wright, Numerical Optimization (2006), section 7.1.
    """
    active = np.isfinite(lanes.value)
    for _ in range(max_steps):
        direction = _conjugate_gradients(product, lanes, active)
        slope = np.sum(direction * _finite(lanes.gradient), axis=1)
        active &= slope < 0
        if not np.any(active):
            break
        length, waiting, best = np.ones_like(slope), active.copy(), lanes
        for _ in range(_TRIALS // 2):
            value, gradient = values(np.where(waiting[:, None], lanes.x + length[:, None] * direction, best.x))
            good = np.isfinite(value) & np.all(np.isfinite(gradient), axis=1)
            smaller = np.linalg.norm(_finite(gradient), axis=1) < np.linalg.norm(_finite(lanes.gradient), axis=1)
            # So near to a minimum values differ by rounding only, and the gradient alone knows how near.
            level = np.abs(np.where(good, value, np.inf) - lanes.value) <= 1e-12 * (1 + np.abs(lanes.value))
            down = np.where(good, value, np.inf) <= lanes.value + _DECREASE * length * slope
            taken = waiting & good & (down | (level & smaller))
            x = lanes.x + length[:, None] * direction
            best = _where(taken, Lanes(x, value, gradient, lanes.steps + 1), best)
            waiting &= ~taken
            if not np.any(waiting):
                break
            length = np.where(waiting, length / 2, length)
        active &= ~waiting
        lanes = best
    return lanes


def _conjugate_gradients(
    product: Callable[[np.ndarray, np.ndarray], np.ndarray], lanes: Lanes, active: np.ndarray
) -> np.ndarray:
    gradient = np.where(active[:, None], _finite(lanes.gradient), 0)
    direction, residual = np.zeros_like(gradient), -gradient
    search, square = residual.copy(), np.sum(residual**2, axis=1)
    first, going = square.copy(), active & (square > 0)
    for _ in range(2 * gradient.shape[1]):
        if not np.any(going):
            break
        image = _finite(product(lanes.x, search))
        curvature = np.sum(search * image, axis=1)
        down = curvature > 1e-14 * np.sum(search**2, axis=1)
        # Negative curvature: what is known so far is the direction, or steepest descent at once.
        stopped = going & ~down
        none = stopped & ~np.any(direction != 0, axis=1)
        direction[none] = -gradient[none]
        going &= down
        length = np.where(going, square / np.where(down, curvature, 1), 0)
        direction += length[:, None] * search
        residual -= length[:, None] * image
        now = np.sum(residual**2, axis=1)
        going &= now > 1e-16 * first
        search = residual + np.where(square > 0, now / np.where(square > 0, square, 1), 0)[:, None] * search
        square = now
    return direction


def _finite(array: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(array), array, 0)


def _where(mask: np.ndarray, yes: Lanes, no: Lanes) -> Lanes:
    column = mask[:, None]
    return Lanes(
        np.where(column, yes.x, no.x),
        np.where(mask, yes.value, no.value),
        np.where(column, yes.gradient, no.gradient),
        np.where(mask, yes.steps, no.steps),
    )
