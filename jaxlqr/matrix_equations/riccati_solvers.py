"""Iterations for the two algebraic Riccati equations: a fast first attempt and a sturdy second one for each.

Notation: a shift by x0 rewrites the equation for x as the equation for y = x - x0, of the same form, with the closed
loop of x0 in place of a and the residual of x0 in place of q (and no cross term s). It removes cross terms (x0 = 0),
makes r + b^H x0 b invertible when r is not (x0 = c I), and refines a solution that rounding has spoilt: the residual
is computed afresh, so each further solve gains the digits of the one before, even where Newton's method, which drops
the quadratic term, does not converge.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.matrix_equations.batching import Solved, with_fallback
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.products import adjoint, hermitian, matmul
from jaxlqr.matrix_equations.sign import sign_lyapunov, sign_riccati

# Passes of the second attempt: one to solve, two to refine (darex and carex examples need one at most).
_PASSES = 3


class _Shifted(NamedTuple):
    closed: Array
    r: Array
    residual: Array
    scale: Array  # of the terms that cancel in the residual


class _Doubling(NamedTuple):
    a: Array  # A_k
    g: Array  # G_k
    h: Array  # H_k, which tends to the solution
    change: Array  # max|H_k - H_{k-1}| / max|H_k|
    steps: Array


def structured_doubling(a: Array, g: Array, q: Array) -> Solved:
    """Solve x = a^H x (I + g x)^-1 a + q, by doubling that keeps g and q Hermitian.

    Source: Chu, Fan, Lin, Wang, Int. J. Control 77 (2004).
    """
    # A <- A W^-1 A,  G <- G + A W^-1 G A^H,  H <- H + A^H H W^-1 A,  with W = I + G H: the closed loop is squared in
    # each step, so that the error after k steps is its spectral radius to the power 2^(k+1).
    identity = jnp.eye(a.shape[0], dtype=a.dtype)
    real = jnp.finfo(a.dtype)
    cap = math.ceil(-math.log2(float(real.eps))) + 6
    # The error is the square of the last change: at sqrt(eps) it is at rounding.
    tolerance = math.sqrt(float(real.eps))

    def step(state: _Doubling) -> _Doubling:
        w = identity + matmul(state.g, state.h)
        solved = jnp.linalg.solve(w, jnp.concatenate([state.a, state.g], axis=1))
        w_a, w_g = jnp.split(solved, 2, axis=1)
        g = hermitian(state.g + matmul(state.a, w_g, adjoint(state.a)))
        h = hermitian(state.h + matmul(adjoint(state.a), state.h, w_a))
        size = jnp.max(jnp.abs(h))
        change = jnp.max(jnp.abs(h - state.h)) / jnp.where(size > 0, size, 1)
        return _Doubling(matmul(state.a, w_a), g, h, change, state.steps + 1)

    def unfinished(state: _Doubling) -> Array:
        # NaN compares false, so a lane without a solution ends the loop instead of holding up its batch.
        return (state.change > tolerance) & (state.steps < cap)

    start = _Doubling(a, g, q, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    final = lax.while_loop(unfinished, step, start)
    return Solved(final.h, jnp.all(jnp.isfinite(final.h)), final.steps)


# --- discrete ---------------------------------------------------------------------------------------------------------


def discrete_gain(a: Array, b: Array, r: Array, s: Array, p: Array) -> Array:
    """(r + b^H p b)^-1 (b^H p a + s^H)."""
    b_p = matmul(adjoint(b), p)
    return jnp.linalg.solve(r + matmul(b_p, b), matmul(b_p, a) + adjoint(s))


def discrete_bellman(a: Array, b: Array, q: Array, r: Array, s: Array, gain: Array, p: Array) -> Array:
    """Cost of one step with ``gain`` and p from then on; the solution is its fixed point and least over gains."""
    closed = a - matmul(b, gain)
    cross = matmul(s, gain)
    return q + matmul(adjoint(gain), r, gain) - cross - adjoint(cross) + matmul(adjoint(closed), p, closed)


def _shift_discrete(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> _Shifted:
    gain = discrete_gain(a, b, r, s, x)
    bellman = discrete_bellman(a, b, q, r, s, gain, x)
    new_r = hermitian(r + matmul(adjoint(b), x, b))
    scale = jnp.linalg.norm(x) + jnp.linalg.norm(q)
    return _Shifted(a - matmul(b, gain), new_r, hermitian(bellman - x), scale)


def _solve_shifted_discrete(shifted: _Shifted, b: Array) -> Solved:
    return structured_doubling(
        shifted.closed, hermitian(matmul(b, jnp.linalg.solve(shifted.r, adjoint(b)))), shifted.residual
    )


def first_discrete(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    shifted = _shift_discrete(a, b, q, r, s, jnp.zeros_like(q))
    found = _solve_shifted_discrete(shifted, b)
    # One Newton (Kleinman) step squares the error that the doubling left and, because it is a Lyapunov solve that
    # demands stability, fails on a solution that does not stabilise.
    shifted = _shift_discrete(a, b, q, r, s, found.value)
    correction = doubling_sum(adjoint(shifted.closed), shifted.residual)
    x = hermitian(found.value + correction.value)
    return _accept_small(x, correction, found.iterations)


def _accept_small(x: Array, correction: Solved, iterations: Array) -> Solved:
    # A Newton correction below eps^(1/3) leaves less than eps^(2/3) of itself: a larger one says that the first
    # solution was not one, or is so ill-conditioned that it deserves the second attempt.
    size = jnp.max(jnp.abs(x))
    small = jnp.max(jnp.abs(correction.value)) <= size * float(jnp.finfo(x.dtype).eps) ** (1 / 3)
    converged = correction.converged & small
    return Solved(jnp.where(converged, x, jnp.nan), converged, iterations)


def _second_discrete(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    size_b = jnp.linalg.norm(b) ** 2
    size = jnp.maximum(jnp.linalg.norm(r), size_b) / jnp.where(size_b > 0, size_b, 1)
    start = size.astype(q.dtype) * jnp.eye(len(a), dtype=q.dtype)

    def shift(x: Array) -> _Shifted:
        return _shift_discrete(a, b, q, r, s, x)

    best = _refine(start, shift, lambda shifted: _solve_shifted_discrete(shifted, b))
    # Within sqrt(eps) of the boundary counts: a double eigenvalue on it is perturbed by as much.
    margin = 1 - math.sqrt(float(jnp.finfo(a.dtype).eps))
    stable = doubling_sum(best.shifted.closed * margin, jnp.zeros_like(a)).converged
    return _accept_accurate(best, stable)


class _Best(NamedTuple):
    x: Array
    shifted: _Shifted  # by x
    residual: Array  # relative
    iterations: Array


def _refine(start: Array, shift, solve) -> _Best:
    """Solve, then solve for the correction, keeping the iterate of least residual."""

    def relative(shifted: _Shifted) -> Array:
        size = jnp.where(shifted.scale > 0, shifted.scale, 1)
        ratio = jnp.linalg.norm(shifted.residual) / size
        return jnp.where(jnp.isfinite(ratio), ratio, jnp.inf)

    def step(_, best: _Best) -> _Best:
        # Going on from the best iterate: one bad pass must not spoil the next.
        correction = solve(best.shifted)
        x = hermitian(best.x + correction.value)
        shifted = shift(x)
        found = _Best(x, shifted, relative(shifted), best.iterations)
        best = jax.tree.map(partial(jnp.where, found.residual < best.residual), found, best)
        return best._replace(iterations=best.iterations + correction.iterations)

    infinite = jnp.asarray(jnp.inf, jnp.finfo(start.dtype).dtype)
    return lax.fori_loop(0, _PASSES, step, _Best(start, shift(start), infinite, jnp.asarray(0, jnp.int32)))


def _accept_accurate(best: _Best, stable: Array) -> Solved:
    accurate = best.residual < math.sqrt(float(jnp.finfo(best.x.dtype).eps))
    converged = stable & accurate
    return Solved(jnp.where(converged, best.x, jnp.nan), converged, best.iterations)


solve_discrete: Callable[..., Solved] = with_fallback(first_discrete, _second_discrete)


# --- continuous -------------------------------------------------------------------------------------------------------


def continuous_gain(b: Array, r: Array, s: Array, p: Array) -> Array:
    """r^-1 (b^H p + s^H)."""
    return jnp.linalg.solve(r, matmul(adjoint(b), p) + adjoint(s))


def continuous_bellman(a: Array, b: Array, q: Array, r: Array, s: Array, gain: Array, p: Array) -> Array:
    """Rate of cost with ``gain`` plus the change of x^H p x; zero at the solution and least over gains."""
    closed = a - matmul(b, gain)
    cross, drift = matmul(s, gain), matmul(p, closed)
    return q + matmul(adjoint(gain), r, gain) - cross - adjoint(cross) + drift + adjoint(drift)


def _shift_continuous(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> _Shifted:
    gain = continuous_gain(b, r, s, x)
    residual = hermitian(continuous_bellman(a, b, q, r, s, gain, x))
    scale = jnp.linalg.norm(q) + jnp.linalg.norm(x) * jnp.linalg.norm(a)
    return _Shifted(a - matmul(b, gain), r, residual, scale)


def _control_term(b: Array, r: Array) -> Array:
    return hermitian(matmul(b, jnp.linalg.solve(r, adjoint(b))))


def _first_continuous(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    shifted = _shift_continuous(a, b, q, r, s, jnp.zeros_like(q))
    found = sign_riccati(shifted.closed, _control_term(b, r), shifted.residual)

    def newton(_, state: tuple[Array, Solved]) -> tuple[Array, Solved]:
        x, _ = state
        shifted = _shift_continuous(a, b, q, r, s, x)
        correction = sign_lyapunov(adjoint(shifted.closed), -shifted.residual)
        return hermitian(x + correction.value), correction

    # Two Newton steps: the subspace costs more digits than the doubling does.
    x, correction = lax.fori_loop(0, 2, newton, (found.value, found))
    return _accept_small(x, correction, found.iterations)


def _second_continuous(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    g = _control_term(b, r)

    def shift(x: Array) -> _Shifted:
        return _shift_continuous(a, b, q, r, s, x)

    best = _refine(jnp.zeros_like(q), shift, lambda shifted: _cayley_doubling(shifted.closed, g, shifted.residual))
    margin = math.sqrt(float(jnp.finfo(a.dtype).eps)) * jnp.linalg.norm(a)
    moved = best.shifted.closed - margin.astype(a.dtype) * jnp.eye(len(a), dtype=a.dtype)
    stable = sign_lyapunov(moved, jnp.zeros_like(a)).converged
    return _accept_accurate(best, stable)


def _cayley_doubling(a: Array, g: Array, q: Array) -> Solved:
    """Solve a^H x + x a - x g x + q = 0 through the Cayley transform (h + c)(h - c)^-1 of its Hamiltonian matrix h.

    Converges, linearly, even with eigenvalues on the imaginary axis. Source: Chu, Fan, Lin, Linear Algebra Appl. 396
    (2005), section 3.
    """
    identity = jnp.eye(len(a), dtype=a.dtype)
    scale = jnp.sqrt(jnp.linalg.norm(q) / jnp.linalg.norm(g))
    scale = jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1).astype(scale.dtype)
    g, q = g * scale, q / scale
    # Twice the norm: above every eigenvalue, so that a - c I and the Schur complement below are invertible.
    c = 2 * jnp.maximum(jnp.linalg.norm(a), jnp.maximum(jnp.linalg.norm(g), jnp.linalg.norm(q))).astype(a.dtype)
    inverse = jnp.linalg.inv(a - c * identity)
    complement = jnp.linalg.inv(a - c * identity + matmul(g, adjoint(inverse), q))
    start_g = 2 * c * hermitian(matmul(inverse, g, adjoint(complement)))
    start_q = 2 * c * hermitian(matmul(adjoint(complement), q, inverse))
    found = structured_doubling(identity + 2 * c * complement, start_g, start_q)
    return found._replace(value=scale * found.value)


solve_continuous: Callable[..., Solved] = with_fallback(_first_continuous, _second_continuous)
