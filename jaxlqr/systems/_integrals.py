r"""Gramians over a finite time by doubling, without the exponential of -A, which overflows where A is stiff.

The integral W(h) of exp(A' t) S exp(A t) over the short time h = dt / 2^k is a Taylor polynomial. It is doubled k
times, with the exponential of :mod:`jaxlqr.systems._hold`:

.. math:: W(2h) = W(h) + e^{A^\top h}\, W(h)\, e^{A h} .

All terms are positive semidefinite, so nothing cancels: the error of an entry is a few rounding units of
:math:`\sqrt{W_{ii} W_{jj}}`, which no change of units alters. Van Loan's formula has exp(-A dt) in one block and loses
all digits, or overflows, once dt is forty times the fastest time constant.

Source: Van Loan, IEEE Trans. Automat. Control 23 (1978); the doubling is from Smith, SIAM J. Appl. Math. 16 (1968).
"""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxlqr.systems._hold import IN_JAX, ON_HOST, Arithmetic, Held, by_doubling, double, exponential, start

# The Lyapunov operator has at most twice the size of A h, one: 1 / 23! is below 2^-70.
_TERMS = 22


def _begin(ops: Arithmetic, a: Any, s: Any, step: Any) -> tuple[Held, Any]:
    x, first = a * step, (s + s.T) / 2 * step

    def add(state: tuple[Any, Any], divisor: Any) -> tuple[Any, Any]:
        term, total = state
        half = ops.product(x.T, term) / divisor
        return half + half.T, total + half + half.T

    divisors = np.arange(2, _TERMS + 2, dtype=a.dtype)
    return start(ops, a, a[:, :0], step), ops.fold(add, (first, first), divisors)[1]


def _twice(ops: Arithmetic, state: tuple[Held, Any]) -> tuple[Held, Any]:
    held, total = state
    exp = exponential(ops, held)
    moved = ops.product(exp.T, ops.product(total, exp))
    return double(ops, held), total + (moved + moved.T) / 2


def _integrated(ops: Arithmetic, a: Any, s: Any, dt: Any) -> tuple[Any, Any]:
    held, total = by_doubling(ops, a, dt, partial(_begin, ops, a, s), partial(_twice, ops))
    # A fused multiplication and addition rounds two mirrored entries differently.
    return exponential(ops, held), (total + total.T) / 2


@jax.jit
def integrated(a: Array, s: Array, dt: Array) -> tuple[Array, Array]:
    """exp(a dt) [n, n], and the integral of exp(a' t) s exp(a t) over [0, dt], [n, n], symmetric."""
    return _integrated(IN_JAX, a, s, dt)


def integrated_float64(a: np.ndarray, s: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """:func:`integrated` in float64 whatever the precision of JAX; not finite where it overflows."""
    with np.errstate(all="ignore"):
        return _integrated(ON_HOST, a, s, dt)
