"""The Kalman filter with its moments, the smoother and forecasts."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxlqr.core.arguments import check_count
from jaxlqr.core.products import hermitian, matmul
from jaxlqr.core.status import SolveStatus
from jaxlqr.estimation import cholesky, steps
from jaxlqr.estimation.likelihood import all_finite
from jaxlqr.estimation.model import Data, Diffuse, Model, Names, Static, at_step, check_model, start_of, varying
from jaxlqr.estimation.results import FilterResult, Forecast, SmootherResult
from jaxlqr.matrix_equations.results import is_nearly_singular

Given = tuple[Array | None, Array | None]


class _Step(NamedTuple):
    """What the filter knows in one step, or, stacked, in all: means of each column, given the coefficients."""

    predicted: tuple[Array, Array]  # means [n, 1 + d] and covariance [n, n]
    filtered: tuple[Array, Array]
    errors: Array  # [p, 1 + d]
    innovation_covariance: Array  # [p, p]
    pull: Array  # [n, 1 + d], C' F^-1 errors
    information: Array  # [n, n], C' F^-1 C
    closed: Array  # [n, n], A - gain C
    squares_before: Array  # [1 + d, 1 + d], without this measurement
    squares: Array  # with it


def kalman_filter(
    y: ArrayLike,
    A: ArrayLike,
    C: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
    *,
    x0: ArrayLike | None = None,
    P0: ArrayLike | None = None,
    diffuse: Diffuse = False,
    u: ArrayLike | None = None,
    B: ArrayLike | None = None,
    D: ArrayLike | None = None,
    time_varying: Names = (),
) -> FilterResult:
    """Means and covariances of x[t] given the measurements up to t - 1 and up to t, as :class:`FilterResult`.

    Model, arguments and failures: as in :func:`log_likelihood`. Differentiable in all arrays, in both modes and to any
    order.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> result = kalman_filter(jnp.array([[3.0], [jnp.nan]]), one, one, one, one, P0=2.0 * one)
    >>> print(result.filtered_means[:, 0].tolist(), result.status)  # 2/3 of 3, then no measurement
    [2.0, 2.0] 0

    Source: Kalman, J. Basic Eng. 82 (1960); Joseph's form: Bucy, Joseph (1968).
    """
    matrices = {"A": A, "C": C, "Q": Q, "R": R, "B": B, "D": D}
    return _filter_result(*check_model("kalman_filter", matrices, y, u, x0, P0, diffuse, time_varying))


def smoother(
    y: ArrayLike,
    A: ArrayLike,
    C: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
    *,
    x0: ArrayLike | None = None,
    P0: ArrayLike | None = None,
    diffuse: Diffuse = False,
    u: ArrayLike | None = None,
    B: ArrayLike | None = None,
    D: ArrayLike | None = None,
    time_varying: Names = (),
) -> SmootherResult:
    """Means and covariances of the states x[t] given all measurements, as :class:`SmootherResult`.

    Model, arguments and failures: as in :func:`log_likelihood`. No state covariance is inverted, so Q may be singular.
    Differentiable in all arrays, in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> result = smoother(jnp.array([[jnp.nan], [3.0]]), one, one, 0.0 * one, one, P0=2.0 * one)  # a constant
    >>> print(result.means[:, 0].tolist())
    [2.0, 2.0]

    Source: de Jong, J. Amer. Statist. Assoc. 84 (1989); de Jong, Mackinnon, Biometrika 75 (1988), cross covariances.
    """
    matrices = {"A": A, "C": C, "Q": Q, "R": R, "B": B, "D": D}
    return _smoother_result(*check_model("smoother", matrices, y, u, x0, P0, diffuse, time_varying))


def forecast(
    y: ArrayLike,
    A: ArrayLike,
    C: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
    num_steps: int,
    *,
    x0: ArrayLike | None = None,
    P0: ArrayLike | None = None,
    diffuse: Diffuse = False,
    u: ArrayLike | None = None,
    B: ArrayLike | None = None,
    D: ArrayLike | None = None,
    time_varying: Names = (),
) -> Forecast:
    """Means and covariances of the ``num_steps`` measurements after the last one, as :class:`Forecast`.

    Model, arguments and failures: as in :func:`log_likelihood`, but the inputs ``u`` and the matrices of
    ``time_varying`` have T + num_steps rows. ``num_steps`` is static. Differentiable in all arrays, in both modes and
    to any order.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> result = forecast(jnp.array([[3.0]]), 0.5 * one, one, one, one, 2, P0=2.0 * one)
    >>> print(result.means[:, 0].tolist())
    [1.0, 0.5]

    Source: Durbin, Koopman, Time Series Analysis by State Space Methods (2012), section 4.11.
    """
    check_count("num_steps", num_steps)
    matrices = {"A": A, "C": C, "Q": Q, "R": R, "B": B, "D": D}
    checked = check_model("forecast", matrices, y, u, x0, P0, diffuse, time_varying, int(num_steps))
    return _forecast(*checked, int(num_steps))


def _steps(model: Model, data: Data, given: Given, static: Static) -> tuple[_Step, steps.Sums, Array]:
    """All steps, the sums of the log-likelihood and the status."""
    start = start_of(model, *given, static)

    def step(state, at):
        columns, covariance, sums = state
        y, u, slices = at
        present = at_step(model, static, slices)
        observed = steps.observe(present, columns, covariance, y, u)
        count = jnp.sum(~jnp.isnan(y)).astype(y.dtype)
        more = steps.add(sums, observed.whitened, observed.log_determinant(), count)
        known = _Step(
            predicted=(columns, covariance),
            filtered=steps.filtered(columns, covariance, observed),
            errors=observed.errors,
            innovation_covariance=observed.covariance,
            pull=matmul(observed.C.T, observed.weighted),
            information=steps.information(observed),
            closed=steps.closed_loop(present, observed)[0],
            squares_before=sums.squares,
            squares=more.squares,
        )
        return (*steps.predict(present, columns, covariance, observed, u), more), known

    first = (start.columns, start.covariance, steps.no_sums(start.columns))
    (_, _, sums), known = lax.scan(step, first, (data.y, data.u, varying(model, static)))
    started = jnp.all(jnp.isfinite(start.covariance)) & _determined(sums.squares)
    status = jnp.int32(SolveStatus.SOLVED)
    for condition, code in (
        (~jnp.isfinite(sums.log_determinant), SolveStatus.NOT_POSITIVE_DEFINITE),
        (~started, SolveStatus.NO_START),
        (~all_finite(model, data, given), SolveStatus.NOT_FINITE),
    ):
        status = jnp.where(condition, jnp.int32(code), status)
    return known, sums, status


def _determined(squares: Array) -> Array:
    """Whether the measurements behind these squares determine the coefficients of the diffuse directions."""
    if len(squares) == 1:
        return jnp.asarray(True)
    return ~is_nearly_singular(lax.stop_gradient(squares[1:, 1:]))


def _coefficients(squares: Array) -> tuple[Array, Array]:
    """Means [d] and covariance [d, d] of the coefficients; NaN where they are not determined."""
    information = jnp.where(_determined(squares), squares[1:, 1:], jnp.nan)
    lower = cholesky.factor(information)
    half = cholesky.solve_lower(lower, jnp.eye(len(information), dtype=squares.dtype))
    covariance = matmul(half.T, half)
    return -matmul(covariance, squares[1:, :1])[:, 0], covariance


def _whole(columns: Array, covariance: Array, squares: Array) -> tuple[Array, Array]:
    """Mean and covariance of what has these columns of means [k, 1 + d], its coefficients known by ``squares``."""
    if columns.shape[1] == 1:
        return columns[:, 0], covariance
    means, spread = _coefficients(squares)
    rest = columns[:, 1:]
    return columns[:, 0] + matmul(rest, means[:, None])[:, 0], covariance + matmul(rest, spread, rest.T)


def _value(sums: steps.Sums, status: Array) -> Array:
    value = sums.value()
    return jnp.where(jnp.isnan(value) & (status != SolveStatus.NOT_FINITE), -jnp.inf, value)


@partial(jax.jit, static_argnums=3)
def _filter_result(model: Model, data: Data, given: Given, static: Static) -> FilterResult:
    known, sums, status = _steps(model, data, given, static)
    predicted = jax.vmap(_whole)(*known.predicted, known.squares_before)
    filtered = jax.vmap(_whole)(*known.filtered, known.squares)
    innovations = jax.vmap(_whole)(known.errors, known.innovation_covariance, known.squares_before)
    return FilterResult(
        log_likelihood=_value(sums, status),
        predicted_means=predicted[0],
        predicted_covariances=predicted[1],
        filtered_means=filtered[0],
        filtered_covariances=filtered[1],
        innovations=innovations[0],
        innovation_covariances=innovations[1],
        status=status,
    )


@partial(jax.jit, static_argnums=3)
def _smoother_result(model: Model, data: Data, given: Given, static: Static) -> SmootherResult:
    known, sums, status = _steps(model, data, given, static)
    n, num_columns = known.predicted[0].shape[1:]

    # Backwards, with L = A - gain C:  r <- C' F^-1 errors + L' r,  N <- C' F^-1 C + L' N L. The smoothed means are
    # those predicted plus P r, with the covariance P - P N P.
    def step(state, known: _Step):
        pull, information = state
        columns, covariance = known.predicted
        pull_now = known.pull + matmul(known.closed.T, pull)
        now = hermitian(known.information + matmul(known.closed.T, information, known.closed))
        spread = hermitian(covariance - matmul(covariance, now, covariance))
        # cov(x[t + 1], x[t]) = (I - P[t + 1] N[t]) L P, N[t] from the step after.
        crossed = matmul(known.closed, covariance)
        return (pull_now, now), (columns + matmul(covariance, pull_now), spread, crossed, information)

    zero = jnp.zeros((n, num_columns), sums.squares.dtype), jnp.zeros((n, n), sums.squares.dtype)
    _, (columns, covariances, crossed, after) = lax.scan(step, zero, known, reverse=True)
    later = known.predicted[1][1:]
    crossed = crossed[:-1] - matmul(later, after[:-1], crossed[:-1])
    if num_columns > 1:
        _, spread = _coefficients(sums.squares)
        crossed = crossed + matmul(columns[1:, :, 1:], spread, columns[:-1, :, 1:].mT)
    means, covariances = jax.vmap(_whole, (0, 0, None))(columns, covariances, sums.squares)
    return SmootherResult(
        log_likelihood=_value(sums, status),
        means=means,
        covariances=covariances,
        cross_covariances=crossed,
        status=status,
    )


@partial(jax.jit, static_argnums=(3, 4))
def _forecast(model: Model, data: Data, given: Given, static: Static, num_steps: int) -> Forecast:
    length = len(data.y)
    y = jnp.pad(data.y, [(0, num_steps), (0, 0)], constant_values=jnp.nan)
    known, sums, status = _steps(model, data._replace(y=y), given, static)

    def ahead(leaf: Array) -> Array:
        return leaf[length:]

    slices = {name: ahead(array) for name, array in varying(model, static).items()}
    squares = sums.squares

    def measured(columns: Array, covariance: Array, u: Array, slices: dict[str, Array]):
        present = at_step(model, static, slices)
        means, covariance = _whole(columns, covariance, squares)
        pushed = matmul(present.D, u[:, None])[:, 0]
        moments = matmul(present.C, means[:, None])[:, 0] + pushed, _seen(present, covariance)
        return (*moments, means, covariance)

    columns, covariances = map(ahead, known.predicted)
    means, spread, state_means, state_spread = jax.vmap(measured)(columns, covariances, ahead(data.u), slices)
    return Forecast(
        means=means, covariances=spread, state_means=state_means, state_covariances=state_spread, status=status
    )


def _seen(model: Model, covariance: Array) -> Array:
    return hermitian(matmul(model.C, covariance, model.C.T) + model.R)
