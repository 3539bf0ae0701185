"""The powers a, a^2, a^4, ... stored once and used by every Lyapunov solve with the same a, or with a transposed.

A doubling for x = a x a^H + q spends a third of its products on squaring a. A gradient solves with a and a^T, a
Hessian-vector product twice with each, so all four solves can share one set of powers. The powers carry no derivative:
they enter only the solve inside ``lax.custom_linear_solve``, whose derivative rules call that same solve, with the same
powers, again.

It pays for larger matrices only: at n = 50, 100 and 200 a Hessian-vector product takes 0.8 to 0.9 of the time. In the
task-last kernel for small ones the powers live in the innermost cache, and squaring them anew is faster than fetching
stored ones. In between, a batch of 1000 tasks at n = 20 would hold 38 MB of them, more than the C library keeps for
reuse, and each call would wait for fresh pages: 80 ms instead of 50 for value and gradient.
"""

from functools import partial, reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.batching import with_batch_rule
from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.doubling import MATRIX, decide, iterate, sizes_of

# Least n for which the powers are stored.
_LEAST_STORED = 32
# Stored powers, in stages. A stage is computed and used only if some power of the previous stage has not vanished: 2^12
# terms are enough for a spectral radius of 0.995. Nearer to one, each solve goes on from the last power.
_STAGES, _IN_STAGE = 3, 4


class Powers(NamedTuple):
    """Powers of one matrix.

    ``stored`` holds a^(2^k), k = 0, ..., 11, zero from the stage on in which they have vanished; ``tail`` [n, n] the
    next one, zero if it has vanished, NaN if it exploded.
    """

    stored: tuple[Array, ...]
    tail: Array


def _build(a: Array) -> Powers:
    n = a.shape[-1]

    def stage(power: Array, sizes: Array) -> tuple[tuple[Array, ...], Array]:
        # One more than is stored: the first of the next stage.
        powers = [power]
        for _ in range(_IN_STAGE):
            powers.append(matmul(powers[-1], powers[-1]))
        sizes = reduce(jnp.maximum, map(jnp.abs, powers[:-1]), sizes)
        gone, finite = decide(MATRIX, n, powers[-1], sizes)
        powers[-1] = jnp.where(MATRIX.spread(gone), 0, jnp.where(MATRIX.spread(finite), powers[-1], jnp.nan))
        return tuple(powers), sizes

    (*stored, tail), sizes = stage(a, sizes_of(MATRIX, a))
    for _ in range(1, _STAGES):
        (*more, tail), sizes = lax.cond(
            _matters(tail), stage, lambda power, sizes: ((power,) * (_IN_STAGE + 1), sizes), tail, sizes
        )
        stored += more
    return Powers(tuple(stored), tail)


def _matters(power: Array) -> Array:
    """Whether a lane is left that neither converged nor diverged."""
    return jnp.any((power != 0) & ~jnp.isnan(power))


def _apply(transposed: bool, *args: Array) -> Array:
    *stored, tail, q = [power.mT if transposed else power for power in args[:-1]] + [args[-1]]

    def fold(x: Array, *powers: Array) -> Array:
        for power in powers:
            x = MATRIX.fold(power, x)
        return x

    x = fold(q, *stored[:_IN_STAGE])
    for first in range(_IN_STAGE, len(stored), _IN_STAGE):
        powers = stored[first : first + _IN_STAGE]
        x = lax.cond(jnp.any(powers[0] != 0), fold, lambda x, *_: x, x, *powers)
    # Zero tails are done and NaN tails beyond help; iterate leaves the former alone and makes the latter NaN.
    return lax.cond(jnp.any(tail != 0), lambda: iterate(MATRIX, q.shape[-1], tail, x, reach=0).values[0], lambda: x)


def _applier(transposed: bool) -> Any:
    apply = partial(_apply, transposed)
    return with_batch_rule(apply, apply)


_build_any = with_batch_rule(_build, _build)
_apply_plain, _apply_transposed = _applier(False), _applier(True)


def pays_off(n: int) -> bool:
    """Whether storing the powers of n x n matrices is faster than squaring them again."""
    return n >= _LEAST_STORED


def powers_of(a: Array) -> Powers:
    """Powers of ``a`` [n, n]; without derivative."""
    return _build_any(lax.stop_gradient(a))


def solve_with_powers(powers: Powers, q: Array, *, transposed: bool) -> Array:
    """Sum over k of a^k q (a^H)^k, or the same for a^T; NaN when the powers do not vanish."""
    return (_apply_transposed if transposed else _apply_plain)(*powers.stored, powers.tail, q)
