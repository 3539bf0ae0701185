"""A plane through the gains of given tasks: values, boundary, stationary points, and paths of optimisers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.commands.landscape.settings import LandscapeSettings
from jaxlqr.commands.train import TrainStart, unit_adam
from jaxlqr.io.progress import open_progress
from jaxlqr.lqr import LQRTask, cost, optimal_gain
from jaxlqr.meta import Maml, Mean
from jaxlqr.meta.landscape import (
    Kind,
    Plane,
    StationaryPoints,
    certify,
    evaluate,
    excess,
    extent,
    multistart,
    plane_of_curvature,
    plane_through,
)
from jaxlqr.meta.landscape.objective import mean_value
from jaxlqr.training import Output, automatic_steps, meta_train

# Points along each side where the spectral radius is computed, and of each frame of an animation.
_COARSE = 80


class Path(NamedTuple):
    """Gains [steps + 1, m, n] of one optimiser, and where its objective ends."""

    gains: np.ndarray
    last_value: float


@dataclass(frozen=True, kw_only=True)
class PlaneStudy:
    """Result of :func:`look_at_plane`; ``x`` and ``y`` are coordinates on the plane, ``radius`` lies on a coarse mesh
    within the same bounds."""

    tasks: LQRTask
    inner_step: float
    plane: Plane
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    radius: np.ndarray
    points: StationaryPoints
    optima: np.ndarray
    paths: dict[str, Path]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of ``landscape.npz``."""
        paths = {f"path_{name}": path.gains for name, path in self.paths.items()}
        return {
            "x": self.x, "y": self.y, "values": self.values, "origin": self.plane.origin, "first": self.plane.first,
            "second": self.plane.second, "stationary_gains": self.points.params, "optimal_gains": self.optima, **paths,
        }  # fmt: skip


def look_at_plane(
    start: TrainStart, inner_step: float, settings: LandscapeSettings, progress: bool | None
) -> PlaneStudy:
    """Find the best point from the first gain, choose a plane through it, and compute values, points and paths on
    it."""
    tasks = start.tasks
    optima = np.asarray(_optimal_gains(tasks))
    # The search comes first, on the plane through the first gain; the map goes through the best point that it finds.
    plane = plane_of_curvature(cost, start.K0, tasks, inner_step)
    x, y = _sides(plane, tasks, inner_step, _COARSE)
    points = multistart(cost, _starts(plane, x, y, tasks, inner_step, settings), tasks, inner_step)
    centre = points.params[points.minima[0]] if len(points.minima) else np.asarray(start.K0)
    if settings.plane == "optima":
        plane = _plane_of_optima(centre, optima)
    else:
        plane = plane_of_curvature(cost, centre, tasks, inner_step)
    x, y = _sides(plane, tasks, inner_step, settings.resolution)
    values = np.asarray(evaluate(cost, plane.points(x, y), tasks, inner_step)).reshape(len(y), len(x))
    begin = start.K0 if start.source != "optimum of the average task" else _far(plane, x, y, values)
    return PlaneStudy(
        tasks=tasks,
        inner_step=inner_step,
        plane=plane,
        x=x,
        y=y,
        values=values,
        radius=_radius(plane, x, y, tasks),
        points=points,
        optima=optima,
        paths=_paths(jnp.asarray(begin), tasks, inner_step, settings.steps, progress),
    )


_optimal_gains = jax.jit(jax.vmap(optimal_gain))
# Infinite where a path ends with a gain that stabilises all tasks before adaptation only.
_value = jax.jit(partial(mean_value, cost))


def _plane_of_optima(centre: np.ndarray, optima: np.ndarray) -> Plane:
    """Through the centre and those two optimal gains that span the largest parallelogram with it."""
    flat = (optima - centre).reshape(len(optima), -1)
    gram = flat @ flat.T
    area = np.diag(gram)[:, None] * np.diag(gram) - gram**2
    i, j = np.unravel_index(np.argmax(area), area.shape)
    if not area[i, j] > 1e-18 * np.max(np.diag(gram)) ** 2:
        raise ValueError(
            f"the best point found and the optimal gains of {len(optima)} tasks lie on a line, so they span no plane; "
            'take the plane "curvature".'
        )
    return plane_through(centre, optima[i], optima[j])


def _sides(plane: Plane, tasks: LQRTask, inner_step: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    left, right, bottom, top = extent(cost, plane, tasks, inner_step, num_inner_steps=0)
    return np.linspace(left, right, size), np.linspace(bottom, top, size)


def _starts(
    plane: Plane, x: np.ndarray, y: np.ndarray, tasks: LQRTask, inner_step: float, settings: LandscapeSettings
) -> np.ndarray:
    """Feasible points of the plane; of gains with more than two entries, half of them are moved off the plane."""
    rng = np.random.default_rng(settings.seed)
    gains = plane.points(x, y)
    gains = gains[np.flatnonzero(np.isfinite(np.asarray(evaluate(cost, gains, tasks, inner_step))))]
    gains = gains[rng.choice(len(gains), settings.starts)]  # with replacement: their number does not depend on the map
    if plane.origin.size > 2:
        reach = min(np.ptp(x), np.ptp(y)) / 8 / np.sqrt(plane.origin.size)
        gains[1::2] += reach * rng.standard_normal(gains[1::2].shape)
    return gains


def _far(plane: Plane, x: np.ndarray, y: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The feasible point of the map whose value is the ninth decile, so that the descent has some length."""
    flat = values.ravel()
    feasible = np.flatnonzero(np.isfinite(flat))
    order = feasible[np.argsort(flat[feasible])]
    return plane.points(x, y)[order[int(0.9 * (len(order) - 1))]]


def _coarse(side: np.ndarray) -> np.ndarray:
    return np.linspace(side[0], side[-1], min(_COARSE, len(side)))


def _radius(plane: Plane, x: np.ndarray, y: np.ndarray, tasks: LQRTask) -> np.ndarray:
    """Largest spectral radius of A - B K over tasks, on the coarse mesh."""
    x, y = _coarse(x), _coarse(y)
    gains = plane.points(x, y)[:, None]
    closed = np.asarray(tasks.A) - np.asarray(tasks.B) @ gains
    return np.abs(np.linalg.eigvals(closed)).max(axis=(1, 2)).reshape(len(y), len(x))


@dataclass(frozen=True)
class _Entries:
    """Metrics of a training run: the entries of the gain, one scalar each."""

    size: int

    def __call__(self, params: Array, task: LQRTask) -> dict[str, Array]:
        flat = params.ravel()
        return {f"entry{i}": flat[i] for i in range(self.size)}


def _paths(gain: Array, tasks: LQRTask, inner_step: float, num_steps: int, progress: bool | None) -> dict[str, Path]:
    """Descent along the exact meta-gradient, its first-order form, the average cost, and Adam, all safeguarded."""
    outer = float(automatic_steps(cost, gain, tasks).outer)
    output = Output(metrics=_Entries(gain.size), progress=progress)
    ways: dict[str, dict[str, Any]] = {
        "gradient descent": {"outer_step_size": outer},
        "first-order MAML": {
            "outer_step_size": outer,
            "objective": Maml(inner_step_size=inner_step, first_order=True),
        },
        "no adaptation": {"outer_step_size": outer, "objective": Mean()},
        "Adam": {"optimizer": unit_adam(), "outer_step_size": float(jnp.linalg.norm(gain)) / 50},
    }

    def run(options: dict[str, Any]) -> Path:
        options = {"objective": Maml(inner_step_size=inner_step)} | options
        result = meta_train(cost, gain, tasks, num_steps=num_steps, output=output, **options)
        entries = [np.asarray(result.history[f"entry{i}"])[:, 0] for i in range(gain.size)]
        gains = np.stack(entries, axis=1).reshape(-1, *gain.shape)
        return Path(gains, float(_value(gains[-1], tasks, inner_step)))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ways, pool.map(run, ways.values()), strict=True))


def describe(study: PlaneStudy) -> dict[str, Any]:
    """The part of ``summary.json`` about a plane."""
    points = study.points
    distance = study.plane.distance(points.params) if len(points.values) else np.zeros(0)
    return {
        "plane": {"origin": study.plane.origin, "first": study.plane.first, "second": study.plane.second},
        "feasible_share_of_the_map": float(np.mean(np.isfinite(study.values))),
        "least_on_the_map": float(np.min(study.values)),
        "stationary_points": [
            {
                "kind": Kind(int(points.kinds[i])).name,
                "gain": points.params[i],
                "value": points.values[i],
                "hessian_eigenvalues": points.eigenvalues[i],
                "distance_from_the_plane": distance[i],
                "starts": int(points.hits[i]),
                "hypotheses": _hypotheses(study, i) if points.kinds[i] == Kind.MINIMUM else None,
            }
            for i in range(len(points.values))
        ],
        "starts_lost": points.num_lost,
        "excess_of_the_worst_minimum": excess(points) if len(points.minima) else None,
        "optimisers": {
            name: {"first_gain": path.gains[0], "last_gain": path.gains[-1], "last_value": path.last_value}
            for name, path in study.paths.items()
        },
    }


def _hypotheses(study: PlaneStudy, index: int) -> dict[str, bool]:
    found = certify(cost, jnp.asarray(study.points.params[index]), study.tasks, study.inner_step)
    names = ("is_stationary", "is_minimum", "is_step_small", "is_adapted_stationary", "is_single_task", "holds")
    return {name: bool(getattr(found, name)) for name in names}


def frames(
    study: PlaneStudy, settings: LandscapeSettings, progress: bool | None
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The map for inner steps from a tenth to ten times the inner step of the study, on the coarse mesh."""
    x, y = _coarse(study.x), _coarse(study.y)
    steps, rows = study.inner_step * np.geomspace(0.1, 10, settings.frames), []
    with open_progress(len(steps), "frame", progress) as bar:
        for step in steps:
            try:
                values = evaluate(cost, study.plane.points(x, y), study.tasks, step)
            except ValueError:  # the step is so long that nothing on the plane is feasible, nor with longer ones
                break
            rows.append(np.asarray(values).reshape(len(y), len(x)))
            bar.update(1)
    shares = [float(np.mean(np.isfinite(values))) for values in rows]
    least = [float(np.min(values)) for values in rows]
    return {"inner_steps": steps[: len(rows)], "feasible_share": shares, "least": least}, rows
