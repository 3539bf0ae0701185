r"""Derivatives of the cost in closed form: references for tests of automatic differentiation.

With :math:`A_K = A - BK`, :math:`P_K` the cost-to-go matrix, :math:`\Sigma_K = \Sigma_0 + A_K \Sigma_K A_K^\top` and
:math:`E_K = R K - B^\top P_K A_K`. All arguments are unbatched: K and X [m, n], and one task.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlqr.core.checks import refuse_half
from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.lqr.checks import as_gain, gain_and_task, gain_direction_and_task
from jaxlqr.lqr.cost import closed_loop, value_matrix
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import stable_discrete_lyapunov
from jaxlqr.matrix_equations.gramians import infinite_unless


class _Terms(NamedTuple):
    A_K: Float[Array, "n n"]
    P: Float[Array, "n n"]
    Sigma: Float[Array, "n n"]
    E: Float[Array, "m n"]


def _terms(K: Float[Array, "m n"], task: LQRTask) -> _Terms:
    A_K = closed_loop(K, task)
    P, _ = value_matrix(K, task)
    Sigma, _ = stable_discrete_lyapunov(A_K, task.Sigma0)
    return _Terms(A_K, P, Sigma, matmul(task.R, K) - matmul(task.B.mT, P, A_K))


def _value_derivative(X: Float[Array, "m n"], terms: _Terms) -> Float[Array, "n n"]:
    # P'[X] = A_K' P'[X] A_K + X'E + E'X: the derivative of P_K along X.
    change = matmul(X.mT, terms.E)
    return stable_discrete_lyapunov(terms.A_K.mT, change + change.mT)[0]


@compiled(prepare=gain_and_task)
def scalar_cost(K: Float[Array, "1 1"], task: LQRTask) -> Float[Array, ""]:
    r"""Cost of a gain [1, 1] for a task with one state and one input; as :func:`jaxlqr.cost`, but without an equation.

    :math:`J(k) = \sigma_0 (q + r k^2) / (1 - (a - bk)^2)` where :math:`|a - bk| < 1`, else +inf with derivatives NaN.
    It compiles in a fraction of the time of :func:`jaxlqr.cost`: use it for landscapes over one parameter.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[0.9]], [[1.0]])
    >>> print(f"{scalar_cost(jnp.array([[0.5]]), task):.4f} {scalar_cost(jnp.array([[-0.5]]), task)}")
    1.4881 inf
    """
    refuse_half("scalar_cost", K=K, task=task)
    k, a, b, q, r, sigma0 = (x[0, 0] for x in (K, task.A, task.B, task.Q, task.R, task.Sigma0))
    margin = 1 - (a - b * k) ** 2
    # NaN, not +inf, inside: its derivatives are NaN in both modes, and the +inf is inserted outside.
    value = sigma0 * (q + r * k**2) / jnp.where(margin > 0, margin, jnp.nan)
    return infinite_unless(margin > 0, value)


@compiled(prepare=gain_and_task)
def gradient(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, "m n"]:
    """Gradient 2 E_K Sigma_K of the cost, shape [m, n].

    Source: Fazel et al., ICML 2018, Lemma 1; toso2024, section 2.1.
    """
    terms = _terms(K, task)
    return 2 * matmul(terms.E, terms.Sigma)


@compiled(prepare=gain_direction_and_task)
def hessian_quadratic_form(K: Float[Array, "m n"], X: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    """The second derivative of the cost along ``X``, <X, H[X]>, a scalar.

    In this form the contributions of P and Sigma to H[X] are equal, so the derivative of P is enough.

    Source: Bu, Mesbahi, Fazel, Mesbahi, arXiv:1907.08921, Lemma 7.9; toso2024, section 2.1.
    """
    terms = _terms(K, task)
    metric = task.R + matmul(task.B.mT, terms.P, task.B)
    change = matmul(task.B.mT, _value_derivative(X, terms), terms.A_K)
    return 2 * jnp.sum(X * matmul(matmul(metric, X) - 2 * change, terms.Sigma))


@compiled(prepare=gain_direction_and_task)
def hessian_vector_product(K: Float[Array, "m n"], X: Float[Array, "m n"], task: LQRTask) -> Float[Array, "m n"]:
    """The Hessian of the cost applied to ``X``, shape [m, n].

    Differentiating 2 E_K Sigma_K along X: E'[X] = (R + B'PB) X - B' P'[X] A_K and
    Sigma'[X] = A_K Sigma' A_K' - (B X Sigma A_K' + its transpose), so H[X] = 2 E'[X] Sigma + 2 E Sigma'[X].
    """
    terms = _terms(K, task)
    metric = task.R + matmul(task.B.mT, terms.P, task.B)
    slope = matmul(metric, X) - matmul(task.B.mT, _value_derivative(X, terms), terms.A_K)
    drift = matmul(task.B, X, terms.Sigma, terms.A_K.mT)
    sigma_derivative, _ = stable_discrete_lyapunov(terms.A_K, -(drift + drift.mT))
    return 2 * (matmul(slope, terms.Sigma) + matmul(terms.E, sigma_derivative))


def _two_gains(K: Array, moved: Array, task: LQRTask) -> dict[str, Array]:
    return gain_and_task(K, task) | {"moved": as_gain(moved, task, "moved")}


@compiled(prepare=_two_gains)
def cost_change(K: Float[Array, "m n"], moved: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    r"""J(K') - J(K) for gains ``K`` and ``moved`` [m, n], accurate when they are close; NaN unless both stabilise.

    With :math:`\Delta = K' - K` it equals :math:`\mathrm{tr}[(\Delta^\top E + E^\top\Delta + \Delta^\top (R + B^\top
    P_K B)\Delta) \Sigma_{K'}]`, which subtracts no costs.

    >>> import jaxlqr
    >>> task, K = jaxlqr.make_task([[0.9]], [[1.0]]), jnp.array([[0.5]])
    >>> print(f"{cost_change(K, K + 0.1, task):.4f} {jaxlqr.cost(K + 0.1, task) - jaxlqr.cost(K, task):.4f}")
    0.0064 0.0064

    Source: Fazel et al., ICML 2018, Lemma 10.
    """
    terms, delta = _terms(K, task), moved - K
    Sigma, _ = stable_discrete_lyapunov(closed_loop(moved, task), task.Sigma0)
    metric = task.R + matmul(task.B.mT, terms.P, task.B)
    return jnp.sum((2 * terms.E + matmul(metric, delta)) * matmul(delta, Sigma))
