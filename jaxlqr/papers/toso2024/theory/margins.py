"""Measured over bound for every inequality of toso2024 that speaks of one gain: above one, it is violated."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.closed_form import cost_change, gradient
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.checks import Form, assumed
from jaxlqr.papers.toso2024.theory.constants import Constants, constants
from jaxlqr.papers.toso2024.theory.guarantees import step_size_limits
from jaxlqr.papers.toso2024.theory.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.papers.toso2024.theory.quantities import gradients, hessians, norm, quantities

#: The inequalities: Lemma 5 (three), Lemma 6 (three), Lemma 3, Lemma 4, and one step of Theorems 1 and 3.
NAMES = ("h_G", "h_H", "h_c", "h_cost", "h_grad", "h_hess", "domination", "heterogeneity", "step")


def over(measured: Array, bound: Array) -> Array:
    """Their ratio, of a measured value that is not negative; infinite where the bound is not positive but should be."""
    positive = bound > 0
    ratio = measured / jnp.where(positive, bound, 1)
    outside = jnp.where(jnp.isnan(bound) | jnp.isnan(measured), jnp.nan, jnp.where(measured > 0, jnp.inf, 0.0))
    return jnp.where(positive, ratio, outside)


@compiled(prepare=assumed)
def margins(K: Array, tasks: LQRTask, direction: Array, *, form: Form = "corrected") -> dict[str, Array]:
    r"""Measured over bound of each inequality, a dict of scalars by :data:`NAMES`.

    Arguments:
        K: gain [m, n] that stabilises every task.
        tasks: stack of at least two tasks.
        direction: [m, n], not zero; Lemma 6 compares K with K' at the distance :math:`h_\Delta(K)` along it.
        form: of the bounds.

    Returns:
        ``h_G``, ``h_H``, ``h_c`` (Lemma 5), ``h_cost``, ``h_grad``, ``h_hess`` (Lemma 6, at K'), ``domination``
        (Lemma 3), ``heterogeneity`` (Lemma 4, in spectral norm), and ``step``: for one step of Algorithm 1 from K with
        the largest step sizes, the promised decrease :math:`\eta/8\,\|\nabla J_i(K)\|^2` over what is reached plus the
        bias :math:`18 \eta n_u^3 f_z^2` (the step of the proofs of Theorems 1 and 3, with the constants at K). Infinite
        where a bound is not positive, NaN where ``K`` does not stabilise.
    """
    h = constants(K, tasks, form=form)
    moved = K + h.h_Delta * direction / norm(direction)
    distance = jnp.linalg.norm(moved - K)

    def size(stack: Array) -> Array:
        return jnp.linalg.norm(stack.reshape(stack.shape[0], -1), axis=1)

    slopes, curvatures = gradients(K, tasks), hessians(K, tasks)
    q = quantities(K, tasks)
    costs = jax.vmap(lambda task: cost_change(K, moved, task))(tasks) / q.J
    spread, _ = gradient_heterogeneity_bound(K, tasks, form=form)
    first, second = jnp.triu_indices(tasks.A.shape[0], 1)
    return {
        "h_G": over(jnp.max(size(slopes)), h.h_G),
        "h_H": over(jnp.max(size(curvatures)), h.h_H),
        "h_c": over(jnp.linalg.norm(K), h.h_c),
        "h_cost": over(jnp.max(jnp.abs(costs)), h.h_cost * distance),
        "h_grad": over(jnp.max(size(gradients(moved, tasks) - slopes)), h.h_grad * distance),
        "h_hess": over(jnp.max(size(hessians(moved, tasks) - curvatures)), h.h_hess * distance),
        "domination": jnp.max(over(h.gradient_domination * q.gap, size(slopes) ** 2)),
        "heterogeneity": over(jnp.max(jax.vmap(norm)(slopes[first] - slopes[second])), spread),
        "step": jnp.max(_step(K, tasks, h, spread, slopes, curvatures)),
    }


def _step(K: Array, tasks: LQRTask, h: Constants, spread: Array, slopes: Array, curvatures: Array) -> Array:
    inner, outer = step_size_limits(h, K.shape[0])
    following = K - outer * meta_gradient(K, tasks, inner, slopes, curvatures)
    decrease = -jax.vmap(lambda task: cost_change(K, following, task))(tasks)
    promised = outer / 8 * jnp.sum(slopes**2, axis=(1, 2))
    return over(promised, decrease + 18 * outer * K.shape[0] ** 3 * spread**2)


def meta_gradient(K: Array, tasks: LQRTask, inner: Array, slopes: Array, curvatures: Array) -> Array:
    """The meta-gradient [m, n] of (4) from the gradients [M, m, n] and Hessians [M, d, d] at ``K``."""
    adapted = jax.vmap(lambda slope, task: gradient(K - inner * slope, task))(slopes, tasks)
    return combine(inner, adapted, curvatures)


def combine(inner: Array, adapted: Array, curvatures: Array) -> Array:
    """The mean over tasks of (I - eta_l H) applied to the gradients at the adapted gains [M, m, n]."""
    bent = jnp.einsum("iab,ib->ia", curvatures, adapted.reshape(len(adapted), -1)).reshape(adapted.shape)
    return jnp.mean(adapted - inner * bent, axis=0)
