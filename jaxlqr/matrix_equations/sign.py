"""The matrix sign iteration, which does for stable continuous systems what doubling does for discrete ones.

Newton's iteration for the sign of a matrix a without eigenvalues on the imaginary axis,

    a <- (a / c + c a^-1) / 2,

converges to -I when all eigenvalues have negative real parts. The scale c = sqrt(|a| / |a^-1|) pulls eigenvalues of all
sizes towards the unit circle first; near the limit c = 1 gives quadratic convergence. Inverses and products only: it
runs on any device. The matrices are balanced first, so that pivots and norms do not depend on the units of the states.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxlqr.matrix_equations.batching import Solved
from jaxlqr.matrix_equations.products import adjoint, hermitian, matmul
from jaxlqr.matrix_equations.scaling import similarity, symplectic

# Scaling stops below this relative change: quadratic convergence has set in.
_UNSCALED_BELOW = 1e-2
# With scaling about log2(log2(largest/smallest |real part|)) + 5 steps; without it twice the digits is the most that
# bisection of the exponent range can take.
_CAP = 64


class _State(NamedTuple):
    a: Array
    x: Array
    change: Array
    before: Array  # the change of the step before
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
        # Row by row: a slow part of the system must not be judged by the size of a fast one.
        change = jnp.max(jnp.linalg.norm(new - state.a, axis=1) / jnp.linalg.norm(new, axis=1))
        return _State(new, x, change, state.change, state.steps + 1)

    def unfinished(state: _State) -> Array:
        stagnant = (state.change < _UNSCALED_BELOW) & (state.change > state.before / 2)  # at the level of rounding
        return (state.change > tolerance) & ~stagnant & (state.steps < _CAP)

    # Quadratic: this change leaves the square of itself, far below rounding also for an x whose rows differ in size by
    # many orders. NaN compares false and ends the loop.
    tolerance = float(real.eps) ** 0.75
    infinite = jnp.asarray(jnp.inf, real.dtype)
    return lax.while_loop(unfinished, step, _State(a, x, infinite, infinite, jnp.asarray(0, jnp.int32)))


def sign_lyapunov(a: Array, q: Array, margin: ArrayLike = 0) -> Solved:
    """Solve a x + x a^H = q when all eigenvalues of ``a`` have negative real parts; NaN otherwise.

    A ``margin`` moves each eigenvalue to the right by this part of the size of its row: a fast mode is no excuse for a
    slow one that is unstable.
    Source: Roberts, Int. J. Control 32 (1980); Benner, Quintana-Orti, Numer. Algorithms 20 (1999) for the scaling.
    """
    d = similarity(a, 0)[:, None]
    balanced = a * d.T / d
    moved = balanced - jnp.diag(margin * jnp.sum(jnp.abs(balanced), axis=1)).astype(a.dtype)
    final = _newton(moved, q / d / d.T)
    # The sign has eigenvalues +1 and -1 only, so any other limit than -I is at least 1 away from it.
    distance = jnp.linalg.norm(final.a + jnp.eye(a.shape[-1], dtype=a.dtype))
    converged = (distance < 0.1) & jnp.all(jnp.isfinite(final.x))
    return Solved(jnp.where(converged, -final.x / 2 * d * d.T, jnp.nan), converged, final.steps)


def sign_riccati(a: Array, g: Array, q: Array) -> Solved:
    """Solve a^H x + x a - x g x + q = 0 from the sign of the Hamiltonian matrix; NaN unless the iteration converges.

    The stable invariant subspace spanned by [I; x] is the null space of sign + I.
    Source: Roberts (1980); Byers, Linear Algebra Appl. 85 (1987).
    """
    n = a.shape[-1]
    d = symplectic(a, g, q, 0)[:, None]
    a, g, q = a * d.T / d, g / d / d.T, q * d * d.T
    final = _newton(jnp.block([[a, -g], [-q, -adjoint(a)]]), jnp.zeros((2 * n, 2 * n), a.dtype))
    shifted = final.a + jnp.eye(2 * n, dtype=a.dtype)
    basis, triangle = jnp.linalg.qr(shifted[:, n:])
    x = hermitian(-jnp.linalg.solve(triangle, matmul(adjoint(basis), shifted[:, :n])))
    converged = (final.change < _UNSCALED_BELOW) & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x / d / d.T, jnp.nan), converged, final.steps)
