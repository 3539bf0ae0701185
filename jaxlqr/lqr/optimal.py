"""The optimal feedback of one task."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.checks import check_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import discrete_lqr, solve_discrete_are


@compiled(prepare=lambda task: check_task(task))
def optimal_gain(task: LQRTask) -> Float[Array, "m n"]:
    """Gain K* [m, n] that minimises the cost for every initial state: (R + B'PB)^-1 B'PA, with P from the Riccati
    equation. Differentiable in the task; NaN where no stabilising solution exists.

    >>> import jaxlqr
    >>> print(f"{optimal_gain(jaxlqr.make_task([[1.0]], [[1.0]]))[0, 0]:.4f}")
    0.6180
    """
    return discrete_lqr(task.A, task.B, task.Q, task.R).gain


@compiled(prepare=lambda task: check_task(task))
def optimal_cost(task: LQRTask) -> Float[Array, ""]:
    """Least cost tr(P Sigma0) over all gains, a scalar; NaN where no stabilising solution exists."""
    P = solve_discrete_are(task.A, task.B, task.Q, task.R)
    return jnp.sum(P * task.Sigma0.mT)
