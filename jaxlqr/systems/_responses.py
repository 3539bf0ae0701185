"""Responses in time: simulation step by step or parallel in time, step and impulse responses."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.core.arguments import check_count
from jaxlqr.core.products import matmul
from jaxlqr.core.result import short_repr
from jaxlqr.systems._hold import held
from jaxlqr.systems._reading import check_dt
from jaxlqr.systems._state_space import StateSpace, check_system

_METHODS = ("scan", "associative")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Response:
    """Signals of a system at the times t dt, t = 0, ..., T - 1.

    Attributes:
        times: [T], in the unit of time of ``dt``.
        outputs: [T, p] of a simulation; [T, p, m] of a step or impulse response, entry [t, i, j] from input j.
        states: [T + 1, n], or [T + 1, n, m]; the last is the state after the last input.
    """

    times: Array
    outputs: Array
    states: Array

    def __repr__(self) -> str:
        return short_repr(self)


def simulate(
    system: StateSpace,
    u: ArrayLike,
    *,
    x0: ArrayLike | None = None,
    dt: ArrayLike | None = None,
    method: str = "scan",
) -> Response:
    """The :class:`Response` to inputs ``u`` [T, m] from the initial state ``x0`` [n].

    Arguments:
        system: a :class:`StateSpace`; in continuous time its input is held between samples, exactly.
        u: inputs [T, m].
        x0: initial state [n]; zero if it is None.
        dt: the sampling time for a system in continuous time; not for a discrete one.
        method: ``"scan"``, one step after the other; or ``"associative"``, parallel in time: log2(T) rounds of one
            matrix product each, for accelerators and long horizons.

    Returns:
        :class:`Response` with outputs [T, p] and states [T + 1, n]; differentiable in all arguments, to any order and
        in both modes.

    Raises:
        ValueError: if shapes do not fit, and if ``dt`` is missing or not positive.

    >>> integrator = StateSpace(*map(jnp.asarray, ([[1.0]], [[1.0]], [[1.0]], [[0.0]])), dt=jnp.asarray(0.5))
    >>> simulate(integrator, jnp.ones((3, 1))).outputs.ravel().tolist()
    [0.0, 1.0, 2.0]

    Source of the parallel form: Hillis and Steele, Comm. ACM 29 (1986), with the powers of A shared by all times.
    """
    check_system(system)
    inputs = jnp.asarray(u, system.A.dtype)
    if inputs.ndim != 2 or inputs.shape[1] != system.num_inputs:
        remedy = "write u[:, None] for one input" if inputs.ndim == 1 else "time comes first"
        raise ValueError(f"u must have shape [T, {system.num_inputs}], got {inputs.shape}; {remedy}.")
    n = system.num_states
    start = jnp.zeros(n, system.A.dtype) if x0 is None else jnp.asarray(x0, system.A.dtype)
    if start.shape != (n,):
        raise ValueError(f"x0 must have shape [{n}], one entry per state, got {start.shape}; use jax.vmap for several.")
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}; scan needs least arithmetic.")
    return _simulate(system, inputs, start, _step(system, dt), method)


def step_response(system: StateSpace, num_steps: int, *, dt: ArrayLike | None = None) -> Response:
    """The :class:`Response` to unit steps, one input at a time, from rest: outputs [num_steps, p, m].

    Arguments:
        system: a :class:`StateSpace`. Samples of a continuous system are exact.
        num_steps: number of samples; the first is at time 0.
        dt: the sampling time for a system in continuous time; not for a discrete one.

    Raises:
        ValueError: if ``num_steps`` is no count, and if ``dt`` is missing or not positive.

    >>> low_pass = StateSpace(*map(jnp.asarray, ([[-1.0]], [[1.0]], [[1.0]], [[0.0]])))
    >>> step_response(low_pass, 2, dt=jnp.log(2.0)).outputs.ravel().round(3).tolist()
    [0.0, 0.5]
    """
    check_system(system)
    check_count("num_steps", num_steps)
    return _step_response(system, _step(system, dt), int(num_steps))


def impulse_response(system: StateSpace, num_steps: int, *, dt: ArrayLike | None = None) -> Response:
    """The :class:`Response` to unit impulses, one input at a time, from rest: outputs [num_steps, p, m].

    In discrete time the input is 1 at time 0, as in SciPy, and the outputs are the Markov parameters D, C B, C A B, and
    so on; python-control's input is 1 / dt. In continuous time the outputs are C exp(A t) B; the impulse that D adds at
    time 0 is left out.

    Arguments and errors are the same as for :func:`step_response`.

    >>> decay = StateSpace(*map(jnp.asarray, ([[0.5]], [[1.0]], [[2.0]], [[3.0]])), dt=jnp.asarray(1.0))
    >>> impulse_response(decay, 3).outputs.ravel().tolist()
    [3.0, 2.0, 1.0]
    """
    check_system(system)
    check_count("num_steps", num_steps)
    return _impulse_response(system, _step(system, dt), int(num_steps))


def _step(system: StateSpace, dt: Any) -> Array:
    """The sampling time of the system, or the one that a continuous system is given."""
    if system.dt is not None:
        if dt is not None:
            raise ValueError("dt must not be given with a system in discrete time, which has its own; leave it out.")
        return system.dt
    if dt is None:
        raise ValueError("dt must be given with a system in continuous time, got None; write dt=0.01.")
    step = jnp.asarray(dt if isinstance(dt, Tracer) else check_dt(dt), system.A.dtype)
    if step.ndim:
        raise ValueError(f"dt must be a scalar, got shape {step.shape}; use jax.vmap for several sampling times.")
    return step


def _discrete(system: StateSpace, dt: Array) -> tuple[Array, Array]:
    return (system.A, system.B) if system.is_discrete else held(system.A, system.B, dt)


@partial(jax.jit, static_argnames="method")
def _simulate(system: StateSpace, u: Array, x0: Array, dt: Array, method: str) -> Response:
    a, b = _discrete(system, dt)
    states = _run(a, _product(u, b.T), x0, method)
    outputs = _product(states[:-1], system.C.T) + _product(u, system.D.T)
    return Response(jnp.arange(len(u), dtype=dt.dtype) * dt, outputs, states)


@partial(jax.jit, static_argnames="num_steps")
def _step_response(system: StateSpace, dt: Array, num_steps: int) -> Response:
    a, b = _discrete(system, dt)
    states = _powers(a, jnp.zeros_like(b), b, num_steps)
    outputs = _product(system.C, states[:-1]) + system.D[None]
    return Response(jnp.arange(num_steps, dtype=dt.dtype) * dt, outputs, states)


@partial(jax.jit, static_argnames="num_steps")
def _impulse_response(system: StateSpace, dt: Array, num_steps: int) -> Response:
    a, _ = _discrete(system, dt)
    states = _powers(a, system.B, jnp.zeros_like(system.B), num_steps)
    if system.is_discrete:
        states = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])
    outputs = _product(system.C, states[:-1])
    if system.is_discrete:
        outputs = outputs.at[0].set(system.D)
    return Response(jnp.arange(num_steps, dtype=dt.dtype) * dt, outputs, states)


def _powers(a: Array, first: Array, drive: Array, count: int) -> Array:
    """The iterates x -> a x + drive of ``first`` [n, m], stacked [count + 1, n, m]."""
    _, later = lax.scan(lambda x, _: ((y := matmul(a, x) + drive), y), first, length=count)
    return jnp.concatenate([first[None], later])


def _run(a: Array, drive: Array, x0: Array, method: str) -> Float[Array, "T1 n"]:
    """The iterates x -> a x + drive[t] from x0, stacked [T + 1, n]."""
    if method == "scan":

        def step(x: Array, added: Array) -> tuple[Array, Array]:
            x = matmul(a, x[:, None])[:, 0] + added
            return x, x

        return jnp.concatenate([x0[None], lax.scan(step, x0, drive)[1]])
    # Entry t holds the part of x[t] that the last ``reach`` terms make; each round doubles the reach.
    parts, power, reach = jnp.concatenate([x0[None], drive]), a, 1
    while reach < len(parts):
        parts = parts.at[reach:].add(_product(parts[:-reach], power.T))
        power, reach = matmul(power, power), 2 * reach
    return parts


def _product(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
