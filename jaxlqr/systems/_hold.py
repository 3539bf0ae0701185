r"""The zero-order hold of a linear system by doubling, in JAX and, always in float64, in NumPy.

The exponential of A h with h = dt / 2^s is a Taylor polynomial. It is squared s times. All operations are elementwise
products, sums and matrix products. Therefore a change of units by powers of two, of states, inputs or time, changes the
exponents of the result and no other bit. Two choices keep the digits where a plant has fast and slow parts and s is
large:

- A diagonal entry near one is stored as its difference from one. A slow mode that is stored as 1 - 1e-9 loses a digit
  for every factor of ten between the fastest time constant and dt.
- The integral of the exponential is doubled with it, and B stays outside. The unit of an input changes nothing.

The number s comes from the maximum cycle mean of A: the largest geometric mean of its absolute entries along a cycle.
No change of units alters it, and n times it bounds the spectral radius of the matrix of absolute values. A triangular
matrix has no cycles but its diagonal entries, so couplings in one direction cost no squarings.

Source: Higham, SIAM J. Matrix Anal. Appl. 26 (2005); Al-Mohy and Higham, the same 31 (2009), on overscaling; Karp,
Discrete Mathematics 23 (1978), for the cycle mean.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.core.products import matmul

# Terms of the polynomial, and squarings at least: the remainder is below 2^-70 of each entry where its path through the
# matrix is short. A long path, as through a chain of 30 integrators, is filled in by the squarings.
_TERMS, _LEAST = 16, 5
# Squarings at most: the norm of A dt is then beyond 2^127, all numbers of float32.
_MOST = 128


class Arithmetic(NamedTuple):
    """Operations that differ between JAX and NumPy: ``fold`` over numbers, ``walk`` (all iterates), ``repeat`` (a
    loop)."""

    xp: Any
    product: Callable[..., Any]
    fold: Callable[..., Any]
    walk: Callable[..., Any]
    repeat: Callable[..., Any]


class Held(NamedTuple):
    """exp(A h) as its diagonal [n], the same less one [n], and the other entries [n, n]; and the integral times B."""

    diagonal: Any
    less_one: Any
    others: Any
    inputs: Any


def _size(xp: Any, a: Any, walk: Callable[..., Any]) -> Any:
    """Logarithm to base two of the maximum cycle mean of abs(a): -inf without cycles.

    ``walk(step, start, count)`` stacks the ``count`` iterates of ``step`` after ``start``.
    """
    n = a.shape[0]
    weights = xp.log2(xp.abs(a))
    begin = xp.zeros(n, weights.dtype)
    # Row k holds the heaviest walk of k edges to each vertex, -inf where there is none.
    walks = xp.concatenate(
        [begin[None], walk(lambda ends: xp.max(ends[:, None] + weights, axis=0, initial=-xp.inf), begin, n)]
    )
    longest, lengths = walks[-1], n - xp.arange(n, dtype=weights.dtype)
    # Karp: a vertex with a walk of n edges has passed a cycle, whose mean is the least of these over k.
    means = (longest[None] - walks[:-1]) / lengths[:, None]
    least = xp.min(xp.where(walks[:-1] == -xp.inf, xp.inf, means), axis=0, initial=xp.inf)
    return xp.max(xp.where(longest == -xp.inf, -xp.inf, least), initial=-xp.inf)


def _squarings(ops: Arithmetic, a: Any, dt: Any) -> Any:
    """Number of squarings after which n times the size of A h is at most 1/2; beyond ``_MOST`` where none is enough."""
    xp = ops.xp
    # A thousandth keeps a size that is a power of two on its side, whatever the rounding of the logarithms.
    wanted = _size(xp, a, ops.walk) + xp.log2(xp.abs(dt)) + float(np.log2(max(a.shape[0], 1))) + 1 - 1e-3
    bounded = xp.where(wanted > _LEAST, xp.where(wanted < _MOST, wanted, _MOST + 1), _LEAST)  # NaN takes the least
    return xp.ceil(bounded).astype(np.int32)


def start(ops: Arithmetic, a: Any, b: Any, step: Any) -> Held:
    """The hold over a short time ``step``."""
    xp, product = ops.xp, ops.product
    eye = xp.eye(a.shape[0], dtype=a.dtype)
    x = a * step
    # The mean of the exponential over the step, the sum of x^k / (k + 1)!
    divisors = np.arange(_TERMS + 1, 1, -1, dtype=a.dtype)
    mean = ops.fold(lambda mean, divisor: eye + product(x, mean) / divisor, eye, divisors)
    less_one = product(x, mean)
    small = xp.diagonal(less_one)
    return Held(1 + small, small, less_one * (1 - eye), product(mean, b) * step)


def double(ops: Arithmetic, held: Held) -> Held:
    """The hold over twice the time."""
    xp, product = ops.xp, ops.product
    diagonal, less_one, others, inputs = held
    paths = product(others, others)
    through = xp.diagonal(paths)
    eye = xp.eye(len(through), dtype=others.dtype)
    # Each of the two forms of the diagonal is exact where the other one cancels.
    small = less_one * (2 + less_one) + through
    large = diagonal * diagonal + through
    near_one = xp.abs(small) <= 0.5
    return Held(
        xp.where(near_one, 1 + small, large),
        xp.where(near_one, small, large - 1),
        (paths + (diagonal[:, None] + diagonal[None, :]) * others) * (1 - eye),
        (1 + diagonal)[:, None] * inputs + product(others, inputs),
    )


def exponential(ops: Arithmetic, held: Held) -> Any:
    """exp(A h) [n, n]."""
    eye = ops.xp.eye(len(held.diagonal), dtype=held.others.dtype)
    return ops.xp.where(eye > 0, held.diagonal[:, None], held.others)


def by_doubling(ops: Arithmetic, a: Any, dt: Any, begin: Callable[..., Any], twice: Callable[..., Any]) -> Any:
    """``begin(h)``, a quantity over the short time h = dt / 2^s, and after s calls of ``twice`` that over dt.

    The number s is the one for ``a``. The result is NaN where no s is enough.
    """
    fixed = [lax.stop_gradient(leaf) if ops.xp is jnp else leaf for leaf in (a, dt)]
    count = _squarings(ops, *fixed)
    beyond = ops.xp.where(count > _MOST, np.nan, 1).astype(a.dtype)
    step = ops.xp.ldexp(dt, -ops.xp.minimum(count, _MOST)) * beyond
    return ops.repeat(twice, begin(step), count)


def _walk(step: Callable[..., Any], ends: np.ndarray, count: int) -> np.ndarray:
    walks = np.empty((count, *ends.shape))
    for k in range(count):
        walks[k] = ends = step(ends)
    return walks


def _repeat(twice: Callable[..., Any], state: Any, count: Any) -> Any:
    # A while loop has no reverse mode; a scan of conditions has. It stores the state before each doubling, no more.
    @jax.checkpoint
    def next_state(state: Any, number: Array) -> tuple[Any, None]:
        return lax.cond(number < count, twice, lambda state: state, state), None

    return lax.scan(next_state, state, jnp.arange(_MOST, dtype=count.dtype))[0]


ON_HOST = Arithmetic(
    xp=np,
    product=np.matmul,
    fold=lambda step, first, numbers: reduce(step, numbers, first),
    walk=_walk,
    repeat=lambda twice, state, count: reduce(lambda state, _: twice(state), range(int(min(count, _MOST))), state),
)
IN_JAX = Arithmetic(
    xp=jnp,
    product=matmul,
    fold=lambda step, first, numbers: lax.scan(lambda x, number: (step(x, number), None), first, jnp.asarray(numbers))[
        0
    ],
    walk=lambda step, ends, count: lax.scan(lambda ends, _: (step(ends),) * 2, ends, length=count)[1],
    repeat=_repeat,
)


def cycle_mean(a: np.ndarray) -> float:
    """Logarithm to base two of the largest geometric mean of the absolute entries along a cycle; -inf without cycles.

    No change of the units of the states alters it. It is at most the logarithm of the spectral radius of abs(a), and
    at least that less log2(n).
    """
    with np.errstate(all="ignore"):
        return float(_size(np, a, _walk))


def _hold(ops: Arithmetic, a: Any, b: Any, dt: Any) -> tuple[Any, Any]:
    result = by_doubling(ops, a, dt, partial(start, ops, a, b), partial(double, ops))
    return exponential(ops, result), result.inputs


def held_float64(a: np.ndarray, b: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """A_d [n, n] and B_d [n, m] in float64 whatever the precision of JAX; not finite where they overflow."""
    with np.errstate(all="ignore"):
        return _hold(ON_HOST, a, b, dt)


@jax.jit
def held(a: Array, b: Array, dt: Array) -> tuple[Array, Array]:
    """A_d [n, n] and B_d [n, m] of arrays of one precision, with derivatives of all orders in both modes."""
    return _hold(IN_JAX, a, b, dt)
