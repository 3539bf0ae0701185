"""How tight the guarantees of toso2024 are for a user's own tasks: every bound, the measured value, their ratio."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.lqr.closed_form import cost_change
from jaxlqr.lqr.cost import cost, is_stabilizing
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.stabilize import average_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.newton import newton_optimum
from jaxlqr.papers.checks import Form, check_inputs, check_several
from jaxlqr.papers.toso2024.theory.constants import constants
from jaxlqr.papers.toso2024.theory.guarantees import (
    iterations,
    num_samples,
    optimality_bounds,
    smoothing_radius,
    step_size_limits,
)
from jaxlqr.papers.toso2024.theory.heterogeneity import gradient_heterogeneity_bound, heterogeneity
from jaxlqr.papers.toso2024.theory.margins import over
from jaxlqr.papers.toso2024.theory.quantities import gradients, hessians, norm, quantities

FORMS: tuple[Form, ...] = ("printed", "corrected")
#: Each row of a report: its name, what is measured, and where the bound is from.
ROWS = {
    "h_G": ("largest norm of a gradient", "Lemma 5"),
    "h_H": ("largest norm of a Hessian", "Lemma 5"),
    "h_c": ("norm of the gain", "Lemma 5"),
    "h_cost": ("change of the cost, relative, per unit of K", "Lemma 6"),
    "h_grad": ("change of the gradient per unit of K", "Lemma 6"),
    "h_hess": ("change of the Hessian per unit of K", "Lemma 6"),
    "h_Delta": ("distance in K at which a task is lost, at least h_Delta", "Lemma 6"),
    "gap": ("largest gap, by gradient domination", "Lemma 3"),
    "f_z": ("largest distance of two gradients", "Lemma 4"),
    "optimum": ("largest gap of the MAML optimum, by (7)", "Theorem 3"),
    "inner_step": ("inverse of the largest curvature, at least the inner limit", "Theorem 1"),
    "outer_step": ("inverse of the largest curvature, at least the outer limit", "Theorem 1"),
}
# Where the theory promises that the measured value is at least so large.
_LOWER = ("h_Delta", "inner_step", "outer_step")
NUM_DIRECTIONS = 32


def report(
    tasks: LQRTask,
    K0: Array,
    *,
    epsilon: float = 0.1,
    delta: float = 0.05,
    key: Array | None = None,
) -> dict[str, Any]:
    r"""Every bound at ``K0``, printed and corrected, the value measured there, and what a certified run would need.

    Arguments:
        tasks: stack of at least two tasks.
        K0: gain [m, n] that stabilises every task.
        epsilon: tolerance, relative to the largest gap for the iterations of Theorem 3, and to the norm of a gradient
            or a Hessian for the samples of Lemmas 8 and 9.
        delta: probability that one estimate misses its tolerance.
        key: of the directions in which the slopes of Lemma 6 are measured.

    Returns:
        Plain numbers. ``rows``, one dictionary for each of :data:`ROWS`: ``measured``, and in each form ``bound``,
        ``ratio`` and ``violated``. The ratio is measured over bound, or bound over measured where the bound is from
        below (``lower``). A ratio above one violates the bound; it is infinite where the bound is not positive.
        ``levels``: the heterogeneity. ``needed``: step sizes, radii, samples and iterations in each form.

    Raises:
        ValueError: for a gain that does not stabilise every task, a singular Q, R or Sigma0, a single task, and
            ``epsilon`` or ``delta`` outside (0, 1).

    >>> import jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 0.91])
    >>> told = report(tasks, jnp.array([[0.7]]))
    >>> [row["name"] for row in told["rows"] if row["violated"]["printed"]]
    ['h_G']
    """
    check_inputs(K0, tasks)
    check_several(tasks)
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie in (0, 1), got {value}.")
    key = jax.random.key(0) if key is None else key
    measured, bounds, needed, levels = jax.tree.map(np.asarray, _evaluate(K0, tasks, epsilon, delta, key))
    rows = []
    for name, (what, source) in ROWS.items():
        lower = name in _LOWER
        bound = {form: float(bounds[form][name]) for form in FORMS}
        value = {form: float(measured[form].get(name, measured[form].get("curvature"))) for form in FORMS}
        ratio = {
            f: float(over(*map(jnp.asarray, (bound[f], value[f]) if lower else (value[f], bound[f])))) for f in FORMS
        }
        rows.append(
            {
                "name": name,
                "what": what,
                "source": source,
                "lower": lower,
                # Lemma 6 is measured at both distances h_Delta.
                "measured": value["corrected"],
                "measured_printed": value["printed"],
                "bound": bound,
                "ratio": ratio,
                "violated": {form: not ratio[form] <= 1 + 1e-9 for form in FORMS},
            }
        )
    return {
        "num_tasks": int(tasks.A.shape[0]),
        "epsilon": epsilon,
        "delta": delta,
        "levels": dict(zip(("A", "B", "Q", "R"), levels.tolist(), strict=True)),
        "rows": rows,
        "needed": {form: {name: float(value) for name, value in needed[form].items()} for form in FORMS},
    }


@jax.jit
def _evaluate(K: Array, tasks: LQRTask, epsilon: Array, delta: Array, key: Array):
    directions = jax.random.normal(key, (NUM_DIRECTIONS, *K.shape), K.dtype)
    directions = directions / jax.vmap(norm)(directions)[:, None, None]
    # The optimum of the MAML objective at the step size of the corrected theory.
    inner = step_size_limits(constants(K, tasks), K.shape[0]).inner
    start = optimal_gain(average_task(tasks))
    center = newton_optimum(cost, start, tasks, inner, max_steps=15).params
    found = {form: _of_form(K, tasks, form, epsilon, delta, center) for form in FORMS}
    measured, bounds, needed = ({form: found[form][i] for form in FORMS} for i in range(3))
    # One program for both forms, which differ in the distance h_Delta.
    slopes, curvatures = gradients(K, tasks), hessians(K, tasks)
    distances = jnp.stack([bounds[form]["h_Delta"] for form in FORMS])
    changes = lax.map(lambda distance: _slopes(K, tasks, distance * directions, slopes, curvatures), distances)
    reach = jnp.min(jax.vmap(lambda direction: _reach(K, tasks, direction))(directions))
    for i, form in enumerate(FORMS):
        measured[form] |= {name: rows[i] for name, rows in changes.items()} | {"h_Delta": reach}
    return measured, bounds, needed, heterogeneity(tasks)


def _of_form(K: Array, tasks: LQRTask, form: Form, epsilon: Array, delta: Array, center: Array):
    q, h = quantities(K, tasks), constants(K, tasks, form=form)
    slopes, curvatures = gradients(K, tasks), hessians(K, tasks)
    sizes = jnp.linalg.norm(slopes, axis=(1, 2))
    curvature = jnp.max(jnp.linalg.eigvalsh(curvatures))
    first, second = jnp.triu_indices(tasks.A.shape[0], 1)
    steps = step_size_limits(h, K.shape[0])
    spread, _ = gradient_heterogeneity_bound(K, tasks, form=form)
    measured = {
        "h_G": jnp.max(sizes),
        "h_H": jnp.max(jnp.linalg.norm(curvatures, axis=(1, 2))),
        "h_c": jnp.linalg.norm(K),
        "gap": jnp.max(q.gap),
        "f_z": jnp.max(jax.vmap(norm)(slopes[first] - slopes[second])),
        "optimum": jnp.max(quantities(center, tasks).gap),
        "curvature": 1 / curvature,
    }
    bounds = {
        **{name: getattr(h, name) for name in ("h_G", "h_H", "h_c", "h_cost", "h_grad", "h_hess", "h_Delta")},
        # The largest of the tasks' bounds, each of its own gradient.
        "gap": jnp.max(sizes**2 / h.gradient_domination),
        "f_z": spread,
        "optimum": optimality_bounds(center, tasks, form=form).optimum,
        "inner_step": steps.inner,
        "outer_step": steps.outer,
    }
    shape = (K.shape[0], K.shape[1])
    aims = (epsilon * measured["h_G"], epsilon * measured["h_H"])
    radius = smoothing_radius(h, aims[0], shape, form=form)[0], smoothing_radius(h, aims[1], shape, form=form)[1]
    samples = [num_samples(h, q.J_max, shape, radius[i], aims[i], delta, form=form)[i] for i in range(2)]
    needed = {
        "inner_step": steps.inner,
        "outer_step": steps.outer,
        "gradient_radius": radius[0],
        "hessian_radius": radius[1],
        "gradient_samples": samples[0],
        "hessian_samples": samples[1],
        "iterations": jnp.max(iterations(h, q.gap, steps.outer, epsilon * q.gap)),
        "bias": jnp.max(optimality_bounds(K, tasks, form=form).trained),
        "heterogeneity_over_allowed": spread
        / jnp.sqrt(jnp.min(h.gradient_domination * q.gap) / (288 * K.shape[0] ** 3)),
    }
    return measured, bounds, needed


def _slopes(K: Array, tasks: LQRTask, moves: Array, slopes: Array, curvatures: Array) -> dict[str, Array]:
    """The largest change of cost, gradient and Hessian per unit of K over ``moves`` [directions, m, n]."""
    costs = quantities(K, tasks).J

    def one(move: Array) -> dict[str, Array]:
        moved, distance = K + move, jnp.linalg.norm(move)
        change = jax.vmap(lambda task: cost_change(K, moved, task))(tasks)
        return {
            "h_cost": jnp.max(jnp.abs(change) / costs) / distance,
            "h_grad": jnp.max(jnp.linalg.norm(gradients(moved, tasks) - slopes, axis=(1, 2))) / distance,
            "h_hess": jnp.max(jnp.linalg.norm(hessians(moved, tasks) - curvatures, axis=(1, 2))) / distance,
        }

    return jax.tree.map(jnp.max, jax.vmap(one)(moves))


def _reach(K: Array, tasks: LQRTask, direction: Array) -> Array:
    """How far along ``direction`` the gain first fails to stabilise a task, to a factor of 1.1; infinite beyond 1e3."""
    distances = jnp.geomspace(1e-4, 1e3, 170).astype(K.dtype)

    def stable(distance: Array) -> Array:
        return jnp.all(jax.vmap(lambda task: is_stabilizing(K + distance * direction, task))(tasks))

    lost = ~jax.vmap(stable)(distances)
    return jnp.where(jnp.any(lost), distances[jnp.argmax(lost)], jnp.inf)
