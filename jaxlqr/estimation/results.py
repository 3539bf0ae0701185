"""What the filter, the smoother and the forecast return: named arrays and a status."""

from dataclasses import dataclass

import jax
from jax import Array

from jaxlqr.core.result import Result


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class FilterResult(Result):
    """Moments of the state given the measurements so far; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        log_likelihood: [], as :func:`log_likelihood`.
        predicted_means: [T, n], of x[t] given y up to t - 1.
        predicted_covariances: [T, n, n].
        filtered_means: [T, n], of x[t] given y up to t.
        filtered_covariances: [T, n, n].
        innovations: [T, p], y[t] minus its prediction; zero where y is missing.
        innovation_covariances: [T, p, p]; rows and columns of missing entries are those of the identity.
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED, NOT_FINITE, NO_START or NOT_POSITIVE_DEFINITE.

    With diffuse states the moments are NaN until the measurements determine these states.
    """

    _noun = "series"
    _error = ArithmeticError

    log_likelihood: Array
    predicted_means: Array
    predicted_covariances: Array
    filtered_means: Array
    filtered_covariances: Array
    innovations: Array
    innovation_covariances: Array
    status: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class SmootherResult(Result):
    """Moments of the state given all measurements; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        log_likelihood: [], as :func:`log_likelihood`.
        means: [T, n], of x[t] given all of y.
        covariances: [T, n, n].
        cross_covariances: [T - 1, n, n], cov(x[t + 1], x[t]) given all of y, which the EM algorithm needs.
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED, NOT_FINITE, NO_START or NOT_POSITIVE_DEFINITE.
    """

    _noun = "series"
    _error = ArithmeticError

    log_likelihood: Array
    means: Array
    covariances: Array
    cross_covariances: Array
    status: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class Forecast(Result):
    """Moments of the next measurements and states; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        means: [num_steps, p], of y[T + k] given y up to T - 1.
        covariances: [num_steps, p, p].
        state_means: [num_steps, n].
        state_covariances: [num_steps, n, n].
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED, NOT_FINITE, NO_START or NOT_POSITIVE_DEFINITE.
    """

    _noun = "series"
    _error = ArithmeticError

    means: Array
    covariances: Array
    state_means: Array
    state_covariances: Array
    status: Array
