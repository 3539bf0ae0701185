"""Every inequality of Lemmas 1 to 4 and of Theorem 1 on given instances: left over right side, as corrected and as
printed.

Where a lemma promises that a gain stabilises, the ratio is the spectral radius. Gains move within the radius of the
corrected form. Where the paper has "any stabilising gain", they also move close to the boundary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.lqr.closed_form import hessian_quadratic_form
from jaxlqr.lqr.cost import cost, spectral_radius, value_matrix
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.maml import maml_gradient, maml_loss
from jaxlqr.papers.musavi2023.theory.instances import near_the_boundary, random_instances
from jaxlqr.papers.musavi2023.theory.limits import condition_1, inner_step_limit
from jaxlqr.papers.musavi2023.theory.radius import delta, delta_bar, spectral_norm
from jaxlqr.papers.musavi2023.theory.smoothness import meta_smoothness, meta_smoothness_radius, smoothness

#: Lengths of the moves, in units of the radius of each inequality.
FRACTIONS = (0.999, 0.999, 0.999, 0.7, 0.5, 0.2, 0.05, 0.01)
_A, _B, _ALPHA = 0.5, 0.9, 0.5


class _Seen(NamedTuple):
    value: Array
    gradient: Array
    hessian: Array  # [d, d]
    radius: Array


def margins(K: Array, tasks: LQRTask, directions: Array, edge: Array) -> dict[str, Array]:
    """Ratios at one gain K [m, n], of various shapes, by the names of
    :data:`jaxlqr.papers.musavi2023.theory.statements.STATEMENTS`.

    Arguments: ``tasks``, a stack with common dynamics; ``directions`` [moves, m, n], as many as :data:`FRACTIONS`;
    ``edge`` [moves, m, n], gains close to the boundary of the stabilising set.
    """
    size, fractions = K.size, jnp.asarray(FRACTIONS)[:, None, None]
    directions = directions / spectral_norms(directions)[:, None, None]
    # The largest inner steps of Lemmas 1 and 4: at K, and for each gain near the boundary at both.
    limits = 0.999 * jax.vmap(lambda gain: inner_step_limit(gain, tasks))(jnp.concatenate([K[None], edge]))
    eta, edge_etas = limits[0], jnp.minimum(limits[0], limits[1:])

    def look(gain: Array, task: LQRTask) -> _Seen:
        value, gradient = jax.value_and_grad(cost)(gain, task)
        hessian = jax.hessian(cost)(gain, task).reshape(size, size)
        return _Seen(value, gradient, hessian, spectral_radius(gain, task))

    def one(task: LQRTask) -> tuple[dict[str, Array], dict[str, Array]]:
        near, wide, constants = delta(K, task), delta_bar(K, task), smoothness(K, task)
        ball, far = K[None] + near * fractions * directions, K[None] + 0.999 * wide * directions
        half = K[None] + 0.5 * near * FRACTIONS[0] * directions[:1]
        adapted = K - eta * jax.grad(cost)(K, task)
        gains = jnp.concatenate([K[None], adapted[None], half, ball, edge, far])
        seen = jax.vmap(look, (0, None))(gains, task)
        here, moved, between = (jax.tree.map(lambda leaf, i=i: leaf[i], seen) for i in (0, 1, 2))
        count = len(FRACTIONS)
        inner, outer = (jax.tree.map(lambda x, i=i: x[i : i + count], seen) for i in (3, 3 + count))

        def changes(at: _Seen, gains: Array) -> tuple[Array, Array, Array]:
            distance = spectral_norms(gains - K[None])
            flat = jnp.linalg.norm((gains - K[None]).reshape(count, size), axis=1)
            scale = jnp.trace(task.Sigma0) * constants.theta
            return (
                jnp.abs(at.value - here.value) / (scale * distance),
                spectral_norms(at.gradient - here.gradient[None]) / (constants.ell * distance),
                spectral_norms(at.hessian - here.hessian[None]) / (constants.rho * flat),
            )

        within, beyond = changes(inner, ball), changes(outer, edge)
        # The secants of the gradient along one direction, over two lengths: equal if H depended on W alone.
        long = (inner.gradient[0] - here.gradient) / FRACTIONS[0]
        short = (between.gradient - here.gradient) / (0.5 * FRACTIONS[0])
        curvature = directions[0].ravel() @ here.hessian @ directions[0].ravel()
        change = jax.jvp(lambda gain: value_matrix(gain, task)[0], (K,), (directions[0],))[1]
        bends = jnp.linalg.eigvalsh((change + change.mT) / 2)
        rows = {
            "hessian": jnp.abs(hessian_quadratic_form(K, directions[0], task) / curvature - 1),
            "lemma_1": moved.radius, "delta": inner.radius, "delta_bar": seen.radius[-count:],
            "theta": within[0], "ell": within[1], "rho": within[2], "H": spectral_norms(inner.hessian) / constants.ell,
            "printed_theta": beyond[0], "printed_ell": beyond[1], "printed_rho": beyond[2],
            "printed_H": spectral_norm(long - short) / spectral_norm(long),
            "printed_riccati": _printed_riccati_residual(task),
            "printed_sign": -bends[0] / jnp.max(jnp.abs(bends)),
        }  # fmt: skip
        least = {  # the constants that the lemmas need at least, measured
            "ell": jnp.maximum(spectral_norm(here.hessian), jnp.max(spectral_norms(inner.hessian))),
            "ell_bar": spectral_norm(moved.hessian), "rho": jnp.max(within[2]) * constants.rho, "delta": near,
            "gradient": jnp.linalg.norm(here.gradient),
        }  # fmt: skip
        return rows, least

    rows, least = jax.vmap(one)(tasks)
    return rows | _of_the_meta_gradient(K, tasks, directions, edge, eta, edge_etas, least)


def _of_the_meta_gradient(
    K: Array, tasks: LQRTask, directions: Array, edge: Array, eta: Array, edge_etas: Array, least: dict[str, Array]
) -> dict[str, Array]:
    count, num_tasks = len(FRACTIONS), len(tasks.A)
    all_etas = jnp.concatenate([eta[None], edge_etas])
    bounds = jax.vmap(lambda step: meta_smoothness(K, tasks, step))(all_etas)
    near = K[None] + meta_smoothness_radius(K, tasks, eta) * jnp.asarray(FRACTIONS)[:, None, None] * directions
    gains = jnp.concatenate([jnp.broadcast_to(K, (1 + count, *K.shape)), near, edge])
    steps = jnp.concatenate([all_etas, jnp.broadcast_to(eta, (count,)), edge_etas])
    slopes = jax.vmap(lambda gain, step: maml_gradient(cost, gain, tasks, inner_step_size=step))(gains, steps)

    def change(moved: Array, slope: Array, here: Array) -> Array:
        return jnp.linalg.norm((slope - here).reshape(-1)) / jnp.linalg.norm((moved - K).reshape(-1))

    here, at_near, at_edge = slopes[: 1 + count], slopes[1 + count : 1 + 2 * count], slopes[1 + 2 * count :]
    within = jax.vmap(change, (0, 0, None))(near, at_near, here[0])
    ell, rho = jnp.max(least["ell"]), jnp.max(least["rho"])
    smallest = jnp.max(least["ell_bar"]) * (1 + eta * (ell + jnp.min(least["delta"]) * rho)) * (1 + eta * ell)
    smallest += eta * rho * (1 + eta * ell) * jnp.mean(least["gradient"])

    found = condition_1(K, tasks, alpha=_ALPHA, a=_A, b=_B)
    bound = _A / found.outer_low
    betas = jnp.stack([1.001 * found.outer_low, (found.outer_low + found.outer_high) / 2, 0.999 * found.outer_high])
    nexts = K[None] - betas[:, None, None] * found.gradient[None]
    values = jax.vmap(lambda gain: maml_loss(cost, gain, tasks, inner_step_size=found.inner_step))(
        jnp.concatenate([K[None], nexts])
    )
    promised = (2 * _A - _B**2) / (2 * bound) * jnp.sum(found.gradient**2)
    farthest = K - 0.999 * found.outer_limit / _ALPHA * found.gradient
    return {
        "lemma_3": jax.vmap(spectral_radius, (None, 0))(farthest, tasks),
        "lemma_4": within / bounds[0],
        "room": found.outer_high / found.outer_limit,
        "descent": promised / (values[0] - values[1:]),
        "printed_sum": num_tasks * within[-1] / smallest,
        "printed_lemma_4": jax.vmap(change)(edge, at_edge, here[1:]) / bounds[1:],
        "printed_validity": found.outer_high / found.validity_limit,
    }


def _printed_riccati_residual(task: LQRTask) -> Array:
    """Of P = Q + A'PA + A'PB (R + B'PB)^-1 B'PA at the P of the least cost, relative."""
    P = value_matrix(optimal_gain(task), task)[0]
    last = task.A.mT @ P @ task.B
    right = task.Q + task.A.mT @ P @ task.A + last @ jnp.linalg.solve(task.R + task.B.mT @ P @ task.B, last.mT)
    return spectral_norm(P - right) / spectral_norm(P)


def spectral_norms(matrices: Array) -> Array:
    """Largest singular values [k] of matrices [k, ., .]."""
    return jnp.linalg.norm(matrices, 2, axis=(-2, -1))


_all_margins = jax.jit(jax.vmap(margins, (0, 0, None, 0)))


def random_margins(seed: int, num_states: int, num_inputs: int, num_instances: int) -> dict[str, np.ndarray]:
    """:func:`margins` of random instances, the leading axis of every row, in float64; tabled by
    :func:`jaxlqr.papers.musavi2023.theory.statements.table`."""
    K, tasks = random_instances(seed, num_states, num_inputs, num_instances)
    rng = np.random.default_rng([seed, 1])
    directions = jnp.asarray(rng.standard_normal((len(FRACTIONS), num_inputs, num_states)))
    edge = near_the_boundary(K, tasks, directions / spectral_norms(directions)[:, None, None])
    return {name: np.asarray(rows) for name, rows in _all_margins(K, tasks, directions, edge).items()}
