"""The optimal controller of a plant, from two Riccati equations."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import hermitian, matmul
from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.feedback._plant import GeneralizedPlant, check_plant
from jaxlqr.matrix_equations import continuous_lqr, discrete_lqr
from jaxlqr.matrix_equations.scaling import scaled_solve
from jaxlqr.systems._state_space import StateSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class LQGResult(Result):
    """The optimal controller with its two gains; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        controller: :class:`jaxlqr.systems.StateSpace` from y to u, with n states.
        regulator_gain: [m, n]; with the whole state measured, u = -gain x would be optimal.
        estimator_gain: [n, p]; in discrete time the gain of the predictor of the next state.
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED, NOT_FINITE, NO_STABILIZING_SOLUTION where no stabilising gain
            on the state was found, or NO_STEADY_STATE where no stable estimator was found. The controller and the gains
            are NaN unless it is SOLVED.
    """

    _noun = "controllers"
    _error = ArithmeticError

    controller: StateSpace
    regulator_gain: Array
    estimator_gain: Array
    status: Array


def _one(plant: Any) -> dict[str, Any]:
    return {"plant": check_plant(plant)}


@compiled(prepare=_one)
def lqg_result(plant: GeneralizedPlant) -> LQGResult:
    """Return :func:`lqg` with the gains of both Riccati equations and a status, as :class:`LQGResult`.

    >>> from jaxlqr import feedback
    >>> one = [[1.0]]
    >>> plant = feedback.lqg_plant([[1.0]], one, one, Q=one, R=one, W=one, V=one)
    >>> print(f"{feedback.lqg_result(plant).check().regulator_gain[0, 0]:.4f}")  # 1 + sqrt 2
    2.4142
    """
    solve = _discrete if plant.is_discrete else _continuous
    matrices, regulator, estimator = solve(plant)
    leaves = [leaf for leaf in jax.tree.leaves(plant) if leaf.ndim]
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    status = jnp.asarray(SolveStatus.SOLVED, jnp.int32)
    for failed, code in (
        (~jnp.all(jnp.isfinite(estimator)), SolveStatus.NO_STEADY_STATE),
        (~jnp.all(jnp.isfinite(regulator)), SolveStatus.NO_STABILIZING_SOLUTION),
        (~finite, SolveStatus.NOT_FINITE),
    ):
        status = jnp.where(failed, jnp.asarray(code, jnp.int32), status)
    solved = status == SolveStatus.SOLVED

    def known(array: Array) -> Array:
        return jnp.where(solved, array, jnp.nan)

    return LQGResult(
        controller=StateSpace(*map(known, matrices), dt=plant.dt),
        regulator_gain=known(regulator),
        estimator_gain=known(estimator),
        status=status,
    )


def lqg(plant: GeneralizedPlant) -> StateSpace:
    r"""Return the controller that minimises :func:`h2_cost`, a :class:`jaxlqr.systems.StateSpace` from y to u.

    It is a Kalman filter followed by a regulator. In continuous time, with the gains K and L of both,

    .. math:: \dot{\hat x} = (A - B_2 K - L C_2)\, \hat x + L y, \qquad u = -K \hat x .

    In discrete time u may use the newest measurement: with the prediction :math:`\hat x` of x from earlier
        measurements,

    .. math:: u = -K \hat x - M (y - C_2 \hat x), \qquad \hat x_{+} = A \hat x + B_2 u + L (y - C_2 \hat x).

    Arguments:
        plant: one :class:`GeneralizedPlant`; ``jax.vmap`` batches. D12' D12 and D21 D21' should be invertible: each
            control has a weight and each measurement has noise.

    Returns:
        The controller with n states. NaN if one of the equations has no stabilising solution, in
        that lane of a batch only: :func:`lqg_result` says which one. Differentiable in all matrices, in both modes and
        to any order.

    >>> from jaxlqr import feedback
    >>> plant = feedback.lqg_plant([[1.0, 1.0], [0.0, 1.0]], [[0.0], [1.0]], [[1.0, 0.0]], R=[[1.0]], V=[[1.0]],
    ...                            Q=[[5.0, 5.0], [5.0, 5.0]], W=[[5.0, 5.0], [5.0, 5.0]])
    >>> print(f"{feedback.h2_cost(feedback.lqg(plant), plant):.0f}")  # Doyle (1978): the loop has hardly any margin
    750

    Source: Zhou, Doyle, Glover, Robust and Optimal Control (1996), chapter 14; Anderson, Moore, Optimal Control: Linear
    Quadratic Methods (1990), chapter 8.
    """
    return lqg_result(plant).controller


def _weights(plant: GeneralizedPlant) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Penalties (Q, R, N) of z'z, and covariances (W, V, S) of the noises B1 w and D21 w."""
    c, d, b, e = plant.C1, plant.D12, plant.B1, plant.D21
    return (matmul(c.T, c), matmul(d.T, d), matmul(c.T, d)), (matmul(b, b.T), matmul(e, e.T), matmul(b, e.T))


def _continuous(plant: GeneralizedPlant) -> tuple[tuple[Array, Array, Array, Array], Array, Array]:
    (q, r, n), (w, v, s) = _weights(plant)
    regulator = continuous_lqr(plant.A, plant.B2, q, r, n).gain
    estimator = continuous_lqr(plant.A.T, plant.C2.T, w, v, s).gain.T
    a = plant.A - matmul(plant.B2, regulator) - matmul(estimator, plant.C2)
    return (a, estimator, -regulator, jnp.zeros_like(plant.D12, shape=plant.actuated.D.T.shape)), regulator, estimator


# The cost to go is x' X x. Completing the square, a step costs |u + K x + E w|^2 in the metric S = D12' D12 + B2' X B2,
# with E = S^-1 (B2' X B1 + D12' D11). The best u is minus the conditional mean of K x + E w given y up to now: of x the
# prediction plus Y C2' F^-1 times the innovation, of w the part D21' F^-1, with the innovation covariance F.
def _discrete(plant: GeneralizedPlant) -> tuple[tuple[Array, Array, Array, Array], Array, Array]:
    (q, r, n), (w, v, s) = _weights(plant)
    regulator, future = discrete_lqr(plant.A, plant.B2, q, r, n)
    dual, covariance = discrete_lqr(plant.A.T, plant.C2.T, w, v, s)
    estimator = dual.T
    metric = hermitian(r + matmul(plant.B2.T, future, plant.B2))
    innovation = hermitian(v + matmul(plant.C2, covariance, plant.C2.T))
    exposed = scaled_solve(metric, matmul(plant.B2.T, future, plant.B1) + matmul(plant.D12.T, plant.D11))
    crossed = matmul(regulator, covariance, plant.C2.T) + matmul(exposed, plant.D21.T)
    direct = scaled_solve(innovation, crossed.T).T
    rows = -(regulator - matmul(direct, plant.C2))
    columns = estimator - matmul(plant.B2, direct)
    a = plant.A + matmul(plant.B2, rows) - matmul(estimator, plant.C2)
    return (a, columns, rows, -direct), regulator, estimator
