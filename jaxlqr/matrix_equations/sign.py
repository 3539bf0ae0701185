"""The matrix sign iteration, which does for stable continuous systems what doubling does for discrete ones.

Newton's iteration for the sign of a matrix a without eigenvalues on the imaginary axis,

    a <- (a / c + c a^-1) / 2,

converges to -I when all eigenvalues have negative real parts. The scale c = sqrt(|a| / |a^-1|) pulls eigenvalues of all
sizes towards the unit circle first; near the limit c = 1 gives quadratic convergence. Inverses and products only: it
runs on any device. The matrices are balanced first, so that pivots and norms do not depend on the units of the states.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxlqr.core.products import adjoint, hermitian, matmul
from jaxlqr.matrix_equations.attempts import Solved
from jaxlqr.matrix_equations.scaling import similarity, symplectic

# Scaling stops below this relative change: quadratic convergence has set in.
_UNSCALED_BELOW = 1e-2
# With scaling about log2(log2(largest/smallest |real part|)) + 5 steps; without it twice the digits is the most that
# bisection of the exponent range can take.
_CAP = 64


class _State(NamedTuple):
    a: Array
    carried: Any
    change: Array
    before: Array  # the change of the step before
    steps: Array


class Sign(NamedTuple):
    """The sign of a matrix, what was carried along, whether the iteration settled, and its steps."""

    value: Array
    carried: Any
    settled: Array
    steps: Array

    def is_stable(self) -> Array:
        """Whether all eigenvalues had negative real parts, and what was carried is finite."""
        # The sign has eigenvalues +1 and -1 only, so any other limit than -I is at least 1 away from it.
        distance = jnp.linalg.norm(self.value + jnp.eye(self.value.shape[-1], dtype=self.value.dtype))
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(self.carried)]
        return (distance < 0.1) & jnp.all(jnp.stack(finite))


def sign(a: Array, carried: Any, advance: Callable[[Any, Array, Array], Any]) -> Sign:
    """Sign of ``a``; ``advance(carried, a^-1, c)`` advances the carried values by one step."""
    real = jnp.finfo(a.dtype)

    def step(state: _State) -> _State:
        inverse = jnp.linalg.inv(state.a)
        scale = jnp.sqrt(jnp.linalg.norm(state.a) / jnp.linalg.norm(inverse))
        scale = jnp.where(state.change < _UNSCALED_BELOW, 1, scale).astype(real.dtype)
        new = (state.a / scale + scale * inverse) / 2
        # Row by row: a slow part of the system must not be judged by the size of a fast one.
        change = jnp.max(jnp.linalg.norm(new - state.a, axis=1) / jnp.linalg.norm(new, axis=1))
        return _State(new, advance(state.carried, inverse, scale), change, state.change, state.steps + 1)

    def unfinished(state: _State) -> Array:
        stagnant = (state.change < _UNSCALED_BELOW) & (state.change > state.before / 2)  # at the level of rounding
        return (state.change > tolerance) & ~stagnant & (state.steps < _CAP)

    # Convergence is quadratic: after this change the error is its square, far below rounding, also for carried rows
    # that differ in size by many orders. NaN compares false and ends the loop.
    tolerance = float(real.eps) ** 0.75
    infinite = jnp.asarray(jnp.inf, real.dtype)
    start = _State(a, carried, infinite, infinite, jnp.asarray(0, jnp.int32))
    final = lax.while_loop(unfinished, step, start)
    return Sign(final.a, final.carried, final.change < _UNSCALED_BELOW, final.steps)


def advanced(x: Array, inverse: Array, scale: Array) -> Array:
    """(x / c + c a^-1 x a^-H) / 2: from x = q it converges to -2 times the solution of a x + x a^H = q."""
    return (x / scale + scale * matmul(inverse, x, adjoint(inverse))) / 2


def sign_lyapunov(a: Array, q: Array, margin: ArrayLike = 0) -> Solved:
    """Solve a x + x a^H = q when all eigenvalues of ``a`` have negative real parts; NaN otherwise.

    A positive ``margin`` subtracts this part of the sum of its row from each diagonal entry of the balanced ``a``. The
    margin of a slow mode is then small beside that mode, whatever the speed of the others.
    Source: Roberts, Int. J. Control 32 (1980); Benner, Quintana-Orti, Numer. Algorithms 20 (1999) for the scaling.
    """
    d = similarity(a, 0)[:, None]
    balanced = a * d.T / d
    moved = balanced - jnp.diag(margin * jnp.sum(jnp.abs(balanced), axis=1)).astype(a.dtype)
    found = sign(moved, q / d / d.T, advanced)
    stable = found.is_stable()
    return Solved(jnp.where(stable, -found.carried / 2 * d * d.T, jnp.nan), stable, found.steps)


def sign_riccati(a: Array, g: Array, q: Array) -> Solved:
    """Solve a^H x + x a - x g x + q = 0 from the sign of the Hamiltonian matrix; NaN unless the iteration converges.

    The stable invariant subspace spanned by [I; x] is the null space of sign + I.
    Source: Roberts (1980); Byers, Linear Algebra Appl. 85 (1987).
    """
    n = a.shape[-1]
    d = symplectic(a, g, q, 0)[:, None]
    a, g, q = a * d.T / d, g / d / d.T, q * d * d.T
    found = sign(jnp.block([[a, -g], [-q, -adjoint(a)]]), (), lambda nothing, *_: nothing)
    shifted = found.value + jnp.eye(2 * n, dtype=a.dtype)
    basis, triangle = jnp.linalg.qr(shifted[:, n:])
    x = hermitian(-jnp.linalg.solve(triangle, matmul(adjoint(basis), shifted[:, :n])))
    converged = found.settled & jnp.all(jnp.isfinite(x))
    return Solved(jnp.where(converged, x / d / d.T, jnp.nan), converged, found.steps)
