"""Steps of the two algebraic Riccati equations in the loop of :mod:`jaxlqr.matrix_equations.riccati_loop`.

Units: the states are balanced first, by powers of two, and the solution is scaled back. Every test compares an entry
(i, j) with sqrt(x_ii x_jj), so a fast mode of large weight does not decide about a slow mode of small weight.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import lu_factor

from jaxlqr.core.products import adjoint, hermitian, matmul
from jaxlqr.matrix_equations.attempts import Solved, Solver
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.riccati_loop import Equation, Shifted, solver
from jaxlqr.matrix_equations.scaling import covariance_scale, relative, scaled_back, scaled_solve, symplectic
from jaxlqr.matrix_equations.sign import sign_lyapunov, sign_riccati


class _Doubling(NamedTuple):
    a: Array  # A_k
    g: Array  # G_k
    h: Array  # H_k, which tends to the solution
    change: Array  # of H_k, relative
    steps: Array


def structured_doubling(a: Array, g: Array, q: Array, corrected: Array) -> Solved:
    """Solve x = a^H x (I + g x)^-1 a + q, by doubling that keeps g and q Hermitian.

    Changes below the rounding of ``corrected`` do not matter, because x is added to it later. Source: Chu, Fan, Lin,
    Wang, Int. J. Control 77 (2004).
    """
    # A <- A W^-1 A,  G <- G + A W^-1 G A^H,  H <- H + A^H H W^-1 A,  with W = I + G H: the closed loop is squared in
    # each step, so that the error after k steps is its spectral radius to the power 2^(k+1).
    identity = jnp.eye(a.shape[0], dtype=a.dtype)
    real = jnp.finfo(a.dtype)
    cap = math.ceil(-math.log2(float(real.eps))) + 6
    # The error is the square of the last change: at sqrt(eps) it is at rounding.
    tolerance = math.sqrt(float(real.eps))
    least = tolerance * covariance_scale(corrected)

    def step(state: _Doubling) -> _Doubling:
        w = identity + matmul(state.g, state.h)
        solved = jnp.linalg.solve(w, jnp.concatenate([state.a, state.g], axis=1))
        w_a, w_g = jnp.split(solved, 2, axis=1)
        g = hermitian(state.g + matmul(state.a, w_g, adjoint(state.a)))
        h = hermitian(state.h + matmul(adjoint(state.a), state.h, w_a))
        change = relative(h - state.h, jnp.maximum(covariance_scale(h), least))
        return _Doubling(matmul(state.a, w_a), g, h, change, state.steps + 1)

    def unfinished(state: _Doubling) -> Array:
        # NaN compares false, so a lane without a solution ends the loop instead of holding up its batch.
        return (state.change > tolerance) & (state.steps < cap)

    start = _Doubling(a, g, q, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    final = lax.while_loop(unfinished, step, start)
    # Without a solution H_k may grow for ever, doubling in each step, and stay finite up to the last.
    converged = (final.change < _SETTLED) & jnp.all(jnp.isfinite(final.h))
    return _in_time(Solved(final.h, converged, final.steps))


# A sum that settles, however slowly, halves its change in each step; one that grows without end does not.
_SETTLED = 1e-2


def _in_time(solved: Solved) -> Solved:
    """Not converged after more doublings than eps has digits: rounding alone may have ended an endless growth."""
    digits = round(-math.log2(float(jnp.finfo(solved.value.dtype).eps)))
    return solved._replace(converged=solved.converged & (solved.iterations <= digits + 1))


def _balanced(solver: Solver, floor: float) -> Solver:
    """``solver`` for a, b, q, r, s with states scaled so that a, b r^-1 b^H and q have comparable entries."""

    def solve(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
        weights = jnp.abs(jnp.diagonal(r))
        per_weight = jnp.abs(b) / jnp.where(weights > 0, weights, jnp.inf)[None, :]  # of r, the diagonal alone
        d = symplectic(a, matmul(per_weight, adjoint(jnp.abs(b))), q, floor)[:, None]
        solved = solver(a * d.T / d, b / d, q * d * d.T, r, s * d)
        return scaled_back(solved, solved.value / d / d.T)

    return solve


# --- discrete ---------------------------------------------------------------------------------------------------------


def discrete_gain(a: Array, b: Array, r: Array, s: Array, p: Array) -> Array:
    """(r + b^H p b)^-1 (b^H p a + s^H)."""
    b_p = matmul(adjoint(b), p)
    return scaled_solve(r + matmul(b_p, b), matmul(b_p, a) + adjoint(s))


def discrete_bellman(a: Array, b: Array, q: Array, r: Array, s: Array, gain: Array, p: Array) -> Array:
    """Cost of one step with ``gain`` and p from then on; the solution is its fixed point and least over gains."""
    closed = a - matmul(b, gain)
    cross = matmul(s, gain)
    return q + matmul(adjoint(gain), r, gain) - cross - adjoint(cross) + matmul(adjoint(closed), p, closed)


def _shift_discrete(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> Shifted:
    gain = discrete_gain(a, b, r, s, x)
    bellman = discrete_bellman(a, b, q, r, s, gain, x)
    new_r = hermitian(r + matmul(adjoint(b), x, b))
    return Shifted(x, a - matmul(b, gain), new_r, hermitian(bellman - x))


def _scale_discrete(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> Array:
    return covariance_scale(jnp.abs(x) + jnp.abs(q))


def _solve_discrete(shifted: Shifted, b: Array, first: Array) -> Solved:
    g = hermitian(matmul(b, scaled_solve(shifted.r, adjoint(b))))
    return structured_doubling(shifted.closed, g, shifted.residual, shifted.x)


def _correct_discrete(shifted: Shifted, testing: Array) -> Solved:
    # Within sqrt(eps) of the boundary counts: a double eigenvalue on it is perturbed by as much.
    margin = 1 - math.sqrt(float(jnp.finfo(shifted.x.dtype).eps))
    closed = shifted.closed * jnp.where(testing, margin, 1)
    return _in_time(doubling_sum(adjoint(closed), jnp.where(testing, 0, shifted.residual)))


def _is_regular(r: Array) -> Array:
    """Whether no pivot of ``r``, scaled to a unit diagonal, is below sqrt(eps)."""
    root = jnp.sqrt(jnp.abs(jnp.diagonal(r)))
    root = jnp.where(root > 0, root, 1).astype(r.dtype)
    pivots = jnp.diagonal(lu_factor(r / root[:, None] / root[None, :])[0])
    return jnp.min(jnp.abs(pivots)) > math.sqrt(float(jnp.finfo(r.dtype).eps))


def _discrete_start(a: Array, b: Array, q: Array, r: Array, s: Array) -> Array:
    # Where r is singular, the start c I makes r + c b^H b invertible: c has the size of r, or of q where r is zero.
    # Elsewhere a start fails where the weights are indefinite and some step's r + b^H x b is singular: one of another
    # size need not.
    columns, weights, costs = jnp.sum(jnp.abs(b) ** 2, axis=0), jnp.abs(jnp.diagonal(r)), jnp.abs(jnp.diagonal(q))
    size = jnp.max(jnp.where(columns > 0, weights / jnp.where(columns > 0, columns, 1), 0))
    size = jnp.maximum(size, jnp.max(costs))
    return jnp.diag(jnp.where(_is_regular(r), costs, jnp.where(size > 0, size, 1))).astype(q.dtype)


solve_discrete: Solver = _balanced(
    solver(Equation(_discrete_start, _shift_discrete, _scale_discrete, _solve_discrete, _correct_discrete)), 1
)


# --- continuous -------------------------------------------------------------------------------------------------------


def continuous_gain(b: Array, r: Array, s: Array, p: Array) -> Array:
    """r^-1 (b^H p + s^H)."""
    return scaled_solve(r, matmul(adjoint(b), p) + adjoint(s))


def continuous_bellman(a: Array, b: Array, q: Array, r: Array, s: Array, gain: Array, p: Array) -> Array:
    """Rate of cost with ``gain`` plus the change of x^H p x; zero at the solution and least over gains."""
    closed = a - matmul(b, gain)
    cross, drift = matmul(s, gain), matmul(p, closed)
    return q + matmul(adjoint(gain), r, gain) - cross - adjoint(cross) + drift + adjoint(drift)


def _shift_continuous(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> Shifted:
    gain = continuous_gain(b, r, s, x)
    residual = hermitian(continuous_bellman(a, b, q, r, s, gain, x))
    return Shifted(x, a - matmul(b, gain), r, residual)


def _scale_continuous(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> Array:
    drift = matmul(jnp.abs(x), jnp.abs(a))
    return covariance_scale(jnp.abs(q) + drift + drift.T)


def _solve_continuous(shifted: Shifted, b: Array, first: Array) -> Solved:
    g = hermitian(matmul(b, scaled_solve(shifted.r, adjoint(b))))
    # The sign keeps modes of all speeds. The Cayley transform has one c for all modes. It loses more digits of a mode
    # the more its speed differs from c, but it needs no gap around the imaginary axis.
    return lax.cond(
        first,
        # Never a candidate for refinement: it fills rows of zeros with rounding, which the doubling keeps.
        lambda: sign_riccati(shifted.closed, g, shifted.residual)._replace(converged=jnp.asarray(False)),
        lambda: _cayley_doubling(shifted, g),
    )


def _correct_continuous(shifted: Shifted, testing: Array) -> Solved:
    # Within sqrt(eps) of the boundary counts, as in discrete time.
    margin = jnp.where(testing, math.sqrt(float(jnp.finfo(shifted.x.dtype).eps)), 0)
    return sign_lyapunov(adjoint(shifted.closed), jnp.where(testing, 0, -shifted.residual), margin)


def _continuous_start(a: Array, b: Array, q: Array, r: Array, s: Array) -> Array:
    return jnp.zeros_like(q)


def _cayley_doubling(shifted: Shifted, g: Array) -> Solved:
    """Solve a^H x + x a - x g x + q = 0 for a shifted equation, through the Cayley transform (h + c)(h - c)^-1 of its
    Hamiltonian matrix h.

    Converges, linearly, even with eigenvalues on the imaginary axis. Source: Chu, Fan, Lin, Linear Algebra Appl. 396
    (2005), section 3.
    """
    a, q = shifted.closed, shifted.residual
    identity = jnp.eye(len(a), dtype=a.dtype)
    d = symplectic(a, g, q, 0)[:, None]
    a, g, q = a * d.T / d, g / d / d.T, q * d * d.T
    # Twice the norm: above every eigenvalue, so that a - c I and the Schur complement below are invertible.
    c = 2 * jnp.maximum(jnp.linalg.norm(a), jnp.maximum(jnp.linalg.norm(g), jnp.linalg.norm(q))).astype(a.dtype)
    inverse = jnp.linalg.inv(a - c * identity)
    complement = jnp.linalg.inv(a - c * identity + matmul(g, adjoint(inverse), q))
    start_g = 2 * c * hermitian(matmul(inverse, g, adjoint(complement)))
    start_q = 2 * c * hermitian(matmul(adjoint(complement), q, inverse))
    solved = structured_doubling(identity + 2 * c * complement, start_g, start_q, shifted.x * d * d.T)
    return solved._replace(value=solved.value / d / d.T)


solve_continuous: Solver = _balanced(
    solver(Equation(_continuous_start, _shift_continuous, _scale_continuous, _solve_continuous, _correct_continuous)),
    0,
)
