"""Gradient sampling: descent for a function with kinks, from the gradients around a point.

At a minimum with a kink no gradient is small, but a convex combination of gradients nearby is. The shortest vector of
their convex hull is, with its sign turned, a direction of descent on all sides of the kink. Its length says how near
the point is to being stationary.

Source: Burke, Lewis, Overton, SIAM J. Optim. 15 (2005).
"""

from collections.abc import Callable

import numpy as np

from jaxlqr.feedback._descent import ValueAndGradient

_HALVINGS = 30


def sample_gradients(
    values: ValueAndGradient,
    x: np.ndarray,
    metric: np.ndarray,
    *,
    lanes: int,
    radius: float,
    last: float,
    max_steps: int,
    rng: np.random.Generator,
    report: Callable[[np.ndarray, float], bool],
) -> tuple[np.ndarray, float, float]:
    """Descend from ``x`` [d] until the shortest convex combination of gradients within ``last`` is small.

    ``metric`` [d] holds the unit of each entry of x. ``values`` takes ``lanes`` points at a time; as many trial steps
    are evaluated at once. Returns the point, its value, and the length of the last combination, in these units: the
    decrease of the value that is predicted for a step of one unit.
    """
    size = len(x)
    rows = int(np.ceil((2 * size + 1) / lanes)) * lanes

    def at(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [values(points[i : i + lanes]) for i in range(0, len(points), lanes)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]) * metric

    value = float(values(np.repeat(x[None], lanes, axis=0))[0][0])
    length = np.inf
    for _ in range(max_steps):
        moves = rng.normal(size=(rows, size))
        moves *= (radius * rng.uniform(size=(rows, 1)) ** (1 / size)) / np.linalg.norm(moves, axis=1, keepdims=True)
        moves[0] = 0
        found, gradients = at(x + moves * metric)
        kept = np.isfinite(found) & np.all(np.isfinite(gradients), axis=1)
        if not kept[0]:
            break
        shortest = shortest_combination(gradients[kept])
        length = float(np.linalg.norm(shortest))
        step = _best_step(at, x, value, shortest * metric, length, lanes) if length > 0 else None
        if step is None or length < radius:
            if radius <= last:
                break
            radius = max(radius / 4, last)
        if step is not None:
            x, value = step
        if report(x, value):
            break
    return x, value, length


def _best_step(
    at: ValueAndGradient, x: np.ndarray, value: float, downward: np.ndarray, length: float, lanes: int
) -> tuple[np.ndarray, float] | None:
    """The best of steps of many lengths against ``downward``, or None if none lowers the value enough."""
    for block in range(0, _HALVINGS, lanes):
        sizes = (4.0 / length) * 0.5 ** np.arange(block, block + lanes)
        points = x - sizes[:, None] * downward
        found = np.where(np.isfinite(found := at(points)[0]), found, np.inf)
        enough = found < value - 1e-6 * sizes * length**2
        if np.any(enough):
            best = int(np.argmin(np.where(enough, found, np.inf)))
            return points[best], float(found[best])
    return None


def shortest_combination(gradients: np.ndarray, max_steps: int = 2000) -> np.ndarray:
    """The shortest vector of the convex hull of the rows [k, d], by Wolfe's method of active corners.

    >>> print(f"{np.linalg.norm(shortest_combination(np.array([[1.0, 1.0], [1.0, -1.0]]))):.4f}")
    1.0000

    Source: Wolfe, Math. Program. 11 (1976).
    """
    squares = np.sum(gradients**2, axis=1)
    corners, weights = [int(np.argmin(squares))], np.ones(1)
    for _ in range(max_steps):
        point = weights @ gradients[corners]
        along = gradients @ point
        new = int(np.argmin(along))
        if (
            along[new] >= point @ point - 1e-12 * max(float(squares[corners].max()), float(squares[new]))
            or new in corners
        ):
            break
        corners, weights = [*corners, new], np.append(weights, 0.0)
        while True:
            plane = _affine_minimum(gradients[corners])
            if np.all(plane > 1e-14):
                weights = plane
                break
            # Move towards the minimum of the plane until a weight vanishes, and drop that corner.
            falling = plane <= 1e-14
            ratios = weights[falling] / np.maximum(weights[falling] - plane[falling], 1e-300)
            weights = weights + min(1.0, float(ratios.min())) * (plane - weights)
            stay = weights > 1e-14
            if np.all(stay):
                stay[int(np.argmin(weights))] = False
            corners = [corner for corner, keep in zip(corners, stay, strict=True) if keep]
            weights = weights[stay] / np.sum(weights[stay])
    return weights @ gradients[corners]


def _affine_minimum(rows: np.ndarray) -> np.ndarray:
    """Weights, of sum one, of the shortest vector of the plane through the rows."""
    gram = rows @ rows.T
    bordered = np.block([[gram, np.ones((len(rows), 1))], [np.ones((1, len(rows))), np.zeros((1, 1))]])
    right = np.append(np.zeros(len(rows)), 1.0)
    return np.linalg.lstsq(bordered, right, rcond=None)[0][:-1]
