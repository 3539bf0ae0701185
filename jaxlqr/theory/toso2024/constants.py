r"""The constants of Lemmas 3, 5 and 6 of toso2024, as printed and as corrected.

With :math:`\nu = J_{\max}/(\sigma_{\min}(Q)\mu)`, which bounds the norm of
:math:`\mathcal{T}_K(X) = \sum_t A_K^t X A_K^{t\top}`, and
:math:`h_0 = \sqrt{\max_i\|R + B^\top P_K B\| (J_{\max} - J_{\min})/\mu}`, which bounds :math:`\|E_K\|_F`.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.lqr.task import LQRTask
from jaxlqr.theory.toso2024.quantities import Quantities, quantities

Form = Literal["printed", "corrected"]


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


def constants(K: Array, tasks: LQRTask, form: Form = "corrected") -> Constants:
    r"""Constants of Lemmas 3, 5 and 6 at the gain ``K``.

    Arguments:
        K: gain [m, n] that stabilises every task.
        tasks: stack of tasks, leading axis M.
        form: ``"printed"``, or ``"corrected"`` where that is violated (docs/errata.md, T4 and T11 to T13).

    Returns:
        :class:`Constants`; NaN where ``K`` does not stabilise. Runs inside ``jit`` and ``vmap``.

    >>> import jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[0.9]], [[1.0]])])
    >>> K = jnp.array([[0.5]])
    >>> print(f"{constants(K, tasks).h_G / constants(K, tasks, 'printed').h_G:.0f}")
    2

    Source: toso2024, Lemmas 3, 5 and 6 (appendix 6.1).
    """
    if form not in ("printed", "corrected"):
        raise ValueError(f'form must be "printed" or "corrected", got {form!r}.')
    q = quantities(K, tasks)
    num_inputs, num_states = K.shape
    nu = q.J_max / (q.sigma_Q * q.mu)
    h_0 = _residual_bound(q)
    printed = form == "printed"
    h_delta = (q.sigma_Q_max if printed else q.sigma_Q) * q.mu / (4 * q.B * q.J_max * (q.closed + 1))
    h_cost = _cost_printed(q, nu, h_delta) if printed else _cost_corrected(q, h_0, h_delta, num_states)
    return Constants(
        h_G=(1 if printed else 2) * q.J_max / q.sigma_Q * h_0,
        h_H=_hessian_printed(q, num_inputs) if printed else _hessian_corrected(q, nu, h_0, num_inputs * num_states),
        h_c=(h_0 + (q.BPA if printed else q.BPA_frobenius)) / q.sigma_R,
        h_Delta=h_delta,
        h_cost=h_cost,
        h_grad=(
            _gradient_printed(q, h_0, h_cost, h_delta)
            if printed
            else _gradient_corrected(q, nu, h_0, h_delta, min(num_inputs, num_states))
        ),
        h_hess=_hessian_lipschitz(q, nu, h_delta, printed, num_states),
        nu=nu,
        gradient_domination=4 * q.mu**2 * q.sigma_R_each / q.Sigma_optimal,
    )


def _residual_bound(q: Quantities) -> Array:
    return jnp.sqrt(q.weight * (q.J_max - q.J_min) / q.mu)


def _hessian_printed(q: Quantities, num_inputs: int) -> Array:
    xi = ((1 + q.B**2) * q.J_max / q.mu + q.R - 1) / q.Q_least
    bracket = 2 * q.R + 2 * q.B * q.J_max / q.mu + 4 * jnp.sqrt(2.0) * xi * q.B * q.J_max / q.mu
    return bracket * q.J_max * num_inputs / q.Q_least


def _hessian_corrected(q: Quantities, nu: Array, h_0: Array, dimension: int) -> Array:
    # <X, H[X]> = 2 <(R + B'PB) X Sigma, X> - 4 <B' P'[X] A_K Sigma, X> with P'[X] = T*(X'E + E'X), so that
    # ||P'[X]|| <= 2 nu h_0 ||X||; ||Sigma|| <= J / sigma_min(Q). The Frobenius norm is at most sqrt(d) of the largest.
    largest = (2 * q.weight + 8 * q.B * q.closed * nu * h_0) * q.J_max / q.sigma_Q
    return jnp.sqrt(float(dimension)) * largest


def _cost_printed(q: Quantities, nu: Array, h_delta: Array) -> Array:
    bracket = q.K + h_delta / 2 + q.B * q.K**2 * (q.closed + 1) * nu
    return 4 * q.trace_Sigma0 * q.J_max * q.R / (q.mu * q.sigma_Q) * bracket


def _cost_corrected(q: Quantities, h_0: Array, h_delta: Array, num_states: int) -> Array:
    # J(K') - J(K) = tr[(D'E + E'D + D'(R + B'PB) D) Sigma_K'], and within h_Delta ||Sigma_K'|| <= 2 J / sigma_min(Q).
    return 2 * num_states / q.sigma_Q * (2 * h_0 + q.weight * h_delta)


def _gradient_corrected(q: Quantities, nu: Array, h_0: Array, h_delta: Array, rank: int) -> Array:
    # E' - E = (R + B'PB) D - B'(P' - P)(A - BK'), P' - P = T*'(D'E + E'D + D'(R + B'PB) D) with ||T'|| <= 2 nu, and
    # ||Sigma' - Sigma|| <= 4 (J / sigma_min(Q))^2 ||B|| (||A - BK|| + 1) / mu ||D|| (Fazel, Lemma 16).
    spread = q.J_max / q.sigma_Q
    values = 2 * nu * (2 * h_0 + q.weight * h_delta)
    residuals = q.weight + jnp.sqrt(float(rank)) * q.B * (q.closed + q.B * h_delta) * values
    return 4 * spread * residuals + 8 * h_0 * spread**2 * q.B * (q.closed + 1) / q.mu


def _gradient_printed(q: Quantities, h_0: Array, h_cost: Array, h_delta: Array) -> Array:
    reach = q.A + q.B * (q.K + h_delta)
    bracket = q.R + q.B * reach * h_cost * q.J_max / q.trace_Sigma0 + q.B**2 * q.J_max / q.mu
    spread = q.J_max / q.sigma_Q
    return 4 * spread * bracket + 8 * spread**2 * q.B * (q.closed + 1) / q.mu * h_0


def _hessian_lipschitz(q: Quantities, nu: Array, h_delta: Array, printed: bool, num_states: int) -> Array:
    # h_1 to h_9 of Lemma 6; the paper defines no h_5. As printed h_2 holds a trace of A - B K, which may be negative:
    # n ||A - B K|| bounds it.
    spread = q.J_max / q.sigma_Q
    moved = q.B * (q.closed + 1)
    mu_tilde = 1 + q.mu / h_delta
    trace = q.trace_closed if printed else num_states * q.closed
    h_3 = 6 * spread**2 * q.K**2 * q.R * moved + 6 * spread * q.K * q.R
    h_4 = 4 * spread**2 * moved / q.mu
    h_6 = jnp.sqrt((q.R + (1 + q.B**2) / q.mu * q.J_max) / q.sigma_Q - 1)
    h_8 = q.R + q.B**2 * q.J_max / q.mu + (q.B * q.A + q.B**2 * q.K) * h_3
    h_9 = 2 * (q.R * q.K + q.B * q.closed * q.J_max / q.mu)
    h_7 = 4 * (nu * h_8 + 8 * nu**2 * moved * h_9)
    h_1 = h_3 * q.B**2 * spread + mu_tilde * h_4 * q.B * q.J_max / q.mu + h_4 * q.trace_R
    h_2 = q.B * q.J_max * (h_6 * h_4 * trace / q.mu + q.B * h_6 * mu_tilde * nu + mu_tilde * h_7 / q.mu)
    return 2 * (h_1 + 2 * h_2)
