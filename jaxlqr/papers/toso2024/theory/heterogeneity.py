"""How different tasks are, and how different their gradients can be for that (toso2024, section 2.2 and Lemma 4)."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.checks import Form, assumed, check_several
from jaxlqr.papers.toso2024.theory.quantities import norm, quantities


@compiled()
def heterogeneity(tasks: LQRTask) -> Array:
    r"""Levels :math:`(\epsilon_1, \ldots, \epsilon_4)` [4]: largest spectral distances between two tasks' A, B, Q, R.

    Raises:
        ValueError: with fewer than two tasks.

    >>> import jaxlqr
    >>> first, second = jaxlqr.make_task([[0.9]], [[1.0]]), jaxlqr.make_task([[0.8]], [[1.0]])
    >>> print(heterogeneity(jaxlqr.stack_tasks([first, second])).round(3))
    [0.1 0.  0.  0. ]
    """
    check_several(tasks)
    first, second = jnp.triu_indices(tasks.A.shape[0], 1)

    def largest(stack: Array) -> Array:
        return jnp.max(jax.vmap(norm)(stack[first] - stack[second]))

    return jnp.stack([largest(stack) for stack in (tasks.A, tasks.B, tasks.Q, tasks.R)])


@compiled(prepare=assumed)
def gradient_heterogeneity_bound(K: Array, tasks: LQRTask, *, form: Form = "corrected") -> tuple[Array, Array]:
    r"""Bound :math:`f_z(\bar\epsilon) = \sum_k \epsilon_k h_{het}^k(K)` of the distance of two tasks' gradients at K.

    Arguments:
        K: gain [m, n] that stabilises every task.
        tasks: stack of at least two tasks.
        form: ``"printed"``, or ``"corrected"``, which has the factor 2 of :math:`\nabla J = 2 E \Sigma` that the last
            line of the printed proof drops (docs/errata.md, T13).

    Returns:
        The bound, a scalar, and :math:`h_{het}^1` to :math:`h_{het}^4` [4].

    Source: toso2024, Lemma 4, equation (5), appendix 6.2.
    """
    check_several(tasks)
    q = quantities(K, tasks)
    nu = q.J_max / (q.sigma_Q * q.mu)
    spread = q.J_max / q.sigma_Q
    residual = q.R * q.K + q.J_max * (q.B**2 * q.K + q.B * q.A) / q.mu
    folded = 4 * q.closed**2 * (q.Q + q.K**2 * q.R) * nu**2
    states = 4 * residual * nu**2 * q.closed * q.Sigma0
    h = jnp.stack(
        [
            spread * q.B * (q.P + folded) + states,
            # As printed: folded without the factor ||B|| that its derivation gives it.
            spread * (q.closed * q.P + q.B * q.P * q.K + (1 if form == "printed" else q.B) * q.K * folded)
            + q.K * states,
            spread * q.B * q.closed * nu,
            spread * (q.K + q.K**2 * q.B * q.closed * nu),
        ]
    )
    h = h if form == "printed" else 2 * h
    return jnp.sum(heterogeneity(tasks) * h), h
