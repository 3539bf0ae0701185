r"""The transfer matrix on the boundary of stability, and its largest singular value, differentiable to any order.

The boundary is the imaginary axis, s = j x with x from 0 to infinity, or the unit circle, z = exp(j x) with x from 0 to
pi. The arguments are the four real matrices of a system; ``discrete`` selects the boundary.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jax import Array, lax

from jaxlqr.core.products import adjoint, matmul


class Matrices(NamedTuple):
    """A [n, n], B [n, m], C [p, n], D [p, m] of a system."""

    a: Array
    b: Array
    c: Array
    d: Array


def end_of(discrete: bool) -> float:
    """The last x of the boundary."""
    return math.pi if discrete else math.inf


def as_complex(array: Array) -> Array:
    """The real array as a complex one of the same precision; an explicit conversion, which strict promotion allows."""
    return lax.complex(array, jnp.zeros_like(array))


def point(x: Array, *, discrete: bool) -> Array:
    """The point of the boundary at ``x``, a complex scalar."""
    return lax.complex(jnp.cos(x), jnp.sin(x)) if discrete else lax.complex(jnp.zeros_like(x), x)


def transfer(system: Matrices, x: Array, *, discrete: bool) -> Array:
    """D + C (s I - A)^-1 B, complex [p, m], at the point s of the boundary; D at infinity."""
    a, b, c, d = map(as_complex, system)
    if not a.size:
        return d
    finite = jnp.isfinite(x)
    s = point(jnp.where(finite, x, 1), discrete=discrete)
    response = matmul(c, jnp.linalg.solve(s * jnp.eye(len(a), dtype=a.dtype) - a, b))
    return d + jnp.where(finite, response, 0)


def largest_gain(system: Matrices, x: Array, *, discrete: bool) -> Array:
    """The largest singular value of the transfer matrix at ``x``; not differentiable twice, see :func:`gain`."""
    return jnp.linalg.svd(transfer(system, x, discrete=discrete), compute_uv=False)[0]


class Local(NamedTuple):
    """The largest singular value as a function of x, with its first two derivatives."""

    value: Array
    slope: Array
    curvature: Array


def _embedded(g: Array) -> Array:
    """[[0, g], [g^H, 0]], whose eigenvalues are plus and minus the singular values of ``g``, and zeros."""
    p, m = g.shape
    zero = jnp.zeros
    return jnp.block([[zero((p, p), g.dtype), g], [adjoint(g), zero((m, m), g.dtype)]])


def local_gain(system: Matrices, x: Array, *, discrete: bool) -> Local:
    """Value and derivatives at a finite ``x`` in closed form, from one factorisation of s I - A.

    With R = (s I - A)^-1, G' = -C R^2 B s' and G'' = 2 C R^3 B s'^2 - C R^2 B s''. For an eigenvalue of the embedding M
    with eigenvector w, the second derivative is w^H M'' w + 2 sum_k |w_k^H M' w|^2 / (value - value_k).
    """
    a, b, c, d = map(as_complex, system)
    s = point(x, discrete=discrete)
    j = jnp.asarray(1j, s.dtype)
    first, second = (j * s, -s) if discrete else (j, jnp.zeros_like(s))
    factors = jax.scipy.linalg.lu_factor(s * jnp.eye(len(a), dtype=a.dtype) - a)
    r1 = jax.scipy.linalg.lu_solve(factors, b)
    r2 = jax.scipy.linalg.lu_solve(factors, r1)
    r3 = jax.scipy.linalg.lu_solve(factors, r2)
    g1 = -matmul(c, r2) * first
    g2 = 2 * matmul(c, r3) * first**2 - matmul(c, r2) * second
    values, vectors = jnp.linalg.eigh(_embedded(d + matmul(c, r1)))
    w = vectors[:, -1]
    image = jnp.matmul(_embedded(g1), w, precision=lax.Precision.HIGHEST)
    parts = jnp.abs(jnp.matmul(adjoint(vectors), image, precision=lax.Precision.HIGHEST)[:-1]) ** 2
    gaps = values[-1] - values[:-1]
    bend = jnp.real(jnp.vdot(w, jnp.matmul(_embedded(g2), w, precision=lax.Precision.HIGHEST)))
    turned = 2 * jnp.sum(jnp.where(gaps > 0, parts / jnp.where(gaps > 0, gaps, 1), 0))
    return Local(values[-1], jnp.real(jnp.vdot(w, image)), bend + turned)


@jax.custom_jvp
def _leading(g: Array) -> tuple[Array, Array]:
    """The largest singular value s of ``g``, and [u; v] / sqrt(2), complex [p + m], of its singular vectors."""
    u, s, vh = jnp.linalg.svd(g, full_matrices=False)
    return s[0], jnp.concatenate([u[:, 0], vh[0].conj()]) * jnp.asarray(0.5**0.5, g.dtype)


# With M the embedding of g and M w = s w: ds = w^H dM w and (s I - M) dw = (I - w w^H) dM w. The operator is singular
# along w only, if s is simple: s w w^H is added, which changes nothing across w. The phase of w stays where it is.
@_leading.defjvp
def _(primals, tangents):
    (g,), (dg,) = primals, tangents
    s, w = _leading(g)
    image = jnp.matmul(_embedded(dg), w, precision=lax.Precision.HIGHEST)
    along = jnp.vdot(w, image)
    scale = as_complex(jnp.where(s > 0, s, 1))
    identity = jnp.eye(len(w), dtype=g.dtype)
    operator = scale * (identity + jnp.outer(w, w.conj())) - _embedded(g)
    return (s, w), (jnp.real(along), jnp.linalg.solve(operator, image - w * along))


def gain(system: Matrices, x: Array, *, discrete: bool) -> Array:
    """The largest singular value of the transfer matrix at ``x``, differentiable to any order where it is simple."""
    return _leading(transfer(system, x, discrete=discrete))[0]


def gain_slope(discrete: bool, system: Matrices, x: Array) -> Array:
    """The derivative of :func:`gain` with respect to ``x``: zero at a peak."""
    return jax.jvp(lambda t: gain(system, t, discrete=discrete), (x,), (jnp.ones_like(x),))[1]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def follow(residual, system: Matrices, x: Array, fixed: Array) -> Array:
    """``x``, where residual(system, x) = 0, with the derivative of the root by the implicit function theorem.

    Differentiate residual(system, x(system)) = 0: dx = -(d residual / d system) / (d residual / d x). Where ``fixed``,
    the root does not move.
    """
    return x


@follow.defjvp
def _(residual, primals, tangents):
    system, x, fixed = primals
    at = follow(residual, system, x, fixed)
    inside = jnp.where(fixed, 1, at)
    change = jax.jvp(lambda matrices: residual(matrices, inside), (system,), (tangents[0],))[1]
    slope = jax.jvp(lambda t: residual(system, t), (inside,), (jnp.ones_like(x),))[1]
    moves = ~fixed & (slope != 0)
    return at, jnp.where(moves, -change / jnp.where(moves, slope, 1), 0)
