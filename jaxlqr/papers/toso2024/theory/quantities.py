"""The norms and costs of a task set at a gain, from which all constants of toso2024 are built."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.lqr.closed_form import gradient, hessian_vector_product
from jaxlqr.lqr.cost import closed_loop, value_matrix
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import discrete_lqr, stable_discrete_lyapunov
from jaxlqr.papers.checks import assumed


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Quantities:
    r"""Scalars of a task set at a gain K, with the paper's symbols; norms are spectral by default.

    Attributes:
        J_max: largest cost :math:`\max_i J^{(i)}(K)`.
        J_min: least cost of any task :math:`\min_i J^{(i)}(K_i^*)`. The paper writes :math:`J_{\min}(K)` and does not
            define it; with this choice, Lemma 5 is Fazel's bound for a single task.
        mu: smallest eigenvalue of any :math:`\Sigma_0`.
        A, B, Q, R, P, closed, K: largest norms of A, B, Q, R, P_K, A - BK, and the norm of K.
        Q_least: :math:`\min_i \|Q^{(i)}\|`, the least of the norms.
        sigma_Q, sigma_Q_max, sigma_R: :math:`\min_i \sigma_{\min}(Q^{(i)})`, the largest of these, and
            :math:`\min_i \sigma_{\min}(R^{(i)})`.
        weight: :math:`\max_i \|R^{(i)} + B^{(i)\top} P_K^{(i)} B^{(i)}\|`.
        BPA, BPA_frobenius: largest norms of :math:`B^\top P_K A`, spectral and Frobenius.
        trace_R, trace_closed: largest traces of R and of A - BK.
        Sigma0, trace_Sigma0: largest norm and largest trace of Sigma0.
        J: costs :math:`J^{(i)}(K)`, one per task [M].
        above: :math:`J_{\max}(K) - J_{\min}`, to full relative accuracy near the optimum.
        gap: :math:`J^{(i)}(K) - J^{(i)}(K_i^*)`, one per task [M], as accurate.
        Sigma_optimal: :math:`\|\Sigma_{K_i^*}\|`, one per task [M].
        sigma_R_each: :math:`\sigma_{\min}(R^{(i)})`, one per task [M].
    """

    J_max: Array
    J_min: Array
    mu: Array
    A: Array
    B: Array
    Q: Array
    Q_least: Array
    R: Array
    P: Array
    K: Array
    closed: Array
    sigma_Q: Array
    sigma_Q_max: Array
    sigma_R: Array
    weight: Array
    BPA: Array
    BPA_frobenius: Array
    trace_R: Array
    trace_closed: Array
    Sigma0: Array
    trace_Sigma0: Array
    above: Array
    J: Array
    gap: Array
    Sigma_optimal: Array
    sigma_R_each: Array


def norm(matrix: Array) -> Array:
    """Spectral norm."""
    return jnp.linalg.norm(matrix, 2)


def _of_task(K: Array, task: LQRTask) -> dict[str, Array]:
    P, _ = value_matrix(K, task)
    Sigma, _ = stable_discrete_lyapunov(closed_loop(K, task), task.Sigma0)
    best, P_best = discrete_lqr(task.A, task.B, task.Q, task.R)
    # Sigma_K* = Sigma0 + A_K* Sigma_K* A_K*'.
    Sigma_best, _ = stable_discrete_lyapunov(closed_loop(best, task), task.Sigma0)
    # J(K) - J(K*) = tr[(K - K*)'(R + B'P*B)(K - K*) Sigma_K], since E vanishes at K*: nothing cancels.
    away, weight_best = K - best, task.R + matmul(task.B.mT, P_best, task.B)
    BPA = matmul(task.B.mT, P, task.A)
    return {
        "J": jnp.sum(P * task.Sigma0.mT),
        "J_best": jnp.sum(P_best * task.Sigma0.mT),
        "gap": jnp.sum(matmul(weight_best, away) * matmul(away, Sigma)),
        "mu": jnp.linalg.eigvalsh(task.Sigma0)[0],
        "sigma_Q": jnp.linalg.eigvalsh(task.Q)[0],
        "sigma_R": jnp.linalg.eigvalsh(task.R)[0],
        "A": norm(task.A),
        "B": norm(task.B),
        "Q": norm(task.Q),
        "R": norm(task.R),
        "P": norm(P),
        "closed": norm(closed_loop(K, task)),
        "weight": norm(task.R + matmul(task.B.mT, P, task.B)),
        "BPA": norm(BPA),
        "BPA_frobenius": jnp.linalg.norm(BPA),
        "trace_R": jnp.trace(task.R),
        "trace_closed": jnp.trace(closed_loop(K, task)),
        "Sigma0": norm(task.Sigma0),
        "trace_Sigma0": jnp.trace(task.Sigma0),
        "Sigma_optimal": norm(Sigma_best),
    }


_LARGEST = ("A", "B", "Q", "R", "P", "closed", "weight", "BPA", "BPA_frobenius", "trace_R", "trace_closed")


@compiled(prepare=assumed)
def quantities(K: Array, tasks: LQRTask) -> Quantities:
    """:class:`Quantities` of a stack of tasks (leading axis M) at the gain ``K`` [m, n].

    Runs inside ``jit`` and ``vmap``, where it is NaN when ``K`` does not stabilise a task, and is differentiable.

    Raises:
        ValueError: outside ``jit``, when ``K`` or the tasks do not meet the paper's assumptions; for wrong shapes
        always.

    >>> import jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[0.9]], [[1.0]])])
    >>> print(f"{quantities(jnp.array([[0.5]]), tasks).closed:.1f}")
    0.4
    """
    each = jax.vmap(lambda task: _of_task(K, task))(tasks)
    J_max, J_min = jnp.max(each["J"]), jnp.min(each["J_best"])
    return Quantities(
        **{name: jnp.max(each[name]) for name in (*_LARGEST, "Sigma0", "trace_Sigma0")},
        J_max=J_max,
        J_min=J_min,
        # Not less than the largest gap, which does not cancel where J_max - J_min does.
        above=jnp.maximum(J_max - J_min, jnp.max(each["gap"])),
        mu=jnp.min(each["mu"]),
        Q_least=jnp.min(each["Q"]),
        sigma_Q=jnp.min(each["sigma_Q"]),
        sigma_Q_max=jnp.max(each["sigma_Q"]),
        sigma_R=jnp.min(each["sigma_R"]),
        K=norm(K),
        J=each["J"],
        gap=each["gap"],
        Sigma_optimal=each["Sigma_optimal"],
        sigma_R_each=each["sigma_R"],
    )


def gradients(K: Array, tasks: LQRTask) -> Array:
    """Gradients [M, m, n] of the costs at ``K``."""
    return jax.vmap(lambda task: gradient(K, task))(tasks)


def hessians(K: Array, tasks: LQRTask) -> Array:
    """Hessians [M, d, d] of the costs at ``K``, as matrices on the d = mn entries of the gain."""
    basis = jnp.eye(K.size, dtype=K.dtype).reshape(K.size, *K.shape)
    return jax.vmap(lambda task: jax.vmap(lambda X: hessian_vector_product(K, X, task).ravel())(basis))(tasks)
