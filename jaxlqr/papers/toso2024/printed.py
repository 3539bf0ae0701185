"""The Hessian of the cost as printed in toso2024: a matrix and an estimate; both are wrong (errata T2, T3)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.core.types import PyTree
from jaxlqr.lqr.checks import gain_direction_and_task
from jaxlqr.lqr.cost import closed_loop, value_matrix
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import stable_discrete_lyapunov
from jaxlqr.oracles import ZerothOrderOracle
from jaxlqr.oracles.zeroth_order import Queries


@compiled(prepare=gain_direction_and_task)
def printed_hessian_vector_product(K: Array, X: Array, task: LQRTask) -> Array:
    """H[X] as printed, [m, n], for a gain K and a direction X [m, n] of one task: right inside <X, H[X]> only.

    The printed expression doubles the term with the derivative of P, where :func:`jaxlqr.hessian_vector_product` adds
    the one with the derivative of Sigma.

    Source: toso2024, section 2.1; docs/errata.md, T2.
    """
    A_K = closed_loop(K, task)
    P, _ = value_matrix(K, task)
    Sigma, _ = stable_discrete_lyapunov(A_K, task.Sigma0)
    E = matmul(task.R, K) - matmul(task.B.mT, P, A_K)
    change = matmul(X.mT, E)
    slope, _ = stable_discrete_lyapunov(A_K.mT, change + change.mT)  # of P along X
    metric = task.R + matmul(task.B.mT, P, task.B)
    return 2 * matmul(matmul(metric, X) - 2 * matmul(task.B.mT, slope, A_K), Sigma)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PrintedOracle(ZerothOrderOracle):
    """:class:`jaxlqr.ZerothOrderOracle` with the printed Hessian, which has the wrong sign and no direction.

    The estimate is (n_u^2 / (r^2 m)) sum (J(K + U) - J(K)) (U U' - I), applied from the left. The parameters must be
    one matrix [n_u, n_x]. Attributes and gradient are those of the other oracle.

    Source: toso2024, Algorithm 2, line 6; docs/errata.md, T3.
    """

    def _hessian_vector_product(self, params: PyTree, queries: Queries, vector: PyTree) -> PyTree:
        if not hasattr(params, "ndim") or params.ndim != 2:
            raise ValueError(
                "params must be one matrix [n_u, n_x] for PrintedOracle, got shape "
                f"{jax.tree.map(jnp.shape, params)}; use ZerothOrderOracle."
            )
        num_inputs = params.shape[0]
        weights, total = self._average(queries.plus - queries.base, queries)
        u = queries.directions.reshape(-1, *params.shape)
        second = jnp.einsum("j,jab,jcb->ac", weights, u, u, precision=lax.Precision.HIGHEST) - total * jnp.eye(
            num_inputs, dtype=params.dtype
        )
        return (num_inputs / self.radius) ** 2 * matmul(second, vector)
