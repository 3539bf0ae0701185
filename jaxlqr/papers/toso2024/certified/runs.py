"""The certified runs: what was measured at every iterate, and what the theorems promise for it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.oracles import ExactOracle, ZerothOrderOracle
from jaxlqr.papers.toso2024.theory import (
    CertifiedSteps,
    Constants,
    accuracy_tolerance,
    constants,
    iterations,
    num_samples,
    promises,
    quantities,
    smoothing_radius,
    stability_tolerance,
    step_size_limits,
)
from jaxlqr.training import Output, meta_train
from jaxlqr.training.steps import FixedSteps

# Gaps are compared with what was promised up to rounding, which near the optimum is that of the gap itself.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of N iterations.

    Attributes:
        name, label: for files and for people.
        gains: iterates [N + 1, m, n].
        gap: J_i(K_n) - J_i(K_i*) [N + 1, M].
        guarantee: what the theorem promises for it [N + 1, M].
        bias: what heterogeneity and errors may add in the end [M].
        promised: iterations to the accuracy by the theorem.
        inner_step, outer_step: at each iterate [N + 1].
    """

    name: str
    label: str
    gains: np.ndarray
    gap: np.ndarray
    guarantee: np.ndarray
    bias: np.ndarray
    promised: float
    inner_step: np.ndarray
    outer_step: np.ndarray

    def summary(self, epsilon: float) -> dict[str, Any]:
        """Plain numbers: iterations promised and measured, and whether the promises were kept."""
        target = epsilon * self.gap[0] + self.bias
        return {
            "label": self.label,
            "num_steps": len(self.gap) - 1,
            "iterations": {"promised": self.promised, "measured": _first_below(self.gap, target)},
            # In the sub-level set no task is worse off than at the start.
            "stays": bool(np.all(self.gap <= self.gap[0] * (1 + _ROUNDING))),
            "holds": bool(np.all(self.gap <= self.guarantee * (1 + _ROUNDING))),
            "gap": [self.gap[0], self.gap[-1]],
            "guarantee_at_the_end": self.guarantee[-1],
            "bias": self.bias,
            "inner_step": [self.inner_step[0], self.inner_step[-2]],
            "outer_step": [self.outer_step[0], self.outer_step[-2]],
        }


def _first_below(gap: np.ndarray, target: np.ndarray) -> float:
    reached = np.all(gap <= target, axis=1)
    return float(np.argmax(reached)) if reached.any() else float("inf")


def _gain(params: Array, task: LQRTask) -> dict[str, Array]:
    return {"gain": params}


def _train(tasks: LQRTask, K0: Array, num_steps: int, rule, oracle, key, progress) -> dict[str, np.ndarray]:
    # No safeguard: the theorem is the safeguard.
    result = meta_train(
        cost, K0, tasks, num_steps=num_steps, step_rule=rule, oracle=oracle, key=key, guard=None,
        output=Output(metrics=_gain, every=500, progress=progress),
    )  # fmt: skip
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    gains = history["gain"][:, 0]
    gap = np.asarray(_gaps(jnp.asarray(gains), tasks))
    return {"gains": gains, "gap": gap, "inner": history["inner_step"], "outer": history["outer_step"]}


@jax.jit
def _gaps(gains: Array, tasks: LQRTask) -> Array:
    return jax.lax.map(lambda K: quantities(K, tasks).gap, gains, batch_size=256)


def _recurrence(gap: np.ndarray, factor: np.ndarray, added: np.ndarray) -> np.ndarray:
    """g_{n+1} = factor_n g_n + added_n from ``gap`` [M]; factors [N, M], added [N]: guarantees [N + 1, M]."""
    rows = [gap]
    for rate, more in zip(factor, added, strict=True):
        rows.append(rate * rows[-1] + more)
    return np.stack(rows)


def model_based(
    tasks: LQRTask,
    K0: Array,
    worst: Constants,
    spread: Array,
    epsilon: float,
    max_steps: int,
    *,
    at_iterate: bool,
    progress: bool | None = None,
) -> Run:
    """A run with the step sizes of Theorem 1, from constants over the sub-level set or, longer, at each iterate.

    Arguments:
        tasks, K0: stack, and a gain that stabilises it.
        worst, spread: constants and heterogeneity bound over the sub-level set of ``K0``.
        epsilon: accuracy relative to the first gap.
        max_steps: at most so many iterations.
        at_iterate: which; the guarantee is that of its own steps.
        progress: of the training loop.
    """
    first, h = quantities(K0, tasks), constants(K0, tasks)
    inner, outer = step_size_limits(worst, K0.shape[0])
    promised = float(jnp.max(iterations(worst, first.gap, outer, epsilon * first.gap)))
    num_steps = int(min(np.ceil(promised), max_steps))
    rule = CertifiedSteps() if at_iterate else FixedSteps(float(inner), float(outer))
    ran = _train(tasks, K0, num_steps, rule, ExactOracle(), None, progress)
    cubed = K0.shape[0] ** 3
    bias = 144 * cubed * float(spread) ** 2 / np.asarray(h.gradient_domination)
    if at_iterate:
        promise = promises(jnp.asarray(ran["gains"][:-1]), tasks)
        guarantee = _recurrence(ran["gap"][0], np.asarray(promise.factor), np.asarray(promise.bias))
        promised = _first_below(guarantee, epsilon * ran["gap"][0] + bias)
    else:
        factor = 1 - float(outer) * np.asarray(h.gradient_domination) / 8
        added = np.full(num_steps, 18 * float(outer) * cubed * float(spread) ** 2)
        guarantee = _recurrence(ran["gap"][0], np.broadcast_to(factor, (num_steps, len(factor))), added)
    return Run(
        name="at_iterate" if at_iterate else "sublevel",
        label="Theorem 1 at the iterate" if at_iterate else "Theorem 1",
        gains=ran["gains"],
        gap=ran["gap"],
        guarantee=guarantee,
        bias=bias,
        promised=promised,
        inner_step=ran["inner"],
        outer_step=ran["outer"],
    )


def model_free_plan(
    tasks: LQRTask, K0: Array, worst: Constants, spread: Array, epsilon: float, delta: float
) -> dict[str, Any]:
    """The requirements of Theorems 2 and 4, corrected (docs/errata.md, T15 and T17), for a model-free run, as plain
    numbers."""
    first = quantities(K0, tasks)
    num_inputs, domination = K0.shape[0], worst.gradient_domination
    inner, outer = step_size_limits(worst, num_inputs, model_free=True)
    accuracy = epsilon * jnp.min(first.gap)
    tolerance = jnp.minimum(stability_tolerance(domination * first.gap), accuracy_tolerance(accuracy, domination))
    count = float(jnp.max(iterations(worst, 2 * first.gap, outer, accuracy)))
    radius = float(jnp.min(jnp.stack(smoothing_radius(worst, tolerance, (num_inputs, K0.shape[1])))))
    num_tasks = tasks.A.shape[0]
    each = delta / (3 * num_tasks * np.ceil(count))
    shape = (num_inputs, K0.shape[1])
    needed = num_samples(worst, first.J_max, shape, radius, tolerance, each)
    samples = float(np.ceil(np.max(needed)))
    squared = (9 / 8) * (6 * float(tolerance)) ** 2
    heterogeneous = 30 * num_inputs**3 * float(spread) ** 2
    return {
        "inner_step": float(inner),
        "outer_step": float(outer),
        "tolerance": float(tolerance),
        "radius": radius,
        "gradient_samples": float(needed[0]),
        "hessian_samples": float(needed[1]),
        "samples": samples,
        "iterations": count,
        # Gradient and Hessian from one set of 2 m + 1 queries, and another gradient at the adapted gain.
        "queries": np.ceil(count) * num_tasks * (4 * samples + 1),
        "probability_each": each,
        "added_per_unit_of_step": squared + heterogeneous,
        "heterogeneity_over_allowed": float(spread / jnp.sqrt(jnp.min(domination * first.gap) / (480 * num_inputs**3))),
    }


def model_free(
    key: Array, tasks: LQRTask, K0: Array, plan: dict[str, Any], max_steps: int, *, progress: bool | None = None
) -> Run:
    """A run of Algorithm 3 by the plan of :func:`model_free_plan`, with the Hessian estimate that is one."""
    num_steps = int(min(np.ceil(plan["iterations"]), max_steps))
    rule, oracle = (
        FixedSteps(plan["inner_step"], plan["outer_step"]),
        ZerothOrderOracle(num_samples=int(plan["samples"]), radius=plan["radius"]),
    )
    ran = _train(tasks, K0, num_steps, rule, oracle, key, progress)
    domination = np.asarray(constants(K0, tasks).gradient_domination)
    factor = np.broadcast_to(1 - plan["outer_step"] * domination / 8, (num_steps, len(domination)))
    added = np.full(num_steps, plan["outer_step"] * plan["added_per_unit_of_step"])
    return Run(
        name="model_free",
        label="Theorem 2",
        gains=ran["gains"],
        gap=ran["gap"],
        guarantee=_recurrence(ran["gap"][0], factor, added),
        bias=8 * plan["added_per_unit_of_step"] / domination,
        promised=plan["iterations"],
        inner_step=ran["inner"],
        outer_step=ran["outer"],
    )
