"""Smith doubling for the sum over k of a^k q (a^H)^k, alone or for many small matrices at once.

One doubling squares the power and folds the sum onto itself,

    x <- x + a x a^H,    a <- a a,

so that after k doublings x holds 2^k terms. Only matrix products: it runs on any device, and a lane is decided by its
own power alone (small: converged; huge or NaN: diverged), never by its neighbours in a batch.

XLA's CPU backend multiplies a batch of 4 x 4 matrices at less than a hundredth of the machine's speed. Batches of small
matrices are therefore turned so that the task axis comes last, the contraction is unrolled over k, and blocks of tasks
that fit the innermost cache are run one after the other. ``custom_vmap`` hides that behind the unbatched function; it
can, since a solve inside ``lax.custom_linear_solve`` is never differentiated through.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.matrix_equations.batching import Solved, with_batch_rule
from jaxlqr.matrix_equations.products import adjoint, matmul

# Largest n for which the task-last layout beats a batched matrix product (benchmarks/small_matrices.py).
_LARGEST_SMALL = 10
# Tasks in one block of the task-last layout: n = 4 in float64 is 8 kB an array, four of which fit a 48 kB L1 cache.
_BLOCK = 64
# Doublings between two convergence tests in the task-last layout: testing after each of them doubles the time. 2^10
# terms serve a spectral radius of 0.98.
_DOUBLINGS_PER_TEST = 5


class _Layout(NamedTuple):
    """How matrices are stored: the products and reductions that the iteration needs."""

    double: Callable[[Array, Array], tuple[Array, Array]]  # (power, x) -> the same, some doublings further on
    doublings: int  # how many those are, between two convergence tests
    magnitude: Callable[[Array], Array]  # largest absolute entry of each lane
    spread: Callable[[Array], Array]  # a value per lane, shaped to multiply the lane's matrix


_MATRIX = _Layout(
    double=lambda power, x: (matmul(power, power), x + matmul(power, x, adjoint(power))),
    doublings=1,
    magnitude=lambda a: jnp.max(jnp.abs(a), axis=(-2, -1)),
    spread=lambda lane: lane[..., None, None],
)


def _task_last_product(a: Array, b: Array) -> Array:
    product = a[:, 0, None, :] * b[None, 0, :, :]
    for k in range(1, a.shape[1]):
        product = product + a[:, k, None, :] * b[None, k, :, :]
    return product


def _task_last_double(power: Array, x: Array) -> tuple[Array, Array]:
    def double(_, state: tuple[Array, Array]) -> tuple[Array, Array]:
        power, x = state
        folded = _task_last_product(_task_last_product(power, x), power.conj().transpose(1, 0, 2))
        return _task_last_product(power, power), x + folded

    return lax.fori_loop(0, _DOUBLINGS_PER_TEST, double, (power, x))


def _task_last_magnitude(a: Array) -> Array:
    n = a.shape[0]
    # Entry by entry: a reduction over the leading axes would be ten times slower.
    return reduce(jnp.maximum, [jnp.abs(a[i, j]) for i in range(n) for j in range(n)])


_TASK_LAST = _Layout(_task_last_double, _DOUBLINGS_PER_TEST, _task_last_magnitude, spread=lambda lane: lane)


def _iterate(layout: _Layout, n: int, a: Array, q: Array) -> Solved:
    real = jnp.finfo(a.dtype)
    # The next term is at most n^2 max|a|^2 max|x|: below this bound it is under the rounding of x.
    vanished = math.sqrt(float(real.eps)) / n
    exploded = math.sqrt(float(real.max)) / n
    # A radius of 1 - eps/2 needs log2(log(1/vanished)/(eps/2)), six more than the digits of eps; no more can help.
    cap = math.ceil(-math.log2(float(real.eps))) + 6

    def step(state):
        power, x, converged, active, spent, count = state
        power, x = layout.double(power, x)
        size = layout.magnitude(power)
        converged = jnp.where(active, size <= vanished, converged)
        spent = spent + layout.doublings * active
        active = active & (size > vanished) & (size < exploded)  # false for NaN
        # A finished lane keeps its bits: its power is zeroed, so that all later doublings add exactly zero.
        return jnp.where(layout.spread(active), power, 0), x, converged, active, spent, count + layout.doublings

    none = jnp.zeros(layout.magnitude(a).shape, jnp.int32)
    start = (a, q, none > 0, none == 0, none, jnp.asarray(0, jnp.int32))
    _, x, converged, _, spent, _ = lax.while_loop(lambda s: jnp.any(s[3]) & (s[5] < cap), step, start)
    return Solved(jnp.where(layout.spread(converged), x, jnp.nan), converged, spent)


def _task_last(a: Array, q: Array) -> Solved:
    turned = _iterate(_TASK_LAST, a.shape[-1], a.transpose(1, 2, 0), q.transpose(1, 2, 0))
    return turned._replace(value=turned.value.transpose(2, 0, 1))


def _task_last_in_blocks(a: Array, q: Array) -> Solved:
    num_tasks = a.shape[0]
    if num_tasks <= _BLOCK:
        return _task_last(a, q)
    num_blocks = -(-num_tasks // _BLOCK)
    padding = [(0, num_blocks * _BLOCK - num_tasks), (0, 0), (0, 0)]
    blocked = [jnp.pad(array, padding).reshape(num_blocks, _BLOCK, *array.shape[1:]) for array in (a, q)]
    result = lax.map(lambda block: _task_last(*block), tuple(blocked))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num_tasks], result)


def _doubling_batch(a: Array, q: Array) -> Solved:
    """Arrays [tasks, n, n]."""
    if a.shape[-1] > _LARGEST_SMALL:
        return _iterate(_MATRIX, a.shape[-1], a, q)
    return lax.platform_dependent(a, q, cpu=_task_last_in_blocks, default=_task_last)


_doubling = with_batch_rule(lambda a, q: _iterate(_MATRIX, a.shape[-1], a, q), _doubling_batch)


def doubling_sum(a: Array, q: Array) -> Solved:
    """Sum over k >= 0 of a^k q (a^H)^k, which solves x = a x a^H + q when the spectral radius of a is below one.

    Arguments: ``a`` and ``q`` of shape [n, n] and one floating dtype, real or complex; ``jax.vmap`` batches.
    Returns: the sum, a flag, and the number of doublings. Where the powers of ``a`` do not vanish the flag is false and
    the value NaN, in that lane only. It has no derivative rule of its own: see
    :func:`jaxlqr.matrix_equations.stable_discrete_lyapunov`.
    """
    return _doubling(a, q)
