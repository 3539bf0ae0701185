"""The cost of a linear feedback as a differentiable function of its gain."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxlqr.core.checks import refuse_half
from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.lqr.checks import gain_and_task, gain_direction_and_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import gramian_trace, is_schur_stable, stable_discrete_lyapunov
from jaxlqr.matrix_equations.gramians import infinite_unless


def closed_loop(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, "n n"]:
    """A - B K, shape [n, n]; ``TypeError`` for half precision."""
    refuse_half("lqr", K=K, task=task)  # while tracing; compiled code has no check
    return task.A - matmul(task.B, K)


def stage_cost(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, "n n"]:
    """Q + K' R K, shape [n, n]."""
    return task.Q + matmul(K.mT, task.R, K)


def value_matrix(K: Float[Array, "m n"], task: LQRTask) -> tuple[Float[Array, "n n"], Bool[Array, ""]]:
    """Cost-to-go matrix P_K with x' P_K x the cost from x, shape [n, n], and whether ``K`` stabilises.

    P_K = Q + K' R K + (A - B K)' P_K (A - B K); NaN where ``K`` does not stabilise.
    """
    return stable_discrete_lyapunov(closed_loop(K, task).mT, stage_cost(K, task))


@compiled(prepare=gain_and_task)
def cost(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    r"""Cost :math:`J(K) = \mathrm{tr}(P_K \Sigma_0)` of the feedback u = -K x; +inf when ``K`` does not stabilise.

    Arguments:
        K: gain [m, n].
        task: one task, unbatched; ``jax.vmap`` batches.

    Returns:
        A scalar. Differentiable in ``K`` and every array of ``task``, in both modes and to any order. If ``K`` does not
        stabilise, the value is +inf and the derivatives are NaN, in that lane of a batch only.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.make_task([[0.9]], [[1.0]])
    >>> print(f"{jaxlqr.cost(jnp.array([[0.5]]), task):.4f}")  # (1 + 0.5^2) / (1 - 0.4^2)
    1.4881
    >>> print(jaxlqr.cost(jnp.array([[-0.5]]), task))
    inf

    Source: Fazel, Ge, Kakade, Mesbahi, ICML 2018, section 2; toso2024, section 2.
    """
    value = gramian_trace(closed_loop(K, task).mT, stage_cost(K, task), task.Sigma0)
    return infinite_unless(~jnp.isnan(value), value)


@compiled(prepare=gain_direction_and_task)
def hessian_vector_product(K: Float[Array, "m n"], X: Float[Array, "m n"], task: LQRTask) -> Float[Array, "m n"]:
    """Second derivative of :func:`cost` at ``K`` applied to ``X``, both [m, n], by forward-over-reverse autodiff."""
    return jax.jvp(jax.grad(lambda gain: cost(gain, task)), (K,), (X,))[1]


@compiled(prepare=gain_and_task)
def spectral_radius(K: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    """Largest modulus of the eigenvalues of A - B K, a scalar; below one when ``K`` stabilises.

    >>> import jax.numpy as jnp, jaxlqr
    >>> print(f"{spectral_radius(jnp.array([[0.5]]), jaxlqr.make_task([[0.9]], [[1.0]])):.2f}")
    0.40
    """
    return jnp.max(jnp.abs(jnp.linalg.eigvals(closed_loop(K, task))))


@compiled(prepare=gain_and_task)
def is_stabilizing(K: Float[Array, "m n"], task: LQRTask) -> Bool[Array, ""]:
    """Whether the spectral radius of A - B K is below one, exactly where :func:`cost` is finite.

    The powers of A - B K decide, as in the cost, so the two functions always agree. Runs on any device.
    """
    return is_schur_stable(closed_loop(K, task))
