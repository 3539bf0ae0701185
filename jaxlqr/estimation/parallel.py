"""The Kalman filter in O(log T) parallel steps, by an associative scan over stretches of time."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import hermitian, matmul
from jaxlqr.estimation import steps
from jaxlqr.estimation.model import Data, Model, Start, Static, at_step, varying
from jaxlqr.matrix_equations.stretches import Stretch, join


def predicted_in_parallel(model: Model, data: Data, start: Start, static: Static) -> tuple[Array, Array, Array]:
    """Means [T, n, 1 + d] and covariances [T, n, n] of x[t] given y up to t - 1, and whether the scan applies.

    It applies where C Q C' + R is positive definite in every step but the first. Elsewhere the moments are NaN.
    """
    slices = varying(model, static)
    before = {name: array[:-1] for name, array in slices.items()}, data.u[:-1]
    now = {name: array[1:] for name, array in slices.items()}, data.u[1:]
    begin = _first(model, data, start, static)
    single = jax.vmap(lambda before, now, y: _single(model, static, begin.b.shape[1], before, now, y))
    rest = single(before, now, data.y[1:])
    stretches = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), begin, rest)
    joined = lax.associative_scan(jax.vmap(join), stretches)

    def predict(slices: dict[str, Array], u: Array, filtered: Array, covariance: Array) -> tuple[Array, Array]:
        present = at_step(model, static, slices)
        return _moved(present, filtered, covariance, u)

    columns, covariances = jax.vmap(predict)(*before, joined.b[:-1], joined.C[:-1])
    means = jnp.concatenate([start.columns[None], columns])
    return means, jnp.concatenate([start.covariance[None], covariances]), jnp.all(jnp.isfinite(rest.A))


def _moved(model: Model, columns: Array, covariance: Array, u: Array) -> tuple[Array, Array]:
    """Means and covariance of the next state."""
    spread = hermitian(matmul(model.A, covariance, model.A.T)) + hermitian(model.Q)
    return matmul(model.A, columns) + steps.pushed(model, columns.shape[1], u), spread


def _first(model: Model, data: Data, start: Start, static: Static) -> Stretch:
    """From before the first measurement, which no state precedes, to x[0] with it."""
    present = at_step(model, static, {name: array[0] for name, array in varying(model, static).items()})
    observed = steps.observe(present, *start, data.y[0], data.u[0])
    columns, covariance = steps.filtered(*start, observed)
    none = jnp.zeros_like(covariance)
    return Stretch(A=none, b=columns, C=covariance, e=jnp.zeros_like(columns), J=none)


def _single(model: Model, static: Static, num_columns: int, before, now, y: Array) -> Stretch:
    """From x[t - 1] to x[t] with the measurement y[t]."""
    previous, present = (at_step(model, static, slices) for slices, _ in (before, now))
    # Given x[t - 1] = 0 the state is N(B u, Q); its filter has a gain K that does not depend on x[t - 1], so the
    # errors fall by C A x[t - 1], and the filtered state is (I - K C) (A x[t - 1] + B u) + K (y - D u).
    columns, noise = steps.pushed(previous, num_columns, before[1]), hermitian(previous.Q)
    observed = steps.observe(present, columns, noise, y, now[1])
    b, C = steps.filtered(columns, noise, observed)
    return Stretch(
        A=previous.A - matmul(observed.gain, matmul(observed.C, previous.A)),
        b=b,
        C=C,
        e=matmul(previous.A.T, matmul(observed.C.T, observed.weighted)),
        J=hermitian(matmul(previous.A.T, steps.information(observed), previous.A)),
    )
