"""Measured over bound for Theorems 1 to 4 of toso2024 and for the estimates of Lemmas 8 and 9, to be attacked.

A model-free step is attacked with errors of the allowed size in the worst direction, which no draw of perturbations
need reach: what holds then holds with the probability of the estimates.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.products import matmul
from jaxlqr.lqr.closed_form import cost_change, gradient
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.stabilize import average_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.newton import newton_optimum
from jaxlqr.papers.checks import Form
from jaxlqr.papers.toso2024.theory.attack import Inequalities
from jaxlqr.papers.toso2024.theory.constants import constants
from jaxlqr.papers.toso2024.theory.guarantees import (
    bias_rates,
    optimality_bounds,
    sample_bounds,
    stability_tolerance,
    step_size_limits,
)
from jaxlqr.papers.toso2024.theory.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.papers.toso2024.theory.instances import Parameters, draw, instance
from jaxlqr.papers.toso2024.theory.margins import combine, meta_gradient, over
from jaxlqr.papers.toso2024.theory.quantities import gradients, hessians, quantities


def _draw_steps(key: Array, num_states: int, num_inputs: int) -> Parameters:
    first, second = jax.random.split(key)
    theta = draw(first, num_states, num_inputs, least_log_level=-20.0)
    num_tasks, d = len(theta["dA"]), num_states * num_inputs
    shapes = {
        "gradient_error": (num_tasks, num_inputs, num_states),
        "hessian_error": (num_tasks, d, d),
        "adapted_error": (num_tasks, num_inputs, num_states),
    }
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    *parts, rest = jnp.split(jax.random.normal(second, (int(ends[-1]) + 1,)), ends)
    theta |= {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    return theta | {"log_odds": 2 * rest[0]}


def _changes(K: Array, moved: Array, tasks: LQRTask) -> Array:
    return jax.vmap(lambda task: cost_change(K, moved, task))(tasks)


def _resolved(K: Array, moves: Array, ratio: Array) -> Array:
    """``ratio``, or NaN where a move [..., m, n] is so short that it is lost, or half lost, in the rounding of K."""
    lengths = jnp.linalg.norm(moves, axis=(-2, -1))
    return jnp.where(jnp.min(lengths) > 1e-9 * jnp.linalg.norm(K), ratio, jnp.nan)


def _units(stack: Array) -> Array:
    return stack / jnp.sqrt(jnp.sum(stack**2, axis=(1, 2), keepdims=True))


def _steps(theta: Parameters, form: Form) -> dict[str, Array]:
    r"""One step from a gain that is taken for :math:`K_0`, model-based and with errors of the allowed size.

    ``theorem_1``, ``theorem_2``: the decrease that keeps a step in the sub-level set, :math:`\eta\lambda_i\Delta_i/16`
    and :math:`/32`, over the decrease reached, where the heterogeneity is within the theorem's condition; ``inner_1``,
    ``inner_2``: the same for the adaptation of each task, :math:`\eta_l\lambda_i\Delta_i/2` and :math:`/8`; ``others``:
    above one if a gain adapted to one task leaves the sub-level set of another. ``estimate``: the error of the
    meta-gradient over :math:`6 n_u\epsilon`, or over :math:`6\epsilon`, the corrected bound. ``step_8``: the decrease
    promised by the proof of Theorem 4 over that reached plus its three errors.
    """
    K, tasks, _ = instance(theta)
    m = K.shape[0]
    q, h = quantities(K, tasks), constants(K, tasks, form=form)
    spread, _ = gradient_heterogeneity_bound(K, tasks, form=form)
    slopes, curvatures = gradients(K, tasks), hessians(K, tasks)
    sizes = jnp.sum(slopes**2, axis=(1, 2))
    room = h.gradient_domination * q.gap

    def where_similar(factor: int, ratios: Array) -> Array:
        allowed = jnp.min(room) / (factor * m**3)
        return jnp.where(spread**2 <= allowed, jnp.max(ratios), jnp.nan)

    inner, outer = step_size_limits(h, m)
    move = outer * meta_gradient(K, tasks, inner, slopes, curvatures)
    adapted = jax.vmap(lambda slope: -_changes(K, K - inner * slope, tasks))(slopes)  # [adapted to, task]
    found = {
        "theorem_1": _resolved(K, move, where_similar(288, over(outer * room / 16, -_changes(K, K - move, tasks)))),
        "inner_1": _resolved(K, inner * slopes, jnp.max(over(inner * room / 2, jnp.diagonal(adapted)))),
        "others": _resolved(K, inner * slopes, where_similar(288, jnp.exp(-adapted / (inner * sizes[None])))),
    }
    inner, outer = step_size_limits(h, m, model_free=True)
    epsilon = jax.nn.sigmoid(theta["log_odds"]) * stability_tolerance(room)
    estimates = slopes + epsilon * _units(theta["gradient_error"])
    bent = curvatures + epsilon * _units(theta["hessian_error"])
    moved = K[None] - inner * estimates
    at_moved = jax.vmap(gradient)(moved, tasks) + epsilon * _units(theta["adapted_error"])
    direction = combine(inner, at_moved, bent)
    error = jnp.linalg.norm(direction - meta_gradient(K, tasks, inner, slopes, curvatures))
    decrease = -_changes(K, K - outer * direction, tasks)
    own = -jax.vmap(lambda gain, task: cost_change(K, gain, task))(moved, tasks)
    slack = 30 * outer * m**3 * spread**2
    slack += outer * 324 / 8 * (m * epsilon if form == "printed" else epsilon**2)
    return found | {
        "theorem_2": _resolved(K, outer * direction, where_similar(480, over(outer * room / 32, decrease))),
        "inner_2": _resolved(K, moved - K[None], jnp.max(over(inner * room / 8, own))),
        "estimate": error / (6 * epsilon * (m if form == "printed" else 1)),
        "step_8": _resolved(K, outer * direction, jnp.max(over(outer / 8 * sizes, decrease + slack))),
    }


STEPS = Inequalities(
    ("theorem_1", "inner_1", "others", "theorem_2", "inner_2", "estimate", "step_8"), _draw_steps, _steps
)
"""Theorems 1, 2 and 4."""


def _optimum(theta: Parameters, form: Form) -> dict[str, Array]:
    r"""(6) after infinitely many steps, and (7): the largest gap at the MAML optimum over the bounds there.

    The inner step is the largest that the constants at the optimum of the average task allow, and the instance counts
    if it is within those at the MAML optimum too.
    """
    _, tasks, _ = instance(theta)
    start = optimal_gain(average_task(tasks))
    m = start.shape[0]
    inner = step_size_limits(constants(start, tasks, form=form), m).inner

    def slope(gain: Array, tasks: LQRTask, inner: Array) -> Array:
        return meta_gradient(gain, tasks, inner, gradients(gain, tasks), hessians(gain, tasks))

    frozen_tasks, frozen_inner = jax.lax.stop_gradient((tasks, inner))
    near = jax.lax.stop_gradient(newton_optimum(cost, start, frozen_tasks, frozen_inner, max_steps=8).params)
    # One Newton step more, differentiable: by the implicit function theorem its derivative is that of the optimum.
    hessian = jax.jacfwd(lambda flat: slope(flat.reshape(start.shape), frozen_tasks, frozen_inner).ravel())(
        near.ravel()
    )
    step = jnp.linalg.solve(jax.lax.stop_gradient(hessian), slope(near, tasks, inner).ravel())
    K = near - step.reshape(start.shape)
    q, bounds = quantities(K, tasks), optimality_bounds(K, tasks, form=form)
    valid = (inner > 0) & (inner <= step_size_limits(constants(K, tasks, form=form), m).inner)
    return {
        "bound_6": jnp.where(valid, jnp.max(over(q.gap, bounds.trained)), jnp.nan),
        "bound_7": jnp.where(valid, jnp.max(over(q.gap, bounds.optimum)), jnp.nan),
    }


OPTIMUM = Inequalities(("bound_6", "bound_7"), draw, _optimum)
"""Bounds (6), in the limit, and (7)."""


def _draw_samples(key: Array, num_states: int, num_inputs: int) -> Parameters:
    first, second = jax.random.split(key)
    theta = draw(first, num_states, num_inputs)
    return theta | {"log_odds": 2 * jax.random.normal(second, ())}


def _samples(theta: Parameters, form: Form) -> dict[str, Array]:
    r"""One sample of the estimates of Algorithm 2 over its bound in Lemmas 8 and 9, and their bias over its own.

    In the printed form the Hessian estimate is the printed one. The bias is a mean over the sphere, two points in one
    dimension, 64 on the circle in two; NaN in more, and where the printed estimate has another shape than the Hessian.
    """
    K, tasks, direction = instance(theta)
    h, q = constants(K, tasks, form=form), quantities(K, tasks)
    shape = (K.shape[0], K.shape[1])
    d = K.size
    radius = jax.nn.sigmoid(theta["log_odds"]) * jnp.minimum(h.h_Delta, 1 / h.h_cost)

    def sample(u: Array) -> tuple[Array, Array]:
        """The samples [M, d] and [M, ...] in the direction of the unit vector u [d]."""
        U = radius * u.reshape(shape)
        plus, minus = _changes(K, K + U, tasks), _changes(K, K - U, tasks)
        slope = d / (2 * radius) * _changes(K - U, K + U, tasks)[:, None] * u[None]
        if form == "printed":
            matrix = shape[0] ** 2 / radius**2 * (matmul(U, U.mT) - jnp.eye(shape[0]))
            return slope, plus[:, None, None] * matrix[None]
        matrix = d * (d + 2) / radius**2 * (jnp.outer(u, u) - jnp.eye(d) / (d + 2))
        return slope, (plus + minus)[:, None, None] / 2 * matrix[None]

    def largest(stack: Array) -> Array:
        return jnp.max(jnp.linalg.norm(stack.reshape(len(stack), -1), axis=1))

    slope, matrix = sample(direction.ravel() / jnp.linalg.norm(direction))
    bounds = sample_bounds(h, q.J_max, shape, radius, form=form)
    found = {"gradient_sample": over(largest(slope), bounds[0]), "hessian_sample": over(largest(matrix), bounds[1])}
    found |= {"gradient_bias": jnp.asarray(jnp.nan), "hessian_bias": jnp.asarray(jnp.nan)}
    if d > 2:
        return found
    angles = 2 * jnp.pi * jnp.arange(64) / 64
    sphere = jnp.array([[1.0], [-1.0]]) if d == 1 else jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    slopes, matrices = (jnp.mean(samples, axis=0) for samples in jax.vmap(sample)(sphere))
    allowed = [rate * radius for rate in bias_rates(h, shape, form=form)]
    found["gradient_bias"] = over(largest(slopes - gradients(K, tasks).reshape(-1, d)), allowed[0])
    if form == "corrected" or d == 1:
        found["hessian_bias"] = over(largest(matrices - hessians(K, tasks)), allowed[1])
    return found


SAMPLES = Inequalities(("gradient_sample", "hessian_sample", "gradient_bias", "hessian_bias"), _draw_samples, _samples)
"""Lemmas 8 and 9."""
