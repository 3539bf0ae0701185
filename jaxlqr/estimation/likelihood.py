"""The exact log-likelihood of a linear Gaussian model, with missing data, differentiable to any order."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.estimation import cholesky, steps
from jaxlqr.estimation.model import Data, Diffuse, Model, Names, Start, Static, at_step, check_model, start_of, varying
from jaxlqr.estimation.parallel import predicted_in_parallel
from jaxlqr.matrix_equations.scaling import covariance_scale, relative

Method = Literal["auto", "exact", "parallel"]
_METHODS = ("auto", "exact", "parallel")
# Steps between two questions whether the covariance has settled.
_BLOCK = 16
# The covariance counts as settled where no step of a block changes that of the innovations by more roundings than this.
_ROUNDINGS = 64


def log_likelihood(
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
    method: Method = "auto",
) -> Float[Array, ""]:
    r"""Logarithm of the density of the measurements y, a scalar, under the model

    .. math:: x_{t+1} = A x_t + B u_t + w_t, \quad y_t = C x_t + D u_t + v_t, \quad
        w_t \sim N(0, Q), \quad v_t \sim N(0, R), \quad x_0 \sim N(x0, P0).

    Arguments:
        y: [T, p]; NaN marks what is missing, single entries or whole rows.
        A: [n, n], transition of the state.
        C: [p, n], loading of the measurements.
        Q: [n, n], covariance of w; it may be singular. Its symmetric part is used.
        R: [p, p], covariance of v; it may be singular where C P C' + R is not. Its symmetric part is used.
        x0: [n], mean of the first state before its measurement; zero unless given.
        P0: [n, n], covariance of the first state before its measurement; the stationary covariance unless given.
        diffuse: True, or a list of n truth values: these states have a flat prior, exactly, without a large number for
            its variance. Static. The value is then the diffuse log-likelihood of Durbin and Koopman: the limit of the
            log-likelihood for P0 = k I, plus d/2 log k for d diffuse states.
        u: [T, m], known inputs. An intercept is an input of ones.
        B: [n, m], zero unless given.
        D: [p, m], zero unless given.
        time_varying: names of the matrices that have a leading axis of length T, such as ``("C",)``; static. The last
            A, B and Q have no effect.
        method: ``"auto"`` keeps the gains once the covariance has settled to rounding and no entry is missing, which
            changes the value by rounding; ``"exact"`` updates the covariance in every step; ``"parallel"`` computes all
            steps at once by an associative scan, in O(log T) parallel steps and several times as many operations, for
            accelerators and long series. It needs C Q C' + R positive definite, and is NaN elsewhere. Static.

    Returns:
        The log-likelihood; minus infinity, with NaN for derivatives, where A has no stationary distribution, where an
        innovation covariance is not positive definite, and where the data do not determine a diffuse start; NaN where
        an argument is NaN (y excepted) or infinite. Differentiable in all arrays, in both modes and to any order. Under
        ``jax.vmap`` the gains are kept once they have settled in all lanes. Other units of the states do not change the
        value, unless they are diffuse; other units of the measurements add the logarithm of the Jacobian.

    Raises:
        ValueError: if sizes do not belong together, ``time_varying`` names a matrix that is not given, ``diffuse`` has
            the wrong length, or P0 is missing where no stationary covariance replaces it.
        TypeError: if an argument is complex, holds integers or has half precision, or if precisions differ.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> value = log_likelihood(jnp.array([[1.0]]), 0.0 * one, one, one, one)  # N(0, 2) at 1
    >>> print(f"{value:.4f}")
    -1.5155

    Source: Durbin, Koopman, Time Series Analysis by State Space Methods (2012), chapter 7; de Jong, Ann. Statist. 19
    (1991), diffuse starts; Särkkä, García-Fernández, IEEE Trans. Automatic Control 66 (2021), section IV, in parallel.
    """
    if method not in _METHODS:
        raise ValueError(f'log_likelihood: argument method must be one of {_METHODS}, got {method!r}; use "auto".')
    matrices = {"A": A, "C": C, "Q": Q, "R": R, "B": B, "D": D}
    checked = check_model("log_likelihood", matrices, y, u, x0, P0, diffuse, time_varying)
    return _log_likelihood(*checked, method)


@partial(jax.jit, static_argnums=(3, 4))
def _log_likelihood(
    model: Model, data: Data, given: tuple[Array | None, Array | None], static: Static, method: Method
) -> Array:
    start = start_of(model, *given, static)
    if method == "parallel":
        return _in_parallel(model, data, given, start, static)
    short = len(data.y) < 2 * _BLOCK
    if method == "exact" or static.time_varying or short:
        value = _exact(model, data, start, static)
    else:
        value = _in_blocks(model, data, start)
    return _impossible(value, all_finite(model, data, given))


def _impossible(value: Array, known: Array) -> Array:
    """Minus infinity in place of NaN where ``known``, all that the value depends on, is finite."""
    return jnp.where(jnp.isnan(value) & known, -jnp.inf, value)


def all_finite(model: Model, data: Data, given: tuple[Array | None, Array | None]) -> Array:
    """Whether all arguments are finite; measurements may be NaN."""
    leaves = jax.tree.leaves((model, data.u, given))
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])
    return jnp.all(finite) & ~jnp.any(jnp.isinf(data.y))


def _exact(model: Model, data: Data, start: Start, static: Static) -> Array:
    @jax.checkpoint
    def step(state, at):
        columns, covariance, sums = state
        y, u, slices = at
        present = at_step(model, static, slices)
        observed = steps.observe(present, columns, covariance, y, u)
        sums = steps.add(sums, observed.whitened, observed.log_determinant(), _count(y))
        return (*steps.predict(present, columns, covariance, observed, u), sums), None

    first = (start.columns, start.covariance, steps.no_sums(start.columns))
    (_, _, sums), _ = lax.scan(step, first, (data.y, data.u, varying(model, static)))
    return sums.value()


def _in_parallel(
    model: Model, data: Data, given: tuple[Array | None, Array | None], start: Start, static: Static
) -> Array:
    columns, covariances, regular = predicted_in_parallel(model, data, start, static)

    def step(columns, covariance, y, u, slices):
        observed = steps.observe(at_step(model, static, slices), columns, covariance, y, u)
        return steps.add(steps.no_sums(columns), observed.whitened, observed.log_determinant(), _count(y))

    each = jax.vmap(step)(columns, covariances, data.y, data.u, varying(model, static))
    value = jax.tree.map(partial(jnp.sum, axis=0), each).value()
    return _impossible(value, regular & all_finite(model, data, given))


def _count(y: Array) -> Array:
    return jnp.sum(~jnp.isnan(y)).astype(y.dtype)


def _in_blocks(model: Model, data: Data, start: Start) -> Array:
    """The same in blocks of steps, each of which keeps the gains if the covariance has settled before."""
    length = len(data.y)
    padding = [(0, -length % _BLOCK), (0, 0)]
    # Rows that fill the last block up: missing for the exact steps, without weight for the others.
    y = jnp.pad(data.y, padding, constant_values=jnp.nan).reshape(-1, _BLOCK, data.y.shape[1])
    u = jnp.pad(data.u, padding).reshape(len(y), _BLOCK, data.u.shape[1])
    inside = (jnp.arange(y.shape[0] * _BLOCK) < length).reshape(-1, _BLOCK)

    @jax.checkpoint
    def block(state, at):
        settled, *_ = state
        y, _, inside = at
        complete = jnp.all(~jnp.isnan(y) | ~inside[:, None])
        quick = _in_all_lanes(lax.stop_gradient(settled & complete))
        return lax.cond(quick, _settled_block, _exact_block, model, state, at), None

    first = (jnp.asarray(False), start.columns, start.covariance, steps.no_sums(start.columns))
    (*_, sums), _ = lax.scan(block, first, (y, u, inside))
    return sums.value()


def _exact_block(model: Model, state, at):
    def step(state, at):
        columns, covariance, sums = state
        y, u = at
        observed = steps.observe(model, columns, covariance, y, u)
        sums = steps.add(sums, observed.whitened, observed.log_determinant(), _count(y))
        return (*steps.predict(model, columns, covariance, observed, u), sums), observed.covariance

    _, *state = state
    y, u, _ = at
    state, spread = lax.scan(step, tuple(state), (y, u))
    return (_is_settled(y, lax.stop_gradient(spread)), *state)


def _is_settled(y: Array, spread: Array) -> Array:
    """Whether the innovation covariances [steps, p, p] of a block without missing entries are the same to rounding."""
    # Those of the states do not decide: the variance of a state that is known exactly is rounding, and never settles.
    change = relative(spread[1:] - spread[:-1], jax.vmap(covariance_scale)(spread[1:]))
    return jnp.all(~jnp.isnan(y)) & (change <= _ROUNDINGS * jnp.finfo(spread.dtype).eps)


def _settled_block(model: Model, state, at):
    settled, columns, covariance, sums = state
    y, u, inside = at
    # The gain and the factor of the covariance, from the first step; the others need the errors alone.
    observed = steps.observe(model, columns, covariance, y[0], u[0])
    _, gain = steps.closed_loop(model, observed)

    def step(columns, at):
        y, u, inside = at
        errors = steps.errors_of(model, columns, model.C, y, u)
        return steps.moved(model, columns, gain, errors, u), jnp.where(inside, errors, 0)

    columns, errors = lax.scan(step, columns, (y, u, inside))
    num_columns = columns.shape[1]
    side_by_side = errors.transpose(1, 0, 2).reshape(errors.shape[1], -1)
    whitened = cholesky.solve_lower(observed.lower, side_by_side).reshape(-1, num_columns)
    count = jnp.sum(inside).astype(y.dtype)
    sums = steps.add(sums, whitened, count * observed.log_determinant(), count * y.shape[1])
    return settled, columns, covariance, sums


@custom_vmap
def _in_all_lanes(flag: Array) -> Array:
    """The flag; under ``jax.vmap`` whether it holds in all lanes, one value, so that a condition stays a condition."""
    return flag


@_in_all_lanes.def_vmap
def _(axis_size, in_batched, flag):
    return (_in_all_lanes(jnp.all(flag, axis=0)) if in_batched[0] else flag), False
