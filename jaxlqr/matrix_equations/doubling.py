"""Smith doubling for the sum over k of a^k q (a^H)^k, alone or for many small matrices at once.

One doubling squares the power and folds the sum onto itself,

    x <- x + a x a^H,    a <- a a,

so that after k doublings x holds 2^k terms. A second sum, over (a^H)^k s a^k, shares the powers. Only matrix products:
it runs on any device, and a lane is decided by its own power alone, never by its neighbours in a batch.

A power has vanished if each entry is small relative to the largest value of the same entry in the powers 1, 2, 4, ...
up to n (diagonal entries: or relative to one). These powers reach every reachable state. Other units of the states
multiply all of these values by one factor. They do not change the verdict, and units that are powers of two change no
bit of the result. A power diverges when an entry is not finite.

XLA's CPU backend multiplies a batch of 4 x 4 matrices at less than a hundredth of the machine's speed. For batches of
small matrices, the code therefore moves the task axis to the end and unrolls the contraction over k. Blocks of tasks
that fit into the innermost cache run one after the other. ``custom_vmap`` hides that behind the unbatched function; it
can, since a solve inside ``lax.custom_linear_solve`` is never differentiated through.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.batching import in_blocks, with_batch_rule
from jaxlqr.core.products import adjoint, matmul
from jaxlqr.matrix_equations.attempts import Solved

# Largest n for which the task-last layout beats a batched matrix product (benchmarks/matrix_equations.py).
_LARGEST_SMALL = 10
# Bytes of one array in a block of the task-last layout: twice as much, and blocks of n = 8 take 1.8 times as long.
_BLOCK_BYTES = 16384
# Doublings between two convergence tests in the task-last layout: with one, the tests are a third of the time.
_DOUBLINGS_PER_TEST = 2


class PowerSums(NamedTuple):
    """One or two sums over the powers of one matrix (NaN unless converged), a flag, and the doublings."""

    values: tuple[Array, ...]
    converged: Array
    doublings: Array


class Axes(NamedTuple):
    """How matrices are stored: the products and reductions that the iterations need."""

    product: Callable[[Array, Array], Array]
    adjoint: Callable[[Array], Array]
    identity: Callable[[Array], Array]  # for each lane of the matrices
    doublings: int  # between two convergence tests
    largest: Callable[[Array], Array]  # entry of each lane
    spread: Callable[[Array], Array]  # a value per lane, shaped to multiply the lane's matrix

    def fold(self, power: Array, x: Array) -> Array:
        """x + power x power^H."""
        return x + self.product(self.product(power, x), self.adjoint(power))


MATRIX = Axes(
    product=matmul,
    adjoint=adjoint,
    identity=lambda a: jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape),
    doublings=1,
    largest=lambda a: jnp.max(a, axis=(-2, -1)),
    spread=lambda lane: lane[..., None, None],
)


def _task_last_product(a: Array, b: Array) -> Array:
    product = a[:, 0, None, :] * b[None, 0, :, :]
    for k in range(1, a.shape[1]):
        product = product + a[:, k, None, :] * b[None, k, :, :]
    return product


def _task_last_largest(a: Array) -> Array:
    n = a.shape[0]
    # Entry by entry: a reduction over the leading axes would be ten times slower.
    return reduce(jnp.maximum, [a[i, j] for i in range(n) for j in range(n)])


TASK_LAST = Axes(
    product=_task_last_product,
    adjoint=lambda a: a.conj().transpose(1, 0, 2),
    identity=lambda a: jnp.broadcast_to(jnp.eye(a.shape[0], dtype=a.dtype)[:, :, None], a.shape),
    doublings=_DOUBLINGS_PER_TEST,
    largest=_task_last_largest,
    spread=lambda lane: lane,
)


def sizes_of(layout: Axes, power: Array) -> Array:
    """Absolute values of the entries, on the diagonal at least one."""
    return jnp.maximum(jnp.abs(power), layout.identity(power).real)


def decide(layout: Axes, n: int, power: Array, sizes: Array) -> tuple[Array, Array]:
    """Whether the power of each lane has vanished beside ``sizes``, and whether it is still finite."""
    # The next term adds at most n^2 times the square of this to what the entries seen before have added: below
    # sqrt(eps) / n it is smaller than the rounding of the sum. NaN and infinity stay themselves, and compare false.
    vanishing = math.sqrt(float(jnp.finfo(power.dtype).eps)) / n
    excess = layout.largest(jnp.abs(power) - vanishing * sizes)
    return excess <= 0, excess < jnp.inf


def iterate(layout: Axes, n: int, a: Array, *sums: Array, reach: int) -> PowerSums:
    """Double until every lane is decided; ``sums`` start as q, or as q and s.

    The first ``reach`` doublings are not tested. They find the sizes beside which a power vanishes.
    """
    # A radius of 1 - eps/2 needs log2(log(1/vanished)/(eps/2)), six more than the digits of eps; no more can help.
    cap = math.ceil(-math.log2(float(jnp.finfo(a.dtype).eps))) + 6

    def double(_, state: tuple[Array, tuple[Array, ...]]) -> tuple[Array, tuple[Array, ...]]:
        power, sums = state
        factors = (power, layout.adjoint(power))[: len(sums)]
        return layout.product(power, power), tuple(layout.fold(*pair) for pair in zip(factors, sums, strict=True))

    def first(_, state):
        power, sums, sizes = state
        power, sums = double(0, (power, sums))
        return power, sums, jnp.maximum(sizes, jnp.abs(power))

    a, sums, sizes = lax.fori_loop(0, reach, first, (a, sums, sizes_of(layout, a)))

    def step(state):
        power, sums, converged, active, spent, count = state
        if layout.doublings == 1:
            power, sums = double(0, (power, sums))
        else:
            power, sums = lax.fori_loop(0, layout.doublings, double, (power, sums))
        vanished, finite = decide(layout, n, power, sizes)
        converged = jnp.where(active, vanished, converged)
        spent = spent + jnp.where(active, layout.doublings, 0)
        active = active & ~vanished & finite
        # A finished lane keeps its bits: its power is zeroed, so that all later doublings add exactly zero.
        power = jnp.where(layout.spread(active), power, 0)
        return power, sums, converged, active, spent, count + layout.doublings

    none = jnp.zeros(layout.largest(a.real).shape, jnp.int32)
    start = (a, sums, none > 0, none == 0, none + reach, jnp.asarray(reach, jnp.int32))
    _, sums, converged, _, spent, _ = lax.while_loop(lambda s: jnp.any(s[3]) & (s[5] < cap), step, start)
    for x in sums:  # a sum may overflow though the powers vanish
        converged = converged & (layout.largest(jnp.abs(x)) < jnp.inf)
    return PowerSums(tuple(jnp.where(layout.spread(converged), x, jnp.nan) for x in sums), converged, spent)


# Separately compiled functions, so that all traces of a solve (one task, batches, the transpose) share one trace of the
# kernel. This halves the time to trace a training loop.
@jax.jit
def _task_last(a: Array, *sums: Array) -> PowerSums:
    n = a.shape[-1]
    turned = iterate(TASK_LAST, n, *(x.transpose(1, 2, 0) for x in (a, *sums)), reach=_reach(n))
    return turned._replace(values=tuple(x.transpose(2, 0, 1) for x in turned.values))


@jax.jit
def _matrix(a: Array, *sums: Array) -> PowerSums:
    n = a.shape[-1]
    return iterate(MATRIX, n, a, *sums, reach=_reach(n))


def _reach(n: int) -> int:
    """Doublings until the power is n or more: what n states reach at all, they reach in n - 1 steps."""
    return (n - 1).bit_length()


def is_small(n: int) -> bool:
    """Whether the task-last layout is the faster one."""
    return n <= _LARGEST_SMALL


def _doubling_batch(a: Array, *sums: Array) -> PowerSums:
    """Arrays [tasks, n, n]."""
    if not is_small(a.shape[-1]):
        return _matrix(a, *sums)
    fitting = _BLOCK_BYTES // (a.dtype.itemsize * a.shape[-1] ** 2)
    size = min(128, 2 ** int(math.log2(fitting)))  # whole vector registers
    return lax.platform_dependent(a, *sums, cpu=partial(in_blocks, _task_last, size), default=_task_last)


_doubling = with_batch_rule(_matrix, _doubling_batch)


def doubling_sum(a: Array, q: Array) -> Solved:
    """Sum over k >= 0 of a^k q (a^H)^k, which solves x = a x a^H + q when the spectral radius of a is below one.

    Arguments: ``a`` and ``q`` of shape [n, n] and one floating dtype, real or complex; ``jax.vmap`` batches.
    Returns: the sum, a flag, and the number of doublings. Where the powers of ``a`` do not vanish the flag is false and
    the value NaN, in that lane only. It has no derivative rule: see
    :func:`jaxlqr.matrix_equations.stable_discrete_lyapunov`.
    """
    (value,), converged, doublings = _doubling(a, q)
    return Solved(value, converged, doublings)


def doubling_sums(a: Array, q: Array, s: Array) -> tuple[Array, Array]:
    """Sum over k >= 0 of a^k q (a^H)^k, and of (a^H)^k s a^k, by one sequence of powers; as :func:`doubling_sum`.

    Five products a doubling, where two sums by themselves take six.
    """
    return _doubling(a, q, s).values
