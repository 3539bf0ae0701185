"""Damped Newton: a local minimum of a function of a few numbers with a known Hessian."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.iterations.shortening import before_trials, first_accepted


class NewtonEnd(NamedTuple):
    """The last iterate of :func:`damped_newton`.

    Attributes:
        point: the iterate [d].
        value: of the objective there.
        gradient: there [d].
        hessian: there [d, d].
        size: norm of the gradient relative to that at the start, each entry in the unit of :func:`units_of` the start.
        num_steps: steps taken.
        path: values of the objective at all iterates [max_steps + 1]; the last one is repeated.
    """

    point: Array
    value: Array
    gradient: Array
    hessian: Array
    size: Array
    num_steps: Array
    path: Array


class _State(NamedTuple):
    point: Array
    value: Array
    gradient: Array
    hessian: Array
    unit: Array  # of the start
    scale: Array  # norm of the gradient at the start, in that unit
    number: Array
    stuck: Array
    path: Array


def damped_newton(
    objective: Callable[[Array], Array],
    derivatives: Callable[[Array], tuple[Array, Array]],
    start: Array,
    *,
    max_steps: int,
    max_backtracks: int,
    tolerance: float | Array = 0.0,
    scaled: bool = True,
) -> NewtonEnd:
    """:class:`NewtonEnd` of Newton's method from ``start``, whose steps are halved until the objective does not grow.

    The Hessian is made positive by taking the moduli of its eigenvalues; before, it is scaled to a unit diagonal, so
    that no unit of an entry matters.

    Arguments:
        objective: function of a vector [d] -> scalar; +inf marks infeasible vectors.
        derivatives: function of a vector [d] -> its gradient [d] and Hessian [d, d].
        start: vector [d], feasible.
        max_steps: at most so many steps.
        max_backtracks: lengths of a step that are tried; the iteration ends when none is accepted.
        tolerance: stop when :attr:`NewtonEnd.size` is not above it.
        scaled: whether the Hessian is scaled; without it, the step of an indefinite Hessian depends on the units.

    Runs inside ``jit`` and ``vmap``; objective and derivatives are compiled once each.

    >>> import jax
    >>> valley = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2  # Rosenbrock's
    >>> both = lambda x: (jax.grad(valley)(x), jax.hessian(valley)(x))
    >>> found = damped_newton(valley, both, jnp.array([-1.2, 1.0]), max_steps=40, max_backtracks=15, tolerance=1e-12)
    >>> print(f"{found.point[0]:.6f} {found.point[1]:.6f}")
    1.000000 1.000000
    """
    eps = jnp.finfo(start.dtype).eps
    zero = jnp.zeros((), start.dtype)

    def size_of(state: _State) -> Array:
        return jnp.linalg.norm(state.unit * state.gradient)

    def unfinished(state: _State) -> Array:
        going_on = (size_of(state) > tolerance * state.scale) & (state.number < max_steps) & ~state.stuck
        return (state.number < 0) | going_on

    def step(state: _State) -> _State:
        direction = _direction(state.gradient, state.hessian, scaled)
        # Rounding may raise the objective at the optimum itself.
        allowed = state.value + 8 * eps * jnp.abs(state.value)

        def attempt(fraction: Array, _) -> tuple[tuple[Array, Array], Array]:
            point = state.point - fraction * direction
            value = objective(point)
            return (point, value), value <= allowed

        here = (state.point, state.value)
        trial = first_accepted(attempt, before_trials(here, start.dtype), max_backtracks=max_backtracks)
        point, value = (jnp.where(trial.accepted, new, old) for new, old in zip(trial.value, here, strict=True))
        gradient, hessian = derivatives(point)
        first, number = state.number < 0, state.number + 1
        unit = jnp.where(first, units_of(hessian), state.unit)
        scale = jnp.where(first, jnp.linalg.norm(unit * gradient), state.scale)
        path = state.path.at[number].set(value)
        return _State(point, value, gradient, hessian, unit, scale, number, ~trial.accepted, path)

    # The pass before the first step stands still: its gradient is zero and any objective is below infinity.
    eye = jnp.eye(start.size, dtype=start.dtype)
    path = jnp.full(max_steps + 1, jnp.nan, start.dtype)
    blank = jnp.zeros_like(start)
    begin = _State(start, zero + jnp.inf, blank, eye, blank, zero, jnp.asarray(-1, jnp.int32), jnp.asarray(False), path)
    end = lax.while_loop(unfinished, step, begin)
    size = jnp.where(end.scale > 0, size_of(end) / jnp.where(end.scale > 0, end.scale, 1), 0.0)
    path = jnp.where(jnp.arange(max_steps + 1) > end.number, end.value, end.path)
    return NewtonEnd(end.point, end.value, end.gradient, end.hessian, size, end.number, path)


def _direction(gradient: Array, hessian: Array, scaled: bool) -> Array:
    """The Newton step [d], uphill, with the moduli of the eigenvalues of the scaled Hessian."""
    unit = units_of(hessian) if scaled else jnp.ones_like(gradient)
    values, vectors = jnp.linalg.eigh(hessian * unit[None] * unit[:, None])
    floor = jnp.finfo(gradient.dtype).eps * jnp.max(jnp.abs(values))
    return unit * (vectors @ (vectors.T @ (unit * gradient) / jnp.maximum(jnp.abs(values), floor)))


def units_of(hessian: Array) -> Array:
    """Units [d] that scale the diagonal of a Hessian to moduli of one; one where it is zero."""
    size = jnp.abs(jnp.diagonal(hessian))
    return jnp.where(size > 0, lax.rsqrt(jnp.where(size > 0, size, 1)), 1)
