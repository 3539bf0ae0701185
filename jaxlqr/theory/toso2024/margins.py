"""Measured over bound for every inequality of Lemmas 3 to 6 of toso2024: above one, the inequality is violated."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.lqr.closed_form import gradient, hessian_vector_product
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.theory.toso2024.constants import Form, constants
from jaxlqr.theory.toso2024.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.theory.toso2024.quantities import gradients, norm, quantities


def _hessian(K: Array, task: LQRTask) -> Array:
    basis = jnp.eye(K.size, dtype=K.dtype).reshape(K.size, *K.shape)
    return jax.vmap(lambda X: hessian_vector_product(K, X, task).ravel())(basis)


def margins(K: Array, tasks: LQRTask, direction: Array, form: Form = "corrected") -> dict[str, Array]:
    r"""Measured over bound of each inequality, a dict of scalars.

    Arguments:
        K: gain [m, n] that stabilises every task.
        tasks: stack of at least two tasks.
        direction: [m, n], not zero; Lemma 6 compares K with K' at the distance :math:`h_\Delta(K)` along it.
        form: of the bounds.

    Returns:
        Keys ``h_G``, ``h_H``, ``h_c`` (Lemma 5), ``cost``, ``gradient``, ``hessian`` (Lemma 6), ``domination``
        (Lemma 3) and ``heterogeneity`` (Lemma 4, in spectral norm). NaN where ``K`` does not stabilise.
    """
    h = constants(K, tasks, form)
    moved = K + h.h_Delta * direction / norm(direction)
    distance = jnp.linalg.norm(moved - K)
    per_task = jax.vmap(lambda task: _changes(K, moved, task))(tasks)
    slopes = gradients(K, tasks)
    sizes = jnp.linalg.norm(slopes, axis=(1, 2))
    bound, _ = gradient_heterogeneity_bound(K, tasks, form)
    first, second = jnp.triu_indices(tasks.A.shape[0], 1)
    apart = jnp.max(jax.vmap(norm)(slopes[first] - slopes[second]))
    return {
        "h_G": jnp.max(sizes) / h.h_G,
        "h_H": jnp.max(per_task["hessian_size"]) / h.h_H,
        "h_c": jnp.linalg.norm(K) / h.h_c,
        "cost": jnp.max(per_task["cost"]) / (h.h_cost * distance),
        "gradient": jnp.max(per_task["gradient"]) / (h.h_grad * distance),
        "hessian": jnp.max(per_task["hessian"]) / (h.h_hess * distance),
        "domination": jnp.max(h.gradient_domination * quantities(K, tasks).gap / sizes**2),
        "heterogeneity": apart / bound,
    }


def _changes(K: Array, moved: Array, task: LQRTask) -> dict[str, Array]:
    before, after = _hessian(K, task), _hessian(moved, task)
    J = cost(K, task)
    return {
        "hessian_size": jnp.linalg.norm(before),
        "cost": jnp.abs(cost(moved, task) - J) / J,
        "gradient": jnp.linalg.norm(gradient(moved, task) - gradient(K, task)),
        "hessian": jnp.linalg.norm(after - before),
    }
