"""Iterations for the two algebraic Riccati equations: a fast first attempt and a sturdy second one for each.

Notation: a shift by x0 rewrites the equation for x as the equation for y = x - x0, of the same form, with the closed
loop of x0 in place of a and the residual of x0 in place of q (and no cross term s). It removes cross terms (x0 = 0),
makes r + b^H x0 b invertible when r is not (x0 = c I), and refines a solution that rounding has spoilt: the residual
is computed afresh, so each further solve gains the digits of the one before, even where Newton's method, which drops
the quadratic term, does not converge.

Units: the states are balanced first, by powers of two, and the solution is scaled back. Every verdict compares an entry
(i, j) with sqrt(x_ii x_jj), so that a slow mode of small weight is not judged by a fast one of large weight.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import lu_factor

from jaxlqr.matrix_equations.batching import Solved, Solver, with_fallback
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.products import adjoint, hermitian, matmul
from jaxlqr.matrix_equations.scaling import covariance_scale, relative, scaled_solve, similarity, symplectic
from jaxlqr.matrix_equations.sign import sign_lyapunov, sign_riccati

# The second attempt has three passes: one to solve, two to refine (darex and carex examples need one at most). A pass
# that finds no solution leaves the next a start of another size: indefinite weights make single ones fail.
_STARTS = (1.0, 5.0, 25.0)
# Newton steps at most: they double the digits, and start from a few.
_NEWTON_STEPS = 4


class _Shifted(NamedTuple):
    x: Array  # by which
    closed: Array
    r: Array
    residual: Array
    scale: Array  # of the terms that cancel in the residual, for each entry


class _Doubling(NamedTuple):
    a: Array  # A_k
    g: Array  # G_k
    h: Array  # H_k, which tends to the solution
    change: Array  # of H_k, relative
    steps: Array


def structured_doubling(a: Array, g: Array, q: Array, corrected: Array) -> Solved:
    """Solve x = a^H x (I + g x)^-1 a + q, by doubling that keeps g and q Hermitian.

    Changes below the rounding of ``corrected``, to which x will be added, do not matter.
    Source: Chu, Fan, Lin, Wang, Int. J. Control 77 (2004).
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


def _newton(x: Array, change: Callable[[Array], Solved]) -> Solved:
    """Newton's (Kleinman's) method from ``x``; ``change`` is a Lyapunov solve that demands a stable closed loop."""
    real = jnp.finfo(x.dtype)
    # A change below eps^(2/3) leaves less than eps of itself, also of an ill-conditioned solution.
    enough, little = float(real.eps) ** (2 / 3), float(real.eps) ** (1 / 3)

    def step(state: tuple[Array, Array, Array, Array]):
        x, _, stable, steps = state
        correction = change(x)
        x = hermitian(x + correction.value)
        return x, relative(correction.value, covariance_scale(x)), stable & correction.converged, steps + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, size, stable, steps = state
        return stable & (size > enough) & (steps < _NEWTON_STEPS)

    start = (x, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(True), jnp.asarray(0, jnp.int32))
    x, size, stable, steps = lax.while_loop(unfinished, step, start)
    # A last change that is not small means that the first solution was none, or is so ill-conditioned that it deserves
    # the second attempt.
    converged = stable & (size <= little)
    return Solved(jnp.where(converged, x, jnp.nan), converged, steps)


class _Best(NamedTuple):
    shifted: _Shifted
    residual: Array  # relative
    settled: Array
    iterations: Array


def _refine(starts: Array, shift: Callable[[Array], _Shifted], solve: Callable[[_Shifted], Solved]) -> _Best:
    """Solve, then solve for the correction, keeping the iterate of least residual; each pass until one has found a
    solution begins at its own start."""

    def step(k, best: _Best) -> _Best:
        best = best._replace(shifted=_where(best.settled, best.shifted, shift(starts[k])))
        # Going on from the best iterate: one bad pass must not spoil the next.
        # With a double eigenvalue on the boundary, a residual that is lower by one rounding has no solution: raise it,
        # but for the first pass, which may do without; by more than the roundings of a pass where none has settled.
        roundings = jnp.where(best.settled, 1, jnp.where(k > 0, 16, 0))
        rounding = roundings.astype(eps.dtype) * eps * jnp.diagonal(best.shifted.scale)
        raised = best.shifted.residual + jnp.diag(rounding).astype(starts.dtype)
        # Until a pass has settled, x is a start and no solution whose rounding could hide a change.
        known = jnp.where(best.settled, best.shifted.x, 0)
        correction = solve(best.shifted._replace(x=known, residual=raised))
        shifted = shift(hermitian(best.shifted.x + correction.value))
        residual = relative(shifted.residual, shifted.scale)
        new = _Best(shifted, residual, best.settled | correction.converged, best.iterations)
        better = new.residual < best.residual  # false for NaN
        # A first pass that does not settle has found no solution, however small the residual is beside its size.
        kept = _where(better & new.settled, new, best)
        return kept._replace(iterations=best.iterations + correction.iterations)

    eps = jnp.finfo(starts.dtype).eps
    infinite = jnp.asarray(jnp.inf, jnp.finfo(starts.dtype).dtype)
    best = _Best(shift(starts[0]), infinite, jnp.asarray(False), jnp.asarray(0, jnp.int32))
    return lax.fori_loop(0, len(starts), step, best)


def _where(condition: Array, new, old):
    return jax.tree.map(partial(jnp.where, condition), new, old)


def _accept_accurate(best: _Best, stable: Array) -> Solved:
    x = best.shifted.x
    accurate = best.residual < math.sqrt(float(jnp.finfo(x.dtype).eps))
    converged = stable & best.settled & accurate
    return Solved(jnp.where(converged, x, jnp.nan), converged, best.iterations)


def _balanced(solver: Solver, floor: float) -> Solver:
    """``solver`` for a, b, q, r, s in units of the states in which a, b r^-1 b^H and q have comparable entries."""

    def solve(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
        weights = jnp.abs(jnp.diagonal(r))
        per_weight = jnp.abs(b) / jnp.where(weights > 0, weights, jnp.inf)[None, :]  # of r, the diagonal alone
        d = symplectic(a, matmul(per_weight, adjoint(jnp.abs(b))), q, floor)[:, None]
        solved = solver(a * d.T / d, b / d, q * d * d.T, r, s * d)
        return solved._replace(value=solved.value / d / d.T)

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


def _shift_discrete(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> _Shifted:
    gain = discrete_gain(a, b, r, s, x)
    bellman = discrete_bellman(a, b, q, r, s, gain, x)
    new_r = hermitian(r + matmul(adjoint(b), x, b))
    scale = covariance_scale(jnp.abs(x) + jnp.abs(q))
    return _Shifted(x, a - matmul(b, gain), new_r, hermitian(bellman - x), scale)


def _solve_shifted_discrete(shifted: _Shifted, b: Array) -> Solved:
    g = hermitian(matmul(b, scaled_solve(shifted.r, adjoint(b))))
    return structured_doubling(shifted.closed, g, shifted.residual, shifted.x)


def _first_discrete(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    first = _solve_shifted_discrete(_shift_discrete(a, b, q, r, s, jnp.zeros_like(q)), b)

    def change(x: Array) -> Solved:
        shifted = _shift_discrete(a, b, q, r, s, x)
        return _in_time(doubling_sum(adjoint(shifted.closed), shifted.residual))

    return _newton(first.value, change)._replace(iterations=first.iterations)


def _is_regular(r: Array) -> Array:
    """Whether no pivot of ``r``, scaled to a unit diagonal, is below sqrt(eps)."""
    root = jnp.sqrt(jnp.abs(jnp.diagonal(r)))
    root = jnp.where(root > 0, root, 1).astype(r.dtype)
    pivots = jnp.diagonal(lu_factor(r / root[:, None] / root[None, :])[0])
    return jnp.min(jnp.abs(pivots)) > math.sqrt(float(jnp.finfo(r.dtype).eps))


def _second_discrete(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    # Where r is singular, the start c I makes r + c b^H b invertible: c has the size of r, or of q where r is zero.
    # Elsewhere the first start is zero: a q that is small beside c would be lost in the rounding of c. It fails where
    # the weights are indefinite and some step's r + b^H x b is singular; the next starts have the size of q.
    columns, weights, costs = jnp.sum(jnp.abs(b) ** 2, axis=0), jnp.abs(jnp.diagonal(r)), jnp.abs(jnp.diagonal(q))
    size = jnp.max(jnp.where(columns > 0, weights / jnp.where(columns > 0, columns, 1), 0))
    size = jnp.maximum(size, jnp.max(costs))
    regular = _is_regular(r)
    start = jnp.diag(jnp.where(regular, costs, jnp.where(size > 0, size, 1))).astype(q.dtype)
    starts = jnp.stack([factor * start for factor in _STARTS]).at[0].multiply((~regular).astype(q.dtype))

    def shift(x: Array) -> _Shifted:
        return _shift_discrete(a, b, q, r, s, x)

    best = _refine(starts, shift, lambda shifted: _solve_shifted_discrete(shifted, b))
    # Within sqrt(eps) of the boundary counts: a double eigenvalue on it is perturbed by as much.
    margin = 1 - math.sqrt(float(jnp.finfo(a.dtype).eps))
    stable = doubling_sum(best.shifted.closed * margin, jnp.zeros_like(a)).converged
    return _accept_accurate(best, stable)


first_discrete: Solver = _balanced(_first_discrete, 1)
solve_discrete: Solver = _balanced(with_fallback(_first_discrete, _second_discrete), 1)


# --- continuous -------------------------------------------------------------------------------------------------------


def continuous_gain(b: Array, r: Array, s: Array, p: Array) -> Array:
    """r^-1 (b^H p + s^H)."""
    return scaled_solve(r, matmul(adjoint(b), p) + adjoint(s))


def continuous_bellman(a: Array, b: Array, q: Array, r: Array, s: Array, gain: Array, p: Array) -> Array:
    """Rate of cost with ``gain`` plus the change of x^H p x; zero at the solution and least over gains."""
    closed = a - matmul(b, gain)
    cross, drift = matmul(s, gain), matmul(p, closed)
    return q + matmul(adjoint(gain), r, gain) - cross - adjoint(cross) + drift + adjoint(drift)


def _shift_continuous(a: Array, b: Array, q: Array, r: Array, s: Array, x: Array) -> _Shifted:
    gain = continuous_gain(b, r, s, x)
    residual = hermitian(continuous_bellman(a, b, q, r, s, gain, x))
    drift = matmul(jnp.abs(x), jnp.abs(a))
    return _Shifted(x, a - matmul(b, gain), r, residual, covariance_scale(jnp.abs(q) + drift + drift.T))


def _control_term(b: Array, r: Array) -> Array:
    return hermitian(matmul(b, scaled_solve(r, adjoint(b))))


def _first_continuous(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    shifted = _shift_continuous(a, b, q, r, s, jnp.zeros_like(q))
    first = sign_riccati(shifted.closed, _control_term(b, r), shifted.residual)

    def change(x: Array) -> Solved:
        shifted = _shift_continuous(a, b, q, r, s, x)
        return sign_lyapunov(adjoint(shifted.closed), -shifted.residual)

    return _newton(first.value, change)._replace(iterations=first.iterations)


def _second_continuous(a: Array, b: Array, q: Array, r: Array, s: Array) -> Solved:
    g = _control_term(b, r)

    def shift(x: Array) -> _Shifted:
        return _shift_continuous(a, b, q, r, s, x)

    best = _refine(jnp.zeros((len(_STARTS), *q.shape), q.dtype), shift, lambda shifted: _cayley_doubling(shifted, g))
    # Within sqrt(eps) of the boundary counts, row by row: a fast mode is no excuse for a slow one that is unstable.
    closed = best.shifted.closed
    d = similarity(closed, 0)[:, None]
    rows = jnp.sum(jnp.abs(closed * d.T / d), axis=1)
    moved = closed - jnp.diag(math.sqrt(float(jnp.finfo(a.dtype).eps)) * rows).astype(a.dtype)
    stable = sign_lyapunov(moved, jnp.zeros_like(a)).converged
    return _accept_accurate(best, stable)


def _cayley_doubling(shifted: _Shifted, g: Array) -> Solved:
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


solve_continuous: Solver = _balanced(with_fallback(_first_continuous, _second_continuous), 0)
