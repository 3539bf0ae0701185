"""Where a loop with one input and one output crosses the unit circle or the negative real axis.

On the imaginary axis L(-s) is the conjugate of L(s). So the crossings are zeros of L(s) L(-s) - 1 and of L(s) - L(-s),
two systems of order 2 n. With w = 1 / (s - s0) for a real s0 each of them has the feedthrough F(s0), which is not zero,
and its zeros are the eigenvalues of one matrix. The eigenvalues nearest to the axis start Newton's iteration for the
logarithm of the loop. Its real part is zero on the unit circle; on the negative axis the phase of -L is zero.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.systems._gain import Matrices, as_complex, end_of, follow, transfer
from jaxlqr.systems._peak import to_continuous

# Zeros near the axis that are refined, and steps of Newton's iteration: it starts at an eigenvalue, next to the root.
_TRIED, _STEPS = 16, 8
UNIT, NEGATIVE = "unit", "negative"


def loop_value(loop: Matrices, x: Array, *, discrete: bool) -> Array:
    """The complex value of the loop at the point ``x`` of the boundary, a scalar."""
    return transfer(loop, x, discrete=discrete)[0, 0]


def _residual(kind: str, discrete: bool, loop: Matrices, x: Array) -> Array:
    """Logarithm of the size, or phase of -L in radians: zero at a crossing."""
    value = loop_value(loop, x, discrete=discrete)
    return jnp.log(jnp.abs(value)) if kind == UNIT else jnp.arctan2(-value.imag, -value.real)


class Crossings(NamedTuple):
    """Candidates x, which of them are crossings, and the values of the loop there; nothing is differentiable."""

    xs: Array
    there: Array
    values: Array


def find_crossings(loop: Matrices, kind: str, *, discrete: bool) -> Crossings:
    """The crossings of the loop: all of a small one, and those nearest to the axis otherwise."""
    loop = lax.stop_gradient(loop)
    xs, there = _crossings(loop, kind, discrete=discrete)
    return Crossings(xs, there, jax.vmap(lambda x: loop_value(loop, x, discrete=discrete))(xs))


def nearest(crossings: Crossings, ranks: Array, loop: Matrices, kind: str, *, discrete: bool) -> tuple[Array, Array]:
    """The x of the crossing with the smallest of ``ranks``, differentiable, and whether there is any crossing.

    The x is 1 where there is none.
    """
    ranks = jnp.where(crossings.there & ~jnp.isnan(ranks), ranks, jnp.inf)
    best = jnp.argmin(ranks)
    found = crossings.there[best]
    x = jnp.where(found, crossings.xs[best], 1)
    fixed = ~found | (x <= 0) | (x >= jnp.asarray(end_of(discrete), x.dtype))
    return follow(partial(_residual, kind, discrete), loop, x, fixed), found


def _crossings(loop: Matrices, kind: str, *, discrete: bool) -> tuple[Array, Array]:
    """Candidates x, and which of them are crossings."""
    dtype = loop.d.dtype
    ends = jnp.asarray([0, end_of(discrete)], dtype)
    at_ends = jax.vmap(lambda x: loop_value(loop, x, discrete=discrete).real)(ends)
    real = jnp.isfinite(at_ends) & (at_ends < 0) & (kind == NEGATIVE)
    if not loop.a.size:
        return ends, real
    starts = _near_axis(to_continuous(loop) if discrete else loop, kind)
    if discrete:
        starts = 2 * jnp.arctan(starts)
    xs, moves, rest = jax.vmap(lambda x: _refined(loop, x, kind, discrete=discrete))(starts)
    small = float(jnp.finfo(dtype).eps) ** 0.4
    # A loop that tends to the negative axis as x grows has a small phase there, but no crossing: its moves stay large.
    inside = (xs > 0) & (xs < ends[1])
    there = (jnp.abs(moves) <= small * xs) & (jnp.abs(rest) <= small) & inside
    return jnp.concatenate([ends, xs]), jnp.concatenate([real, there])


def _refined(loop: Matrices, x: Array, kind: str, *, discrete: bool) -> tuple[Array, Array, Array]:
    """The root near ``x``, the last move to it and the residual before that move."""

    def step(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x = state[0]
        value, slope = jax.jvp(partial(_residual, kind, discrete, loop), (x,), (jnp.ones_like(x),))
        move = -value / slope
        move = jnp.clip(move, -x / 4, x / 4)  # never to the other side of zero
        return x + move, move, value

    return lax.fori_loop(0, _STEPS, step, (x, x, x))


def _near_axis(loop: Matrices, kind: str) -> Array:
    """Frequencies of those zeros of L(s) L(-s) - 1, or of L(s) - L(-s), that are nearest to the imaginary axis."""
    a, b, c, d = loop
    zero = jnp.zeros_like(a)
    if kind == UNIT:
        double = jnp.block([[a, zero], [matmul(b, c), -a]])
        inputs = jnp.concatenate([b, matmul(b, d)])
        outputs = jnp.concatenate([matmul(d, c), -c], axis=1)
        direct = (d * d)[0, 0] - 1
    else:
        double = jnp.block([[a, zero], [zero, -a]])
        inputs, outputs = jnp.concatenate([b, b]), jnp.concatenate([c, c], axis=1)
        direct = jnp.zeros_like(d[0, 0])
    shift = _typical(a)
    inverse = jnp.linalg.inv(double - shift * jnp.eye(len(double), dtype=a.dtype))
    left, right = matmul(inverse, inputs), matmul(outputs, inverse)
    value = direct - matmul(outputs, left)[0, 0]
    moved = inverse + matmul(left, right) / jnp.where(value == 0, 1, value)
    finite = jnp.all(jnp.isfinite(moved))
    w = jnp.linalg.eigvals(jnp.where(finite, moved, 0))
    s = as_complex(shift) + 1 / jnp.where(w == 0, 1, w)
    distance = jnp.where((s.imag <= 0) | (w == 0), jnp.inf, jnp.abs(s.real) / jnp.abs(s))
    near = lax.top_k(-distance, min(_TRIED, len(s)))[1]
    return jnp.abs(s.imag[near])


def _typical(a: Array) -> Array:
    """A frequency between the frequencies of the poles; with probability one it is none of them."""
    size = jnp.abs(jnp.linalg.eigvals(jnp.where(jnp.all(jnp.isfinite(a)), a, 0)))
    there = size > jnp.finfo(a.dtype).eps * jnp.max(size)
    logs = jnp.where(there, jnp.log(jnp.where(there, size, 1)), 0)
    mean = jnp.sum(logs) / jnp.maximum(jnp.sum(there.astype(size.dtype)), 1)
    return 1.3719 * jnp.exp(mean).astype(a.dtype)
