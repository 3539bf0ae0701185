"""Planes through a parameter space of any dimension, for maps of a landscape."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.core.types import PyTree
from jaxlqr.meta.landscape.objective import check_step, evaluate, mean_value
from jaxlqr.oracles.protocol import Loss

# Rays from the origin on which the feasible set is measured, and their points, geometric between these radii.
_RAYS, _RADII = 48, np.geomspace(1e-4, 1e3, 141)
_RATIO = 10 ** (7 / 140)  # between two radii


@dataclass(frozen=True, kw_only=True)
class Plane:
    r"""The plane :math:`\theta_0 + x D_1 + y D_2` with orthonormal directions, so that distances on it are true.

    Attributes:
        origin: :math:`\theta_0`, for LQR a gain [m, n].
        first, second: :math:`D_1, D_2` of the same shape, orthonormal in the Frobenius inner product.

    Built by :func:`plane_through` or :func:`plane_of_curvature`.
    """

    origin: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def points(self, x: Any, y: Any) -> np.ndarray:
        """Parameters [rows * columns, ...] of the mesh with columns ``x`` and rows ``y``, row by row."""
        mesh_x, mesh_y = (mesh.reshape(-1, *[1] * self.origin.ndim) for mesh in np.meshgrid(x, y))
        return self.origin + mesh_x * self.first + mesh_y * self.second

    def coordinates(self, params: Any) -> np.ndarray:
        """Coordinates [..., 2] of the points of the plane nearest to ``params`` [..., m, n]."""
        shift = np.asarray(params) - self.origin
        axes = tuple(range(-self.origin.ndim, 0))
        return np.stack([np.sum(shift * self.first, axes), np.sum(shift * self.second, axes)], axis=-1)

    def distance(self, params: Any) -> np.ndarray:
        """Distance [...] of ``params`` [..., m, n] from the plane."""
        x, y = (
            part.reshape(*part.shape, *[1] * self.origin.ndim) for part in np.moveaxis(self.coordinates(params), -1, 0)
        )
        rest = np.asarray(params) - self.origin - x * self.first - y * self.second
        return np.sqrt(np.sum(rest**2, axis=tuple(range(-self.origin.ndim, 0))))


def plane_through(origin: Any, first: Any, second: Any) -> Plane:
    """The plane through three parameters, such as optimal gains of three tasks.

    ``first`` lies on its x axis, ``second`` has positive y.

    Raises:
        ValueError: when the three lie on a line, or have fewer than two entries.

    >>> import numpy as np
    >>> plane = plane_through(np.zeros((1, 3)), np.array([[2.0, 0.0, 0.0]]), np.array([[1.0, 1.0, 0.0]]))
    >>> plane.coordinates(np.array([[1.0, 1.0, 5.0]])).tolist(), float(plane.distance(np.array([[1.0, 1.0, 5.0]])))
    ([1.0, 1.0], 5.0)
    """
    origin, first, second = (np.asarray(point, float) for point in (origin, first, second))
    if not origin.shape == first.shape == second.shape or origin.size < 2:
        raise ValueError(
            f"origin, first and second must have one shape with at least two entries, got {origin.shape}, "
            f"{first.shape} and {second.shape}; one parameter is an interval, for stationary_points."
        )
    along, across = first - origin, second - origin
    unit = along / (np.linalg.norm(along) or 1.0)
    across = across - np.sum(unit * across) * unit
    if np.linalg.norm(along) == 0 or np.linalg.norm(across) <= 1e-9 * np.linalg.norm(second - origin):
        raise ValueError(
            "origin, first and second must not lie on a line; take another point, or the directions of "
            "plane_of_curvature."
        )
    return Plane(origin=origin, first=unit, second=across / np.linalg.norm(across))


def plane_of_curvature(loss: Loss, params: Any, tasks: PyTree, inner_step_size: float) -> Plane:
    """The plane through ``params`` along the two leading eigenvectors of the meta-Hessian there.

    The eigenvectors of the eigenvalues of largest modulus: along them the landscape changes fastest.

    Arguments:
        loss: function (params, task) -> scalar.
        params: an array of at least two entries, for LQR a gain [m, n], feasible before and after adaptation.
        tasks: pytree with a leading task axis.
        inner_step_size: adaptation step size, positive.

    >>> import jax.numpy as jnp
    >>> def quadratic(x, t):
    ...     return x[0] ** 2 + 9 * x[1] ** 2 + 4 * x[2] ** 2 + t
    >>> plane = plane_of_curvature(quadratic, jnp.zeros(3), jnp.zeros(1), 1e-6)
    >>> print(abs(plane.first.round(6)), abs(plane.second.round(6)))
    [0. 1. 0.] [0. 0. 1.]
    """
    check_step(inner_step_size)
    params = jnp.asarray(params)
    if params.size < 2:
        raise ValueError(f"params must have at least two entries, got shape {params.shape}; see stationary_points.")
    hessian = np.asarray(_hessian(loss, params, tasks, inner_step_size))
    if not np.all(np.isfinite(hessian)):
        raise ValueError(
            "params must be feasible for every task before and after adaptation, but the meta-Hessian there is not "
            "finite; pass a gain that stabilises all tasks, or reduce inner_step_size."
        )
    values, vectors = np.linalg.eigh(hessian)
    leading = vectors[:, np.argsort(-np.abs(values))[:2]].T.reshape(2, *params.shape)
    # Towards a positive largest entry: the sign of an eigenvector is arbitrary.
    signs = [np.sign(direction.flat[np.argmax(np.abs(direction))]) for direction in leading]
    return Plane(origin=np.asarray(params), first=signs[0] * leading[0], second=signs[1] * leading[1])


@compiled()
def _hessian(loss: Loss, params: Array, tasks: PyTree, inner_step_size) -> Array:
    def objective(flat: Array) -> Array:
        return mean_value(loss, flat.reshape(params.shape), tasks, inner_step_size)

    hessian = jax.hessian(objective)(params.ravel())
    return (hessian + hessian.T) / 2


def extent(
    loss: Loss, plane: Plane, tasks: PyTree, inner_step_size: float, *, num_inner_steps: int = 1, margin: float = 0.1
) -> tuple[float, float, float, float]:
    """Bounds (left, right, bottom, top) of the feasible set on a plane, seen along rays from its origin.

    Arguments:
        loss, tasks, inner_step_size, num_inner_steps: as in :func:`evaluate`; 0 inner steps is the set of parameters
            that are feasible before adaptation.
        plane: its origin must be feasible.
        margin: added on each side, in units of the width. Rays longer than four times the median are cut there.

    >>> import jax.numpy as jnp
    >>> def disk(x, t):
    ...     return jnp.where(jnp.sum(x**2) < 1, jnp.sum(x**2), jnp.inf) + t
    >>> plane = plane_through(jnp.zeros(2), jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    >>> [round(bound) for bound in extent(disk, plane, jnp.zeros(1), 1e-3, margin=0.0)]
    [-1, 1, -1, 1]
    """
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # Radii in the unit of the origin, to a step between two of them.
    length = float(np.linalg.norm(plane.origin)) or 1.0
    radii = _RADII * _RATIO ** round(np.log(length) / np.log(_RATIO))
    ends = (radii[:, None, None] * units).reshape(-1, 2, *[1] * plane.origin.ndim)
    grid = plane.origin + ends[:, 0] * plane.first + ends[:, 1] * plane.second
    values = evaluate(loss, grid, tasks, inner_step_size, num_inner_steps=num_inner_steps)
    inside = np.isfinite(np.asarray(values)).reshape(len(_RADII), _RAYS)
    # The first infinite radius of each ray, or the last radius.
    reach = radii[np.where(inside.all(0), -1, np.argmin(inside, 0))]
    reach = np.minimum(reach, 4 * np.median(reach))[:, None] * units
    (left, bottom), (right, top) = reach.min(0), reach.max(0)
    pad_x, pad_y = margin * (right - left), margin * (top - bottom)
    return float(left - pad_x), float(right + pad_x), float(bottom - pad_y), float(top + pad_y)
