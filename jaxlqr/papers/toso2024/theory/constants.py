r"""The constants of Lemmas 3, 5 and 6 of toso2024, as printed and as corrected.

With :math:`\nu = J_{\max}/(\sigma_{\min}(Q)\mu)`, which bounds the norm of
:math:`\mathcal{T}_K(X) = \sum_t A_K^t X A_K^{t\top}`, and
:math:`h_0 = \sqrt{\max_i\|R + B^\top P_K B\| (J_{\max} - J_{\min})/\mu}`, which bounds :math:`\|E_K\|_F`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.checks import Form, assumed
from jaxlqr.papers.toso2024.theory.quantities import Quantities, quantities
from jaxlqr.papers.toso2024.theory.smoothness import HessianParts, corrected, printed, printed_parts


class Constants(NamedTuple):
    r"""Constants of a task set at a gain.

    Attributes:
        h_G, h_H, h_c: bounds of :math:`\|\nabla J^{(i)}(K)\|_F, \|\nabla^2 J^{(i)}(K)\|_F, \|K\|_F` (Lemma 5).
        h_Delta: how far K' may be from K in Lemma 6.
        h_cost, h_grad, h_hess: Lipschitz constants of the cost (relative to it), gradient and Hessian (Lemma 6).
        nu: :math:`J_{\max}(K) / (\min_i\sigma_{\min}(Q^{(i)})\mu)`.
        gradient_domination: :math:`\lambda_i` of Lemma 3, one per task [M].
    """

    h_G: Array
    h_H: Array
    h_c: Array
    h_Delta: Array
    h_cost: Array
    h_grad: Array
    h_hess: Array
    nu: Array
    gradient_domination: Array


@compiled(prepare=assumed)
def constants(K: Array, tasks: LQRTask, *, form: Form = "corrected") -> Constants:
    r"""Constants of Lemmas 3, 5 and 6 at the gain ``K``.

    Arguments:
        K: gain [m, n] that stabilises every task.
        tasks: stack of tasks, leading axis M.
        form: ``"printed"``, or ``"corrected"`` where that is violated (docs/errata.md, T4 and T11 to T13).

    Returns:
        :class:`Constants`. Runs inside ``jit`` and ``vmap``, where it is NaN if ``K`` does not stabilise a task.

    Raises:
        ValueError: outside ``jit``, when ``K`` does not stabilise a task, or a Q, R or Sigma0 is singular; for tasks of
            different sizes, or a ``K`` that does not fit them, always.

    >>> import jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[0.9]], [[1.0]])])
    >>> K = jnp.array([[0.5]])
    >>> print(f"{constants(K, tasks).h_G / constants(K, tasks, form='printed').h_G:.0f}")
    2

    Source: toso2024, Lemmas 3, 5 and 6 (appendix 6.1).
    """
    if form not in ("printed", "corrected"):
        raise ValueError(f'form must be "printed" or "corrected", got {form!r}.')
    q = quantities(K, tasks)
    shape = (K.shape[0], K.shape[1])
    nu = q.J_max / (q.sigma_Q * q.mu)
    h_0 = jnp.sqrt(q.weight * q.above / q.mu)
    is_printed = form == "printed"
    h_delta = (q.sigma_Q_max if is_printed else q.sigma_Q) * q.mu / (4 * q.B * q.J_max * (q.closed + 1))
    smooth = printed(q, nu, h_0, h_delta) if is_printed else corrected(q, nu, h_0, h_delta, shape)
    return Constants(
        h_G=(1 if is_printed else 2) * q.J_max / q.sigma_Q * h_0,
        h_H=_hessian_printed(q, shape[0]) if is_printed else _hessian_corrected(q, nu, h_0, shape[0] * shape[1]),
        h_c=(h_0 + (q.BPA if is_printed else q.BPA_frobenius)) / q.sigma_R,
        h_Delta=h_delta,
        h_cost=smooth.cost,
        h_grad=smooth.grad,
        h_hess=smooth.hess,
        nu=nu,
        gradient_domination=4 * q.mu**2 * q.sigma_R_each / q.Sigma_optimal,
    )


@compiled(prepare=assumed)
def hessian_parts(K: Array, tasks: LQRTask) -> HessianParts:
    r"""The parts :math:`h_1` to :math:`h_9` and :math:`\tilde\mu` of the printed h_hess of Lemma 6 at the gain ``K``.

    Arguments as of :func:`constants`, which has h_hess itself in both forms.

    >>> import jaxlqr
    >>> tasks, K = jaxlqr.stack_tasks([jaxlqr.make_task([[0.9]], [[1.0]])]), jnp.array([[0.5]])
    >>> parts, h = hessian_parts(K, tasks), constants(K, tasks, form="printed")
    >>> print(f"{2 * (parts.h_1 + 2 * parts.h_2) / h.h_hess:.3f}")
    1.000

    Source: toso2024, Lemma 6.
    """
    h, q = constants(K, tasks, form="printed"), quantities(K, tasks)
    return printed_parts(q, h.nu, h.h_Delta)


def _hessian_printed(q: Quantities, num_inputs: int) -> Array:
    xi = ((1 + q.B**2) * q.J_max / q.mu + q.R - 1) / q.Q_least
    bracket = 2 * q.R + 2 * q.B * q.J_max / q.mu + 4 * jnp.sqrt(2.0) * xi * q.B * q.J_max / q.mu
    return bracket * q.J_max * num_inputs / q.Q_least


def _hessian_corrected(q: Quantities, nu: Array, h_0: Array, dimension: int) -> Array:
    # <X, H[X]> = 2 <(R + B'PB) X Sigma, X> - 4 <B' P'[X] A_K Sigma, X> with P'[X] = T*(X'E + E'X), so that
    # ||P'[X]||_F <= 2 nu h_0 ||X||_F (smoothness.py); ||Sigma|| <= J / sigma_min(Q). The Frobenius norm is at most
    # sqrt(d) times the largest value.
    largest = (2 * q.weight + 8 * q.B * q.closed * nu * h_0) * q.J_max / q.sigma_Q
    return jnp.sqrt(float(dimension)) * largest
