"""The peak of the largest singular value over all frequencies, found from the eigenvalues of Hamiltonian matrices.

The gain exceeds a level g in intervals whose ends are the imaginary eigenvalues of a Hamiltonian matrix of g. A search
holds a lower bound g, the gain at a local peak. It computes the eigenvalues for a level just above. If an interval
above the level exists, a midpoint between two ends lies inside it and has a larger gain. Newton's iteration climbs from
there to the next local peak. Nearly always the first local peak is confirmed by the first eigenvalues.

No tolerance decides which eigenvalues are imaginary. The nearest ones to the axis are taken. Further ones only
split an interval, and each part of it still gives a larger gain.

Source: Bruinsma, Steinbuch, Syst. Control Lett. 14 (1990); Benner, Mitchell, SIAM J. Sci. Comput. 40 (2018) for the
climbing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.scaling import symplectic
from jaxlqr.systems._gain import Local, Matrices, end_of, largest_gain, local_gain

# Eigenvalues near the axis, and poles, whose frequencies are tried: each frequency costs one complex solve.
_TRIED, _POLES = 16, 8
# Local peaks that are climbed, and steps of a climb. Two of the former and six of the latter are usual.
_PEAKS, _STEPS = 30, 40


class Peak(NamedTuple):
    """Where the gain is largest; whether the system is stable; whether the search ended before its cap."""

    x: Array
    stable: Array
    converged: Array


def find_peak(system: Matrices, *, discrete: bool) -> Peak:
    """The x of the boundary, of :mod:`jaxlqr.systems._gain`, where the largest singular value is largest."""
    system = lax.stop_gradient(system)
    dtype = system.d.dtype
    yes = jnp.asarray(True)
    if not system.a.size:
        return Peak(jnp.zeros((), dtype), yes, yes)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in system]))
    poles = jnp.linalg.eigvals(jnp.where(finite, system.a, 0))
    stable = jnp.max(jnp.abs(poles)) < 1 if discrete else jnp.max(poles.real) < 0
    good = stable & finite
    # A lane without an answer searches a system whose answer is immediate.
    calm = jnp.zeros_like(system.a) if discrete else -jnp.eye(len(system.a), dtype=dtype)
    system = Matrices(*(jnp.where(good, leaf, 0) for leaf in system))
    system = system._replace(a=jnp.where(good, system.a, calm))
    flat = to_continuous(system) if discrete else system
    margin = 1 + float(jnp.finfo(dtype).eps) ** 0.625

    def look(xs: Array) -> tuple[Array, Array]:
        gains = jax.vmap(lambda x: largest_gain(system, x, discrete=discrete))(xs)
        gains = jnp.where(jnp.isnan(gains), -1, gains)
        best = jnp.argmax(gains)
        return xs[best], gains[best]

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        x, value = _climb(system, state[0], state[1], discrete=discrete)
        level = value * margin
        crossings = _between(_crossings(flat, jnp.where(level > 0, level, 1)))
        found, higher = look(2 * jnp.arctan(crossings) if discrete else crossings)
        improved = higher > level
        return jnp.where(improved, found, x), jnp.where(improved, higher, value), improved, state[3] + 1

    x, value = look(_first(poles, discrete=discrete))
    start = (x, value, good, jnp.asarray(0, jnp.int32))
    x, value, unfinished, _ = lax.while_loop(lambda s: s[2] & (s[3] < _PEAKS), step, start)
    # An end of the boundary wins a tie: a climb that would end there stops a little before.
    ends = jnp.asarray([0, end_of(discrete)], dtype)
    end, at_end = look(ends)
    x = jnp.where(at_end >= value * (1 - 8 * jnp.finfo(dtype).eps), end, x)
    return Peak(jnp.where(good, x, jnp.nan), stable & finite, ~unfinished & finite)


def _first(poles: Array, *, discrete: bool) -> Array:
    """Frequencies of the poles nearest to the boundary, and both ends of it: where a peak is likely."""
    size = jnp.abs(poles)
    distance = 1 - size if discrete else -poles.real / jnp.where(size > 0, size, 1)
    near = lax.top_k(-distance, min(_POLES, len(poles)))[1]
    ends = jnp.asarray([0, end_of(discrete)], size.dtype)
    own = (jnp.abs(jnp.angle(poles)),) if discrete else (jnp.abs(poles.imag), size)
    return jnp.concatenate([ends, *(x[near] for x in own)])


def to_continuous(system: Matrices) -> Matrices:
    """The continuous system with the same gains, by z = (1 + s) / (1 - s); exp(j x) becomes j tan(x / 2)."""
    a, b, c, d = system
    eye = jnp.eye(len(a), dtype=a.dtype)
    n = len(a)
    solved = jnp.linalg.solve(a + eye, jnp.concatenate([a - eye, b], axis=1))
    right = jnp.linalg.solve((a + eye).T, c.T).T
    root = jnp.asarray(2**0.5, a.dtype)
    return Matrices(solved[:, :n], root * solved[:, n:], root * right, d - matmul(c, solved[:, n:]))


def _crossings(system: Matrices, level: Array) -> Array:
    """Frequencies >= 0, sorted, of the eigenvalues of the Hamiltonian matrix of ``level`` nearest to the axis."""
    root = jnp.sqrt(level)
    a, b, c, d = system.a, system.b / root, system.c / root, system.d / level
    inputs = jnp.eye(d.shape[1], dtype=d.dtype) - matmul(d.T, d)
    outputs = jnp.eye(d.shape[0], dtype=d.dtype) - matmul(d, d.T)
    h = a + matmul(b, jnp.linalg.solve(inputs, matmul(d.T, c)))
    g = matmul(b, jnp.linalg.solve(inputs, b.T))
    q = matmul(c.T, jnp.linalg.solve(outputs, c))
    t = symplectic(h, g, q, 0)[:, None]
    h, g, q = h * t.T / t, g / t / t.T, q * t * t.T
    hamiltonian = jnp.block([[h, g], [-q, -h.T]])
    finite = jnp.all(jnp.isfinite(hamiltonian))
    values = jnp.linalg.eigvals(jnp.where(finite, hamiltonian, 0))
    size = jnp.abs(values)
    distance = jnp.where(values.imag < 0, jnp.inf, jnp.abs(values.real) / jnp.where(size > 0, size, 1))
    near = lax.top_k(-distance, min(_TRIED, len(a)))[1]
    return jnp.sort(jnp.abs(values.imag[near]))


def _between(ends: Array) -> Array:
    """Midpoints of neighbours, and one point before and behind all of them."""
    edges = jnp.concatenate([jnp.zeros_like(ends[:1]), ends, 2 * ends[-1:]])
    return (edges[1:] + edges[:-1]) / 2


def _climb(system: Matrices, x: Array, value: Array, *, discrete: bool) -> tuple[Array, Array]:
    """A local peak near ``x``, by Newton's iteration on the slope, which never goes down; ends stay where they are."""
    eps = float(jnp.finfo(x.dtype).eps)
    end = end_of(discrete)

    def at(x: Array) -> Local:
        return local_gain(system, jnp.where(jnp.isfinite(x), x, 1), discrete=discrete)

    def newton(local: Local) -> Array:
        bent = local.curvature < 0
        return jnp.where(bent, -local.slope / jnp.where(bent, local.curvature, 1), 0)

    def step(state: tuple[Array, Local, Array, Array, Array]) -> tuple[Array, Local, Array, Array, Array]:
        x, local, fraction, _, steps = state
        move = fraction * newton(local)
        new = jnp.clip(jnp.abs(x + move), 0, end)
        there = at(new)
        width = jnp.sqrt(local.value / jnp.where(local.curvature < 0, -local.curvature, 1))
        # So near to the peak, values differ by rounding only, and only the slope locates it.
        up = (there.value >= local.value) | (jnp.abs(move) <= 1e-3 * width)
        # The next move is the square of this one, in units of the width of the peak.
        last = (jnp.abs(move) <= 2 * eps * x) | (jnp.abs(move) <= eps**0.75 * width) | ~(fraction > 1e-6)
        local = jax.tree.map(lambda a, b: jnp.where(up, a, b), there, local)
        return jnp.where(up, new, x), local, jnp.where(up, 1, fraction / 4), last, steps + 1

    inside = (x > 0) & (x < end)
    first = at(x)
    start = (x, first, jnp.ones_like(x), ~inside, jnp.asarray(0, jnp.int32))
    found, local, _, _, _ = lax.while_loop(lambda s: ~s[3] & (s[4] < _STEPS), step, start)
    return jnp.where(inside, found, x), jnp.where(inside, jnp.maximum(local.value, value), value)
