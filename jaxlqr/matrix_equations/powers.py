"""The powers a, a^2, a^4, ... stored once and used by every Lyapunov solve with the same a, or with a transposed.

A doubling for x = a x a^H + q spends a third of its products on squaring a. A gradient solves with a and a^T, a
Hessian-vector product twice with each, so that four solves out of four can share one set of powers. The powers carry no
derivative: they enter only the solve inside ``lax.custom_linear_solve``, whose derivative rules call that same solve,
with the same powers, again.

It pays for larger matrices only. In the task-last kernel for small ones the powers live in the innermost cache, and
squaring them anew is faster than fetching stored ones: at n = 4, 4096 tasks, storing them made value and gradient 1.4
times and the Hessian-vector product 1.5 times as slow, at n = 8 1.9 and 1.5 times.
"""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.matrix_equations.batching import with_batch_rule
from jaxlqr.matrix_equations.doubling import MATRIX, is_small, iterate, thresholds
from jaxlqr.matrix_equations.products import matmul

# Powers kept: 2^12 terms serve a spectral radius of 0.995. Nearer to one, each solve goes on from the last one.
_STORED = 12


class Powers(NamedTuple):
    """Powers of one matrix.

    ``stack`` [12, n, n] holds a^(2^k), zero once they have vanished; ``tail`` [n, n] the next one, zero if it has, NaN
    if it exploded; ``used`` [] says how many of the stack matter.
    """

    stack: Array
    tail: Array
    used: Array


def _build(a: Array) -> Powers:
    vanished, exploded = thresholds(a.dtype, a.shape[-1])

    def step(state):
        stack, power, count, _ = state
        stack = lax.dynamic_update_index_in_dim(stack, power, count, 0)
        power = matmul(power, power)
        size = MATRIX.magnitude(power)
        gone, alive = size <= vanished, size < exploded  # both false for NaN
        power = jnp.where(MATRIX.spread(gone), 0, jnp.where(MATRIX.spread(alive), power, jnp.nan))
        return stack, power, count + 1, jnp.any(~gone & alive)

    start = (jnp.zeros((_STORED, *a.shape), a.dtype), a, jnp.asarray(0, jnp.int32), jnp.asarray(True))
    stack, tail, count, _ = lax.while_loop(lambda s: s[3] & (s[2] < _STORED), step, start)
    return Powers(stack, tail, jnp.broadcast_to(count, a.shape[:-2]))


def _apply(transposed: bool, powers: Powers, q: Array) -> Array:
    def turn(power: Array) -> Array:
        return power.mT if transposed else power

    def fold(k: Array, x: Array) -> Array:
        return MATRIX.fold(turn(lax.dynamic_index_in_dim(powers.stack, k, 0, keepdims=False)), x)

    x = lax.fori_loop(0, jnp.max(powers.used), fold, q)
    tail = turn(powers.tail)
    # Zero tails are done and NaN tails beyond help; iterate leaves the former alone and makes the latter NaN.
    return lax.cond(jnp.any(tail != 0), lambda: iterate(MATRIX, q.shape[-1], tail, x).value, lambda: x)


def _build_batch(a: Array) -> Powers:
    built = _build(a)
    return built._replace(stack=jnp.moveaxis(built.stack, 0, 1))


def _apply_batch(transposed: bool, stack: Array, tail: Array, count: Array, q: Array) -> Array:
    return _apply(transposed, Powers(jnp.moveaxis(stack, 1, 0), tail, count), q)


def _applier(transposed: bool) -> Any:
    return with_batch_rule(
        lambda stack, tail, count, q: _apply(transposed, Powers(stack, tail, count), q),
        partial(_apply_batch, transposed),
    )


_build_any = with_batch_rule(_build, _build_batch)
_apply_plain, _apply_transposed = _applier(False), _applier(True)


def pays_off(n: int) -> bool:
    """Whether storing the powers of n x n matrices is faster than squaring them again."""
    return not is_small(n)


def powers_of(a: Array) -> Powers:
    """Powers of ``a`` [n, n]; without derivative."""
    return _build_any(lax.stop_gradient(a))


def solve_with_powers(powers: Powers, q: Array, *, transposed: bool) -> Array:
    """Sum over k of a^k q (a^H)^k, or the same for a^T; NaN when the powers do not vanish."""
    return (_apply_transposed if transposed else _apply_plain)(*powers, q)
