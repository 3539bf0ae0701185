"""What the filter, the smoother and the forecast return: named arrays and a status."""

import enum
from dataclasses import dataclass
from typing import Self

import jax
from jax import Array

from jaxlqr.core.status import check_lanes, short_repr


class FilterStatus(enum.IntEnum):
    """What became of one pass of the filter.

    Attributes:
        COMPLETED: every step has a positive definite innovation covariance.
        NOT_FINITE: an argument is infinite, or NaN and no measurement.
        NO_START: A has no stationary distribution, or the data do not determine the diffuse states.
        NOT_POSITIVE_DEFINITE: an innovation covariance is not positive definite.
    """

    COMPLETED = 0
    NOT_FINITE = 1
    NO_START = 2
    NOT_POSITIVE_DEFINITE = 3


_ADVICE = {
    FilterStatus.NOT_FINITE: "an argument other than y holds NaN or infinity. Look upstream for a division by zero.",
    FilterStatus.NO_START: (
        "the state has no start. If A has a unit root, no stationary distribution exists: pass diffuse=True or P0. If "
        "diffuse is given, the measurements do not determine these states: pass P0 for the others."
    ),
    FilterStatus.NOT_POSITIVE_DEFINITE: (
        "an innovation covariance C P C' + R is not positive definite. Two measurements say the same: drop one, or add "
        "noise to R."
    ),
}


class _Checked:
    status: Array

    def __repr__(self) -> str:
        return short_repr(self, FilterStatus)

    def check(self) -> Self:
        """Raise ``ArithmeticError`` with advice if some series has no result; else return itself.

        Outside ``jit`` only.
        """
        check_lanes(self.status, _ADVICE, "series", ArithmeticError)
        return self


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class FilterResult(_Checked):
    """Moments of the state given the measurements so far; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        log_likelihood: [], as :func:`log_likelihood`.
        predicted_means: [T, n], of x[t] given y up to t - 1.
        predicted_covariances: [T, n, n].
        filtered_means: [T, n], of x[t] given y up to t.
        filtered_covariances: [T, n, n].
        innovations: [T, p], y[t] minus its prediction; zero where y is missing.
        innovation_covariances: [T, p, p]; rows and columns of missing entries are those of the identity.
        status: :class:`FilterStatus` code.

    With diffuse states the moments are NaN until the measurements determine these states.
    """

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
class SmootherResult(_Checked):
    """Moments of the state given all measurements; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        log_likelihood: [], as :func:`log_likelihood`.
        means: [T, n], of x[t] given all of y.
        covariances: [T, n, n].
        cross_covariances: [T - 1, n, n], cov(x[t + 1], x[t]) given all of y, which the EM algorithm needs.
        status: :class:`FilterStatus` code.
    """

    log_likelihood: Array
    means: Array
    covariances: Array
    cross_covariances: Array
    status: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class Forecast(_Checked):
    """Moments of the next measurements and states; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        means: [num_steps, p], of y[T + k] given y up to T - 1.
        covariances: [num_steps, p, p].
        state_means: [num_steps, n].
        state_covariances: [num_steps, n, n].
        status: :class:`FilterStatus` code.
    """

    means: Array
    covariances: Array
    state_means: Array
    state_covariances: Array
    status: Array
