"""The stable part of a pencil a z' + b z = 0 by inverse-free doubling: QR factorisations alone, no eigenvalues.

With x = -b and y = a the pencil is y z' = x z. The complete QR factorisation of [y; -x] has the orthogonal factor
[[q11, q12], [q21, q22]], whose last columns give q12^H y = q22^H x. The pair

    x <- q12^H x,    y <- q22^H y

therefore has the map y^-1 x squared, whether or not y is invertible, and its entries stay bounded. After k steps an
eigenvalue l of y^-1 x has become l^(2^k): x vanishes on the stable subspace, and (x + y)^-1 y tends to the projector
onto the stable subspace, along the unstable one. Its trace is the number of stable eigenvalues.

Source: Malyshev, Linear Algebra Appl. 188 (1993); Bai, Demmel, Gu, Numer. Math. 76 (1997).
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import adjoint, matmul
from jaxlqr.matrix_equations.scaling import equilibrated


class Split(NamedTuple):
    """A pencil [n, n] split at the unit circle."""

    annihilator: Array  # [n, n], whose null space is the stable subspace
    num_stable: Array  # the number of stable eigenvalues, a float near an integer
    converged: Array  # false where an eigenvalue is on the circle, to rounding, or the pencil is singular
    steps: Array


def split_at_circle(a: Array, b: Array) -> Split:
    """The eigenvalues of a z' + b z = 0 inside the unit circle, and what vanishes on their subspace; finite arrays."""
    n = len(a)
    real = jnp.finfo(a.dtype)
    rows, columns = (scale.astype(a.dtype) for scale in equilibrated(jnp.abs(a) + jnp.abs(b)))
    scale = rows[:, None] * columns[None, :]
    cap = math.ceil(-math.log2(float(real.eps))) + 6
    # Each step squares the distance of the projector's eigenvalues from 0 or 1.
    enough = math.sqrt(float(real.eps)) / 16

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, y, *_, steps = state
        q = jnp.linalg.qr(jnp.concatenate([y, -x]), mode="complete")[0]
        x, y = matmul(adjoint(q[:n, n:]), x), matmul(adjoint(q[n:, n:]), y)
        projector = jnp.linalg.solve(x + y, y)
        excess = jnp.linalg.norm(matmul(projector, projector) - projector)
        distance = excess / jnp.maximum(jnp.linalg.norm(projector), 1)
        return x, y, jnp.trace(projector).real, distance, steps + 1

    def unfinished(state: tuple[Array, ...]) -> Array:
        *_, distance, steps = state
        return ~(distance <= enough) & (steps < cap)

    start = (-b * scale, a * scale, jnp.zeros((), real.dtype), jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0))
    state = lax.while_loop(unfinished, step, start)
    converged = state[3] <= enough
    x, _, num_stable, _, steps = step(state)
    return Split(x / columns[None, :], num_stable, converged, steps.astype(jnp.int32))
