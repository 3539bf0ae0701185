"""What a linear system settles to: its stationary covariance and its Kalman filter."""

from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Inexact

from jaxlqr.core.checks import as_matrices, check_shapes
from jaxlqr.core.products import adjoint, hermitian, matmul
from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations import is_schur_stable, solve_continuous_are, solve_discrete_are, stable_discrete_lyapunov
from jaxlqr.matrix_equations.lyapunov import stable_continuous_lyapunov
from jaxlqr.matrix_equations.scaling import scaled_solve


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class SteadyStateKalman(Result):
    """The Kalman filter after infinitely many measurements; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        predictor_gain: [n, p], for x[t+1 | t] = A x[t | t-1] + gain (y[t] - C x[t | t-1]).
        filter_gain: [n, p], for x[t | t] = x[t | t-1] + gain (y[t] - C x[t | t-1]).
        prior_covariance: [n, n], of x[t] given y up to t - 1.
        posterior_covariance: [n, n], of x[t] given y up to t.
        innovation_covariance: [p, p], of y[t] given y up to t - 1.
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED if the filter is stable; else NOT_FINITE or NO_STEADY_STATE,
            and all arrays are NaN.
    """

    _noun = "filters"
    _error = ArithmeticError

    predictor_gain: Array
    filter_gain: Array
    prior_covariance: Array
    posterior_covariance: Array
    innovation_covariance: Array
    status: Array


_Result = TypeVar("_Result", SteadyStateKalman, "Estimator")


def stationary_covariance(A: ArrayLike, Q: ArrayLike) -> Inexact[Array, "n n"]:
    r"""Covariance [n, n] of the state of :math:`x_{t+1} = A x_t + w_t` that has run forever, :math:`P = A P A^H + Q`.

    Arguments:
        A: [n, n], real or complex.
        Q: [n, n], covariance of w; its Hermitian part is used.

    Returns:
        P [n, n]; NaN, in that lane only, unless the spectral radius of A is below one: no other system has a
        stationary distribution, even where the equation has a solution. Differentiable in A and Q, in both modes and to
        any order.

    >>> import jax.numpy as jnp
    >>> print(f"{stationary_covariance(jnp.array([[0.5]]), jnp.array([[3.0]]))[0, 0]:.4f}")  # 3 / (1 - 1/4)
    4.0000

    Raises:
        ValueError: if an argument is no matrix or sizes do not belong together.
        TypeError: if an argument holds integers or has half precision, or if precisions differ.

    Source: Smith, SIAM J. Appl. Math. 16 (1968), doubling.
    """
    A, Q = as_matrices("stationary_covariance", A=A, Q=Q)
    check_shapes("stationary_covariance", A=(A, "nn"), Q=(Q, "nn"))
    return _stationary(A, Q)


@jax.jit
def _stationary(A: Array, Q: Array) -> Array:
    return stable_discrete_lyapunov(A, hermitian(Q))[0]


def steady_state_kalman(
    A: ArrayLike, C: ArrayLike, Q: ArrayLike, R: ArrayLike, S: ArrayLike | None = None
) -> SteadyStateKalman:
    r"""Kalman filter in the limit, as :class:`SteadyStateKalman`, of the system

    .. math:: x_{t+1} = A x_t + w_t, \quad y_t = C x_t + v_t, \quad
        \mathrm{cov} \begin{pmatrix} w_t \\ v_t \end{pmatrix} = \begin{pmatrix} Q & S \\ S^H & R \end{pmatrix}.

    With the innovation covariance F = C P C' + R the filter gain is P C' F^-1, and the predictor gain is
    (A P C' + S) F^-1, which is A times the filter gain where S is zero. Packages disagree on which is "the" gain.

    Arguments:
        A: [n, n].
        C: [p, n].
        Q: [n, n], covariance of w; its Hermitian part is used.
        R: [p, p], covariance of v; its Hermitian part is used. It may be singular where F is not.
        S: [n, p], covariance of w and v; zero unless given.

    Returns:
        Both gains, three covariances and the status. They are NaN, in that lane only, where no stable filter exists.
        Differentiable in all arguments, in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> filter = steady_state_kalman(one, one, one, one)  # a random walk with noise: P = (1 + sqrt 5) / 2
    >>> print(f"{filter.prior_covariance[0, 0]:.4f} {filter.filter_gain[0, 0]:.4f}")
    1.6180 0.6180

    Raises:
        ValueError: if an argument is no matrix or sizes do not belong together.
        TypeError: if an argument holds integers or has half precision, or if precisions differ.

    Source: Anderson, Moore, Optimal Filtering (1979), chapter 4.
    """
    names = {"A": A, "C": C, "Q": Q, "R": R} | ({} if S is None else {"S": S})
    arrays = dict(zip(names, as_matrices("steady_state_kalman", **names), strict=True))
    letters = {"A": "nn", "C": "pn", "Q": "nn", "R": "pp", "S": "np"}
    check_shapes("steady_state_kalman", **{name: (array, letters[name]) for name, array in arrays.items()})
    arrays.setdefault("S", jnp.zeros_like(arrays["C"].T))
    return _steady_state(*(arrays[name] for name in letters))


@jax.jit
def _steady_state(A: Array, C: Array, Q: Array, R: Array, S: Array) -> SteadyStateKalman:
    Q, R = hermitian(Q), hermitian(R)
    # The dual regulator: a = A^H, b = C^H.
    prior = solve_discrete_are(adjoint(A), adjoint(C), Q, R, s=S)
    crossed = matmul(prior, adjoint(C))
    innovation = hermitian(matmul(C, crossed) + R)
    gain = adjoint(scaled_solve(innovation, adjoint(crossed)))
    predictor = adjoint(scaled_solve(innovation, adjoint(matmul(A, crossed) + S)))
    kept = jnp.eye(len(A), dtype=A.dtype) - matmul(gain, C)
    posterior = matmul(kept, prior, adjoint(kept)) + matmul(gain, R, adjoint(gain))
    result = SteadyStateKalman(
        predictor_gain=predictor,
        filter_gain=gain,
        prior_covariance=prior,
        posterior_covariance=hermitian(posterior),
        innovation_covariance=innovation,
        status=_status(is_schur_stable(A - matmul(predictor, C)), A, C, Q, R, S),
    )
    return _nan_unless_solved(result)


def _status(stable: Array, *inputs: Array) -> Array:
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in inputs]))
    missing = jnp.where(finite, SolveStatus.NO_STEADY_STATE, SolveStatus.NOT_FINITE)
    return jnp.where(stable, SolveStatus.SOLVED, missing).astype(jnp.int32)


def _nan_unless_solved(result: _Result) -> _Result:
    # The Riccati solver also returns solutions on the boundary of stability, whose filters never settle.
    solved = result.status == SolveStatus.SOLVED

    def masked(leaf: Array) -> Array:
        return leaf if leaf is result.status else jnp.where(solved, leaf, jnp.nan)

    return jax.tree.map(masked, result)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class Estimator(Result):
    """A steady-state Kalman filter in continuous time; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        gain: [n, p], for dx/dt = A x + gain (y - C x).
        covariance: [n, n], of the error of the estimate.
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED if the filter is stable; else NOT_FINITE or NO_STEADY_STATE,
            and all arrays are NaN.
    """

    _noun = "filters"
    _error = ArithmeticError

    gain: Array
    covariance: Array
    status: Array


def lqe(
    A: ArrayLike, G: ArrayLike, C: ArrayLike, QN: ArrayLike, RN: ArrayLike, NN: ArrayLike | None = None
) -> Estimator:
    r"""Steady-state Kalman filter in continuous time, as :class:`Estimator`, with python-control's order of arguments:

    .. math:: \dot x = A x + G w, \quad y = C x + v, \quad
        E\, w w^H = QN, \quad E\, v v^H = RN, \quad E\, w v^H = NN.

    Arguments:
        A: [n, n].
        G: [n, k].
        C: [p, n].
        QN: [k, k], intensity of w; its Hermitian part is used.
        RN: [p, p], intensity of v, invertible; its Hermitian part is used.
        NN: [k, p], intensity of w and v together; zero unless given.

    Returns:
        The gain [n, p], the error covariance [n, n] and the status; NaN, in that lane only, where no stable filter
        exists. Differentiable in all arguments, in both modes and to any order. Eigenvalues, which python-control
        returns as well, are those of A - gain C.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> print(f"{lqe(one, one, one, one, one).gain[0, 0]:.4f}")  # 1 + sqrt 2
    2.4142

    Raises:
        ValueError: if an argument is no matrix or sizes do not belong together.
        TypeError: if an argument holds integers or has half precision, or if precisions differ.

    Source: Kalman, Bucy, J. Basic Eng. 83 (1961).
    """
    names = {"A": A, "G": G, "C": C, "QN": QN, "RN": RN} | ({} if NN is None else {"NN": NN})
    arrays = dict(zip(names, as_matrices("lqe", **names), strict=True))
    letters = {"A": "nn", "G": "nk", "C": "pn", "QN": "kk", "RN": "pp", "NN": "kp"}
    check_shapes("lqe", **{name: (array, letters[name]) for name, array in arrays.items()})
    arrays.setdefault("NN", jnp.zeros_like(arrays["QN"], shape=(len(arrays["QN"]), len(arrays["RN"]))))
    return _continuous(*(arrays[name] for name in letters))


@jax.jit
def _continuous(A: Array, G: Array, C: Array, QN: Array, RN: Array, NN: Array) -> Estimator:
    noise, crossed, RN = matmul(G, hermitian(QN), adjoint(G)), matmul(G, NN), hermitian(RN)
    covariance = solve_continuous_are(adjoint(A), adjoint(C), noise, RN, s=crossed)
    gain = adjoint(scaled_solve(RN, matmul(C, covariance) + adjoint(crossed)))
    # Finite where the filter is stable.
    settled = stable_continuous_lyapunov(lax.stop_gradient(A - matmul(gain, C)), jnp.eye(len(A), dtype=A.dtype))
    status = _status(jnp.all(jnp.isfinite(settled)), A, G, C, QN, RN, NN)
    return _nan_unless_solved(Estimator(gain=gain, covariance=covariance, status=status))
