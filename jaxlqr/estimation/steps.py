"""One step of the Kalman filter, for several columns of means at once."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.products import hermitian, matmul
from jaxlqr.estimation import cholesky
from jaxlqr.estimation.model import Model


class Observed(NamedTuple):
    """A measurement beside its prediction. Missing entries have zero rows in C and errors, and one in R."""

    C: Array  # [p, n]
    R: Array  # [p, p]
    errors: Array  # [p, 1 + d], of each column
    covariance: Array  # [p, p], of the errors
    whitened: Array  # [p, 1 + d], errors times the inverse of the Cholesky factor of the covariance
    weighted: Array  # [p, 1 + d], errors times the inverse of the covariance
    gain: Array  # [n, p], of the filter
    lower: cholesky.Factor  # of the covariance

    def log_determinant(self) -> Array:
        """Logarithm of the determinant of the covariance."""
        return cholesky.log_determinant(self.lower)


def observe(model: Model, columns: Array, covariance: Array, y: Array, u: Array) -> Observed:
    """What a measurement y [p] says beside the predicted means [n, 1 + d] and covariance [n, n]."""
    seen = ~jnp.isnan(y)
    # Masked before any arithmetic, so that no derivative meets NaN. A missing entry becomes a measurement of nothing
    # with variance one: its error is zero and its logarithm, too.
    C = jnp.where(seen[:, None], model.C, 0)
    R = jnp.where(seen[:, None] & seen[None, :], hermitian(model.R), jnp.eye(len(y), dtype=y.dtype))
    errors = errors_of(model, columns, C, y, u)
    crossed = matmul(C, covariance)
    total = hermitian(matmul(crossed, C.T) + R)
    lower = cholesky.factor(total)
    half = cholesky.solve_lower(lower, jnp.concatenate([errors, crossed], axis=1))
    both = cholesky.solve_upper(lower, half)
    num_columns = columns.shape[1]
    return Observed(
        C=C,
        R=R,
        errors=errors,
        covariance=total,
        whitened=half[:, :num_columns],
        weighted=both[:, :num_columns],
        gain=both[:, num_columns:].T,
        lower=lower,
    )


def errors_of(model: Model, columns: Array, C: Array, y: Array, u: Array) -> Array:
    """Errors [p, 1 + d] of the predicted means: the measurement belongs to the first column."""
    seen = ~jnp.isnan(y)
    first = jnp.where(seen, jnp.where(seen, y, 0) - matmul(model.D, u[:, None])[:, 0], 0)
    rest = jnp.zeros((len(y), columns.shape[1] - 1), y.dtype)
    return jnp.concatenate([first[:, None], rest], axis=1) - matmul(C, columns)


def closed_loop(model: Model, observed: Observed) -> tuple[Array, Array]:
    """A - gain C of the predictor [n, n], and the gain [n, p]."""
    gain = matmul(model.A, observed.gain)
    return model.A - matmul(gain, observed.C), gain


def predict(model: Model, columns: Array, covariance: Array, observed: Observed, u: Array) -> tuple[Array, Array]:
    """Means and covariance of the next state. The covariance is a sum of squares (Joseph's form), so it stays one."""
    closed, gain = closed_loop(model, observed)
    noise = hermitian(model.Q) + matmul(gain, observed.R, gain.T)
    return moved(model, columns, gain, observed.errors, u), hermitian(matmul(closed, covariance, closed.T) + noise)


def moved(model: Model, columns: Array, gain: Array, errors: Array, u: Array) -> Array:
    """The predicted means of the next state."""
    return matmul(model.A, columns) + matmul(gain, errors) + pushed(model, columns.shape[1], u)


def pushed(model: Model, num_columns: int, u: Array) -> Array:
    """What the input adds to the means [n, num_columns] of the next state: it moves the first column."""
    first = matmul(model.B, u[:, None])
    return jnp.concatenate([first, jnp.zeros((len(first), num_columns - 1), first.dtype)], axis=1)


def filtered(columns: Array, covariance: Array, observed: Observed) -> tuple[Array, Array]:
    """Means and covariance of the state with its own measurement, in Joseph's form."""
    kept = jnp.eye(len(covariance), dtype=covariance.dtype) - matmul(observed.gain, observed.C)
    noise = matmul(observed.gain, observed.R, observed.gain.T)
    updated = columns + matmul(observed.gain, observed.errors)
    return updated, hermitian(matmul(kept, covariance, kept.T) + noise)


def information(observed: Observed) -> Array:
    """C^T F^-1 C [n, n], what the measurement says of the state, for the covariance F of the errors."""
    half = cholesky.solve_lower(observed.lower, observed.C)
    return matmul(half.T, half)


class Sums(NamedTuple):
    """What the log-likelihood adds up."""

    squares: Array  # [1 + d, 1 + d], of the whitened errors
    log_determinant: Array
    num_measured: Array

    def value(self) -> Array:
        """The log-likelihood, with the coefficients of the diffuse directions eliminated."""
        # The density of y given the coefficients b is N(first + rest b, F). Its integral over b is, up to constants,
        #     |F|^-1/2 |S|^-1/2 exp(-(s - c' S^-1 c) / 2),
        # where s, c and S are the blocks of the squares: the pivots of a Cholesky factorisation that begins with S.
        square, log_determinant = self.squares[0, 0], self.log_determinant
        if len(self.squares) > 1:
            lower = cholesky.factor(self.squares[1:, 1:])
            half = cholesky.solve_lower(lower, self.squares[1:, :1])
            square, log_determinant = square - jnp.sum(half**2), log_determinant + cholesky.log_determinant(lower)
        return -(self.num_measured * math.log(2 * math.pi) + log_determinant + square) / 2


def no_sums(columns: Array) -> Sums:
    """The sums before the first measurement."""
    zero = jnp.zeros((), columns.dtype)
    return Sums(jnp.zeros((columns.shape[1], columns.shape[1]), columns.dtype), zero, zero)


def add(sums: Sums, whitened: Array, log_determinant: Array, count: Array) -> Sums:
    """The sums with one more measurement."""
    squares = sums.squares + matmul(whitened.T, whitened)
    return Sums(squares, sums.log_determinant + log_determinant, sums.num_measured + count)
