"""The matrix sign iteration, which does for stable continuous systems what doubling does for discrete ones.

Newton's iteration for the sign of a matrix a without eigenvalues on the imaginary axis,

    a <- (a / c + c a^-1) / 2,

converges to -I when all eigenvalues have negative real parts. The scale c = sqrt(|a| / |a^-1|) pulls eigenvalues of all
sizes towards the unit circle first; near the limit c = 1 gives quadratic convergence. Inverses and products only: it
runs on any device.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.matrix_equations.batching import Solved
from jaxlqr.matrix_equations.products import adjoint, hermitian, matmul

# Scaling stops below this relative change: quadratic convergence has set in.
_UNSCALED_BELOW = 1e-2
# With scaling about log2(log2(largest/smallest |real part|)) + 5 steps; without it twice the digits is the most that
# bisection of the exponent range can take.
_CAP = 64


class _State(NamedTuple):
    a: Array
    x: Array
    change: Array
    steps: Array


def _newton(a: Array, x: Array) -> _State:
    """Sign of ``a``, and ``x`` carried along as x <- (x / c + c a^-1 x a^-H) / 2."""
    real = jnp.finfo(a.dtype)

    def step(state: _State) -> _State:
        inverse = jnp.linalg.inv(state.a)
        scale = jnp.sqrt(jnp.linalg.norm(state.a) / jnp.linalg.norm(inverse))
        scale = jnp.where(state.change < _UNSCALED_BELOW, 1, scale).astype(real.dtype)
        new = (state.a / scale + scale * inverse) / 2
        x = (state.x / scale + scale * matmul(inverse, state.x, adjoint(inverse))) / 2
        change = jnp.linalg.norm(new - state.a) / jnp.linalg.norm(new)
        return _State(new, x, change, state.steps + 1)

    # Quadratic: a change of sqrt(eps) leaves an error of eps. NaN compares false and ends the loop.
    tolerance = math.sqrt(float(real.eps))
    start = _State(a, x, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    return lax.while_loop(lambda s: (s.change > tolerance) & (s.steps < _CAP), step, start)


def sign_lyapunov(a: Array, q: Array) -> Solved:
    """Solve a x + x a^H = q when all eigenvalues of ``a`` have negative real parts; NaN otherwise.

    Source: Roberts, Int. J. Control 32 (1980); Benner, Quintana-Orti, Numer. Algorithms 20 (1999) for the scaling.
    """
    final = _newton(a, q)
    # The sign has eigenvalues +1 and -1 only, so any other limit than -I is at least 1 away from it.
    distance = jnp.linalg.norm(final.a + jnp.eye(a.shape[-1], dtype=a.dtype))
    converged = (distance < 0.1) & jnp.all(jnp.isfinite(final.x))
    return Solved(jnp.where(converged, -final.x / 2, jnp.nan), converged, final.steps)


def sign_riccati(a: Array, g: Array, q: Array) -> Solved:
    """Solve a^H x + x a - x g x + q = 0 from the sign of the Hamiltonian matrix; NaN unless the iteration converges.

    The stable invariant subspace spanned by [I; x] is the null space of sign + I.
    Source: Roberts (1980); Byers, Linear Algebra Appl. 85 (1987).
    """
    n = a.shape[-1]
    # x = scale * y balances g and q, which differ by many orders in units that do not fit each other.
    scale = jnp.sqrt(jnp.linalg.norm(q) / jnp.linalg.norm(g))
    scale = jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1).astype(scale.dtype)
    hamiltonian = jnp.block([[a, -g * scale], [-q / scale, -adjoint(a)]])
    final = _newton(hamiltonian, jnp.zeros((2 * n, 2 * n), a.dtype))
    shifted = final.a + jnp.eye(2 * n, dtype=a.dtype)
    basis, triangle = jnp.linalg.qr(shifted[:, n:])
    y = -jnp.linalg.solve(triangle, matmul(adjoint(basis), shifted[:, :n]))
    x = scale * hermitian(y)
    converged = (final.change < _UNSCALED_BELOW) & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x, jnp.nan), converged, final.steps)
