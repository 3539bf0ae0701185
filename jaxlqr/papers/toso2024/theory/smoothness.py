r"""The Lipschitz constants of Lemma 6 of toso2024, as printed and as corrected.

The quantities of the corrected constants, with :math:`\|\Delta\| \le h_\Delta`, :math:`s = J_{\max}/\sigma_{\min}(Q)`,
:math:`\nu = s/\mu`, :math:`W = R + B^\top P_K B` and :math:`\mathcal{F}_K(X) = A_K X A_K^\top`:

- :math:`\mathcal{T}_K = (1 - \mathcal{F}_K)^{-1}` and its adjoint have norms of at most :math:`\nu`, in spectral norm
  because both are positive and :math:`\|\mathcal{T}_K(I)\|, \|\mathcal{T}_K^*(I)\| \le \nu`, and so, by interpolation,
  in Frobenius norm.
- :math:`\|\mathcal{F}_{K'} - \mathcal{F}_K\| \le \|B\| (2\|A_K\| + \|B\| h_\Delta) \|\Delta\|`, which is at most
  :math:`1/(2\nu)`: so :math:`\|\mathcal{T}_{K'}\| \le 2\nu` and
  :math:`\|\mathcal{T}_{K'} - \mathcal{T}_K\| \le 2\nu^2 \|\mathcal{F}_{K'} - \mathcal{F}_K\|`.
- :math:`\|\Sigma_{K'} - \Sigma_K\| \le 4 s^2 \|B\| (\|A_K\| + 1)/\mu\, \|\Delta\|` and :math:`\|\Sigma_{K'}\| \le 2 s`
  (Fazel et al., Lemma 16).
- :math:`P_{K'} - P_K = \mathcal{T}_{K'}^*(\Delta^\top E + E^\top\Delta + \Delta^\top W \Delta)`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.papers.toso2024.theory.quantities import Quantities


class Smoothness(NamedTuple):
    """Lipschitz constants of the cost (relative to it), the gradient and the Hessian."""

    cost: Array
    grad: Array
    hess: Array


class HessianParts(NamedTuple):
    r"""The printed :math:`h_1` to :math:`h_9`, of which :math:`h_{hess} = 2 (h_1 + 2 h_2)` is made; there is no h_5.

    Attributes:
        h_1, h_2, h_3, h_4, h_6, h_7, h_8, h_9: scalars. h_6 is NaN where its root is of a negative number.
        mu_tilde: :math:`\tilde\mu = 1 + \mu/h_\Delta`.
    """

    h_1: Array
    h_2: Array
    h_3: Array
    h_4: Array
    h_6: Array
    h_7: Array
    h_8: Array
    h_9: Array
    mu_tilde: Array


def printed(q: Quantities, nu: Array, h_0: Array, h_delta: Array) -> Smoothness:
    """Lemma 6 as printed."""
    spread = q.J_max / q.sigma_Q
    moved = q.B * (q.closed + 1)
    h_cost = 4 * q.trace_Sigma0 * q.J_max * q.R / (q.mu * q.sigma_Q)
    h_cost = h_cost * (q.K + h_delta / 2 + q.B * q.K**2 * (q.closed + 1) * nu)
    reach = q.A + q.B * (q.K + h_delta)
    bracket = q.R + q.B * reach * h_cost * q.J_max / q.trace_Sigma0 + q.B**2 * q.J_max / q.mu
    h_grad = 4 * spread * bracket + 8 * spread**2 * moved / q.mu * h_0
    parts = printed_parts(q, nu, h_delta)
    return Smoothness(h_cost, h_grad, 2 * (parts.h_1 + 2 * parts.h_2))


def printed_parts(q: Quantities, nu: Array, h_delta: Array) -> HessianParts:
    """Of h_hess as printed in Lemma 6."""
    spread = q.J_max / q.sigma_Q
    moved = q.B * (q.closed + 1)
    mu_tilde = 1 + q.mu / h_delta
    h_3 = 6 * spread**2 * q.K**2 * q.R * moved + 6 * spread * q.K * q.R
    h_4 = 4 * spread**2 * moved / q.mu
    h_6 = jnp.sqrt((q.R + (1 + q.B**2) / q.mu * q.J_max) / q.sigma_Q - 1)
    h_8 = q.R + q.B**2 * q.J_max / q.mu + (q.B * q.A + q.B**2 * q.K) * h_3
    h_9 = 2 * (q.R * q.K + q.B * q.closed * q.J_max / q.mu)
    h_7 = 4 * (nu * h_8 + 8 * nu**2 * moved * h_9)
    h_1 = h_3 * q.B**2 * spread + mu_tilde * h_4 * q.B * q.J_max / q.mu + h_4 * q.trace_R
    h_2 = q.B * q.J_max * (h_6 * h_4 * q.trace_closed / q.mu + q.B * h_6 * mu_tilde * nu + mu_tilde * h_7 / q.mu)
    return HessianParts(h_1, h_2, h_3, h_4, h_6, h_7, h_8, h_9, mu_tilde)


def corrected(q: Quantities, nu: Array, h_0: Array, h_delta: Array, shape: tuple[int, int]) -> Smoothness:
    """Lemma 6 derived anew, for gains of ``shape`` (m, n)."""
    spread = q.J_max / q.sigma_Q
    covariance = 4 * spread**2 * q.B * (q.closed + 1) / q.mu
    operator = q.B * (2 * q.closed + q.B * h_delta)
    closed = q.closed + q.B * h_delta  # ||A - B K'||
    # P' - P = T*'(D'E + E'D + D'WD).
    value = 2 * nu * (2 * h_0 + q.weight * h_delta)
    # E' - E = W D - B'(P' - P)(A - B K').
    residual = q.weight + q.B * closed * value
    # J' - J = tr[(D'E + E'D + D'WD) Sigma'], where ||D||_F <= sqrt(rank) h_Delta and ||Sigma'|| <= 2 J / sigma_min(Q).
    h_cost = 2 / q.sigma_Q * (2 * h_0 + jnp.sqrt(float(min(shape))) * q.weight * h_delta)
    # 2 E'Sigma' - 2 E Sigma = 2 (E' - E) Sigma' + 2 E (Sigma' - Sigma).
    h_grad = 4 * spread * residual + 2 * h_0 * covariance
    # <X, H[X]> = 2 <W X Sigma, X> - 4 <B' D A_K Sigma, X> with D = T*(X'E + E'X), ||D||_F <= 2 nu h_0 ||X||_F. Changes:
    change_of_d = 4 * nu * residual + 4 * nu**2 * h_0 * operator
    first = 4 * spread * q.B**2 * value + 2 * q.weight * covariance
    second = 2 * spread * (change_of_d * closed + 2 * nu * h_0 * q.B) + 2 * nu * h_0 * q.closed * covariance
    # The Frobenius norm of a form in d numbers is at most sqrt(d) times its largest value.
    h_hess = jnp.sqrt(float(shape[0] * shape[1])) * (first + 4 * q.B * second)
    return Smoothness(h_cost, h_grad, h_hess)
