"""From nothing to a good controller: stabilise, then descend, from many starts and for all plants at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.feedback import _objectives
from jaxlqr.feedback._descent import Lanes, bfgs, newton_cg, start
from jaxlqr.feedback._plant import GeneralizedPlant, check_plant
from jaxlqr.feedback._sampling import sample_gradients
from jaxlqr.feedback._stabilize import first_parameters, stabilise
from jaxlqr.io.progress import open_progress
from jaxlqr.systems._connections import series
from jaxlqr.systems._margins import StabilityMargins, stability_margins
from jaxlqr.systems._state_space import StateSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class Synthesis(Result):
    """A controller found by :func:`synthesize`, for M plants from s starts.

    Attributes:
        params: parameters of the controller, for its class.
        controller: the controller: a gain F [m, p], u = -F y, or a :class:`jaxlqr.systems.StateSpace` from y to u.
        cost: the objective, a scalar; +inf if no controller was found.
        costs: the cost of each plant [M].
        start_costs: where each start ended [s]; +inf if it did not stabilise every plant.
        slope: how far the cost is from stationary: the length of its relative gradient times that of the parameters;
            for H-infinity that of the shortest convex combination of gradients around the controller.
        history: ``"abscissa"`` [k, s], the slowest pole of all loops while the starts are stabilised (in discrete time
            the logarithm of the spectral radius), and ``"cost"`` [l, s], the objective after each step.
        status: :class:`~jaxlqr.SolveStatus` code. CONVERGED: no small change of the controller lowers the cost.
            MAX_STEPS: the search reached its cap, and this is the best controller seen. NOT_STABILIZED: no start led to
            a controller that stabilises every plant. COST_NOT_FINITE: controllers stabilise every plant, and the cost
            of each is infinite.
    """

    _noun = "syntheses"

    params: Any
    controller: Any
    cost: Array
    costs: Array
    start_costs: Array
    slope: Array
    history: dict[str, Array]
    status: Array

    def margins(self, plant: GeneralizedPlant) -> StabilityMargins:
        """Return the margins of the loop with one plant, broken at the controls u, as :class:`StabilityMargins`.

        Arguments:
            plant: one :class:`GeneralizedPlant`.
        """
        return loop_margins(self.controller, plant)


def loop_margins(controller: Any, plant: GeneralizedPlant) -> StabilityMargins:
    """Return the stability margins of the loop of a controller and a plant, broken at the controls u.

    Arguments:
        controller: a gain F [m, p], u = -F y, or a :class:`jaxlqr.systems.StateSpace` from y to u.
        plant: one :class:`GeneralizedPlant`.

    Returns:
        :class:`jaxlqr.systems.StabilityMargins` of the m by m loop; its disk margin lets all controls change at once.

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> print(f"{feedback.loop_margins(jnp.array([[2.0]]), plant).phase_margin:.1f}")  # 2 / (s - 1)
    60.0
    """
    check_plant(plant)
    negative = controller
    if isinstance(controller, StateSpace):
        negative = StateSpace(controller.A, controller.B, -controller.C, -controller.D, controller.dt)
    return stability_margins(series(plant.actuated, negative))


def synthesize(
    plants: GeneralizedPlant,
    controller_class: Callable[[Any], Any],
    *,
    objective: Literal["h2", "hinf"] = "h2",
    starts: Any = None,
    num_starts: int = 8,
    key: Any = 0,
    weights: Any = None,
    max_steps: int = 300,
    progress: bool | None = None,
) -> Synthesis:
    r"""Find a controller of a class that minimises the H2 or the H-infinity cost of one plant or of a whole family.

    Each start is first made stabilising: the size of the Gramians of the loop, all of whose poles are moved to the left
    by a shift, is a smooth stand-in for the slowest pole. It is lowered while the shift is taken back. Then the cost
    itself is lowered: H2 by BFGS, and by Newton's method with exact Hessian-vector products at the end; H-infinity,
    which has kinks where several peaks are equally high, by BFGS with a weak Wolfe search, and by gradient sampling at
    the end.

    Arguments:
        plants: one :class:`GeneralizedPlant`, or a stack of M of them. One controller serves them all.
        controller_class: a class of controllers such as :func:`dynamic` (plant, 2), or any function from parameters
            to a controller with a method ``initial(*, key=None, scale=1.0)``.
        objective: ``"h2"``, the mean of :func:`h2_cost` over the plants, or ``"hinf"``, the largest :func:`hinf_cost`.
        starts: parameters with a leading axis of starts. Unless given, ``initial()`` and random parameters.
        num_starts: number s of starts, unless ``starts`` are given.
        key: random key or integer seed. The same key gives the same result.
        weights: weights [M] of the plants in the H2 objective; 1 / M unless given.
        max_steps: cap of the steps of the descent; the stabilisation has its own.
        progress: show the progress bar; None shows it in a terminal or a notebook, and elsewhere prints at most one
            line a minute on stderr.

    Returns:
        :class:`Synthesis`. A local search promises a local minimum: more starts may find a better one.

    Raises:
        ValueError: if an argument does not fit.

    >>> from jaxlqr import feedback
    >>> one = [[1.0]]
    >>> plant = feedback.lqg_plant([[1.2]], one, one, Q=one, R=one, W=one, V=[[0.0]], dt=1.0)
    >>> result = feedback.synthesize(plant, feedback.static(plant), num_starts=2, progress=False).check()
    >>> print(f"{result.cost:.4f} {result.controller[0, 0]:.4f}")  # the Riccati solution and its gain
    1.9522 0.7935

    Source: Burke, Henrion, Lewis, Overton, IFAC ROCOND (2006), HIFOO; Vanbiervliet, Vandereycken, Michiels, Vandewalle,
    Diehl, SIAM J. Optim. 20 (2009), the smoothed abscissa.
    """
    plants = _stack(plants)
    if objective not in _objectives.COSTS:
        raise ValueError(f'objective must be "h2" or "hinf", got {objective!r}.')
    check_count("num_starts", num_starts)
    check_count("max_steps", max_steps)
    count = len(plants.A)
    shares = jnp.full(count, 1 / count) if weights is None else jnp.asarray(weights)
    if shares.shape != (count,):
        raise ValueError(f"weights must have shape ({count},), one for each plant, got {shares.shape}.")
    shares = shares.astype(plants.A.dtype)
    first, like = first_parameters(controller_class, plants, starts, num_starts, as_key(key))
    history: dict[str, list[np.ndarray]] = {"abscissa": [], "cost": []}
    with open_progress(max_steps, "steps", progress) as bar:
        x = stabilise(controller_class, like, plants, shares, first, history["abscissa"])
        search = _Search(objective, controller_class, like, plants, shares, max_steps, history["cost"], bar.update)
        lanes, slope, small = search.run(x)
    return _result(search, lanes, slope, small, history)


def _stack(plants: Any) -> GeneralizedPlant:
    if isinstance(plants, GeneralizedPlant) and jnp.ndim(plants.A) == 3:
        check_plant(jax.tree.map(lambda leaf: leaf[0], plants))
        return plants
    return jax.tree.map(lambda leaf: leaf[None], check_plant(plants))


# Below these the relative slope counts as zero: that of H2 is rounded, that of H-infinity a combination of samples.
_FLAT = {"h2": 1e-6, "hinf": 1e-3}


@dataclass
class _Search:
    """One descent of the objective itself, and what it shares between its methods."""

    objective: str
    controller_class: Any
    like: Any
    plants: GeneralizedPlant
    weights: Array
    max_steps: int
    rows: list[np.ndarray]
    update: Callable[[int], Any]

    def values(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the objective and their gradients."""
        points = jnp.asarray(x, self.plants.A.dtype)
        shift = jnp.zeros(len(points), points.dtype)
        found = _objectives.values(
            self.objective, self.controller_class, self.like, self.plants, self.weights, points, shift
        )
        return np.asarray(found[0], float), np.asarray(found[1], float)

    def report(self, lanes: Lanes) -> bool:
        """Record the costs of all starts and count a step."""
        with np.errstate(over="ignore"):
            self.rows.append(np.exp(lanes.value))
        self.update(1)
        return len(self.rows) > self.max_steps

    def run(self, x: np.ndarray) -> tuple[Lanes, float, bool]:
        """The lanes where they ended, the slope at the best one, and whether it is stationary."""
        lanes = start(self.values, x)
        self.report(lanes)
        if not np.any(np.isfinite(lanes.value)):
            return lanes, np.inf, False
        eps = float(jnp.finfo(self.plants.A.dtype).eps)
        lanes = bfgs(self.values, lanes, self.max_steps, 4 * eps, self.report)
        if self.objective == "h2":
            lanes = newton_cg(self.values, self._products, lanes, 20)
            self.report(lanes)
        best = int(np.argmin(np.where(np.isfinite(lanes.value), lanes.value, np.inf)))
        unit = _units(lanes.x[best])
        slope = float(np.linalg.norm(lanes.gradient[best] * unit))
        if self.objective == "hinf":
            lanes, slope = self._sampled(lanes, best, unit)
        return lanes, slope, slope < max(_FLAT[self.objective], eps**0.25)

    def _products(self, x: np.ndarray, vector: np.ndarray) -> np.ndarray:
        dtype = self.plants.A.dtype
        arrays = (jnp.asarray(x, dtype), jnp.asarray(vector, dtype))
        return np.asarray(
            _objectives.products(self.controller_class, self.like, self.plants, self.weights, *arrays), float
        )

    def _sampled(self, lanes: Lanes, best: int, unit: np.ndarray) -> tuple[Lanes, float]:
        def report(x: np.ndarray, value: float) -> bool:
            moved = lanes.value.copy()
            moved[best] = value
            return self.report(lanes._replace(value=moved))

        point, value, slope = sample_gradients(
            self.values,
            lanes.x[best],
            unit,
            lanes=len(lanes.x),
            radius=1e-2,
            last=1e-4,
            max_steps=60,
            rng=np.random.default_rng(0),
            report=report,
        )
        x, reached = lanes.x.copy(), lanes.value.copy()
        x[best], reached[best] = point, value
        return lanes._replace(x=x, value=reached), slope


def _units(x: np.ndarray) -> np.ndarray:
    """A size for each entry of the parameters: its own, or a tenth of the mean one for small entries."""
    size = np.abs(x)
    return np.maximum(size, max(0.1 * float(size.mean()), 1e-12))


def _result(
    search: _Search, lanes: Lanes, slope: float, small: bool, history: dict[str, list[np.ndarray]]
) -> Synthesis:
    finite = np.isfinite(lanes.value)
    with np.errstate(over="ignore"):
        ends = np.where(finite, np.exp(np.where(finite, lanes.value, 0)), np.inf)
    best = int(np.argmin(ends))
    status = SolveStatus.CONVERGED if small else SolveStatus.MAX_STEPS
    if not np.any(finite):
        last = history["abscissa"][-1]
        best = int(np.argmin(last))
        status = SolveStatus.COST_NOT_FINITE if last[best] < 0 else SolveStatus.NOT_STABILIZED
    dtype = search.plants.A.dtype
    params = ravel_pytree(search.like)[1](jnp.asarray(lanes.x[best], dtype))
    costs = _objectives.costs(search.objective, search.controller_class, params, search.plants)
    return Synthesis(
        params=params,
        controller=search.controller_class(params),
        cost=jnp.asarray(ends[best], dtype),
        costs=costs,
        start_costs=jnp.asarray(ends, dtype),
        slope=jnp.asarray(slope, dtype),
        history={name: jnp.asarray(np.array(rows), dtype) for name, rows in history.items()},
        status=jnp.asarray(status, jnp.int32),
    )
