"""The cost of a linear feedback in continuous time, as a differentiable function of its gain."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.checks import gain_and_task
from jaxlqr.lqr.cost import closed_loop, stage_cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import continuous_gramian_trace
from jaxlqr.matrix_equations.gramians import infinite_unless


@compiled(prepare=gain_and_task)
def continuous_cost(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    r"""Return the continuous-time cost of the feedback u = -K x, a scalar; +inf if ``K`` does not stabilise.

    .. math:: J(K) = E \int_0^\infty x^\top Q x + u^\top R u \, dt = \mathrm{tr}(P_K \Sigma_0), \qquad
        \dot x = A x + B u, \quad E[x_0 x_0^\top] = \Sigma_0,

    with :math:`(A - B K)^\top P_K + P_K (A - B K) + Q + K^\top R K = 0`. It is a loss for every learner:
    use it in place of :func:`jaxlqr.cost`.

    Arguments:
        K: gain [m, n].
        task: one task in continuous time: x' = A x + B u, with costs Q and R per unit of time; ``jax.vmap`` batches.
            Build it as ``LQRTask(A, B, Q, R, Sigma0)`` from arrays: :func:`jaxlqr.make_task` checks that a discrete
            system can be stabilised. :func:`jaxlqr.lqr.continuous_task` is the discrete task of a continuous problem
            whose input is held between samples.

    Returns:
        A scalar. Differentiable in ``K`` and every array of ``task``, in both modes and to any order. If an eigenvalue
        of A - B K has a nonnegative real part, the value is +inf and the derivatives are NaN, in that lane of a batch
        only.

    >>> import jax.numpy as jnp
    >>> from jaxlqr.lqr import LQRTask, continuous_cost
    >>> one = jnp.ones((1, 1))
    >>> task = LQRTask(A=one, B=one, Q=one, R=one, Sigma0=one)  # x' = x + u
    >>> print(f"{continuous_cost(jnp.array([[3.0]]), task):.4f}")  # (1 + 3^2) / (2 (3 - 1))
    2.5000
    >>> print(continuous_cost(jnp.array([[0.5]]), task))
    inf

    Source: Mohammadi, Zare, Soltanolkotabi, Jovanovic, IEEE Trans. Automat. Control 67 (2022), section II.
    """
    value = continuous_gramian_trace(closed_loop(K, task).mT, stage_cost(K, task), task.Sigma0)
    return infinite_unless(~jnp.isnan(value), value)


@compiled(prepare=gain_and_task)
def spectral_abscissa(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    """Return the largest real part of the eigenvalues of A - B K, a scalar; negative where ``K`` stabilises.

    It is the growth rate of the slowest mode of x' = (A - B K) x, in 1 / time.

    >>> import jax.numpy as jnp
    >>> from jaxlqr.lqr import LQRTask, spectral_abscissa
    >>> one = jnp.ones((1, 1))
    >>> print(f"{spectral_abscissa(jnp.array([[3.0]]), LQRTask(one, one, one, one, one)):.2f}")
    -2.00
    """
    return jnp.max(jnp.linalg.eigvals(closed_loop(K, task)).real)
