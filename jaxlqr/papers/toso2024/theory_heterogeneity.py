"""The gap of the MAML optimum against heterogeneity, with bounds (6) and (7) beside it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.families import perturb
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.stabilize import average_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.newton import newton_optimum
from jaxlqr.papers.statistics import student_interval
from jaxlqr.papers.toso2024.theory import constants, optimality_bounds, quantities, step_size_limits
from jaxlqr.papers.toso2024.theory.quantities import hessians
from jaxlqr.papers.units import Units
from jaxlqr.training import FixedSteps, Output, meta_train, no_metrics

LEVELS = np.geomspace(1e-4, 1e-2, 5)
NUM_TASKS = 10
NUM_DESCENT_STEPS = 3000


class Heterogeneity(NamedTuple):
    """Gaps of the MAML optimum at each level and seed, all [levels, seeds], the largest over tasks.

    Attributes:
        optimum: at the exact optimum.
        trained: at the end of gradient descent with the same steps for all, or ``None``.
        bound_6, bound_7: the bounds there, corrected.
        inner_step: of all.
        least_curvature: least eigenvalue of the meta-Hessian there; positive at a strict minimum.
    """

    optimum: np.ndarray
    trained: np.ndarray | None
    bound_6: np.ndarray
    bound_7: np.ndarray
    inner_step: float
    least_curvature: np.ndarray

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Slope of log gap over log level for each seed [seeds], by least squares."""
        return np.polyfit(np.log(LEVELS), np.log(values), 1)[0]

    def summary(self) -> dict[str, Any]:
        """Medians by level and the slope with its 95 % interval over seeds."""
        told: dict[str, Any] = {"inner_step": self.inner_step, "levels": LEVELS}
        for name in ("optimum", "trained", "bound_6", "bound_7"):
            values = getattr(self, name)
            if values is not None:
                mean, low, high = student_interval(self.slopes(values)).tolist()
                slope = {"mean": mean, "low": low, "high": high}
                told[name] = {"median": np.median(values, axis=1), "slope": slope}
        told["bound_7_over_gap"] = np.median(self.bound_7 / self.optimum, axis=1)
        told["bound_6_over_gap"] = np.median(self.bound_6 / self.optimum, axis=1)
        told["always_a_strict_minimum"] = bool(np.all(self.least_curvature > 0))
        if self.trained is not None:
            ratio = self.trained / self.optimum
            told["trained_over_optimum"] = [float(np.min(ratio)), float(np.max(ratio))]
        return told


def study(
    key: Array, nominal: LQRTask, num_seeds: int, *, descend: bool, progress: bool | None, units: Units
) -> Heterogeneity:
    """The study for one nominal system; ``descend``: with gradient descent as well, from 0.9 times its optimal gain."""
    keys = jax.random.split(key, num_seeds)
    tasks = jax.vmap(lambda level: jax.vmap(lambda k: perturb(k, nominal, NUM_TASKS, level))(keys))(jnp.asarray(LEVELS))
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tasks)
    inner = float(jnp.min(_inner_limits(flat)))
    curvature, gap, bound_6, bound_7 = (np.asarray(x) for x in _optima(flat, inner))
    trained = None
    if descend:
        start = 0.9 * optimal_gain(nominal)
        # Half of what the curvature at the start allows.
        values = jnp.linalg.eigvalsh(hessians(start, jax.tree.map(lambda leaf: leaf[None], nominal)))
        outer = 0.5 / float(jnp.max(values))
        run = partial(
            meta_train, cost, jnp.broadcast_to(start, (len(LEVELS) * num_seeds, *start.shape)), flat,
            num_steps=NUM_DESCENT_STEPS, step_rule=FixedSteps(inner, outer), batched=True,
        )  # fmt: skip
        result = units.train("descent", run, Output(every=1000, progress=progress, metrics=no_metrics))
        trained = np.asarray(_largest_gaps(result.params, flat)).reshape(len(LEVELS), num_seeds)
    shape = (len(LEVELS), num_seeds)
    return Heterogeneity(
        optimum=gap.reshape(shape),
        trained=trained,
        bound_6=bound_6.reshape(shape),
        bound_7=bound_7.reshape(shape),
        inner_step=inner,
        least_curvature=curvature.reshape(shape),
    )


@jax.jit
def _inner_limits(families: LQRTask) -> Array:
    def one(tasks: LQRTask) -> Array:
        center = optimal_gain(average_task(tasks))
        return step_size_limits(constants(center, tasks), center.shape[0]).inner

    return jax.lax.map(one, families, batch_size=64)


@jax.jit
def _optima(families: LQRTask, inner: float) -> tuple[Array, Array, Array, Array]:
    def one(tasks: LQRTask):
        start = optimal_gain(average_task(tasks))
        found = newton_optimum(cost, start, tasks, inner, max_steps=10)
        bounds = optimality_bounds(found.params, tasks)
        gap = jnp.max(quantities(found.params, tasks).gap)
        return found.curvature, gap, jnp.max(bounds.trained), bounds.optimum

    return jax.lax.map(one, families, batch_size=64)


@jax.jit
def _largest_gaps(gains: Array, families: LQRTask) -> Array:
    return jax.lax.map(lambda pair: jnp.max(quantities(*pair).gap), (gains, families), batch_size=64)
