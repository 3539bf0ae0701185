"""One loop for both attempts at a Riccati equation: doubling and Newton's method, then refinement.

Notation: a shift by x0 rewrites the equation for x as the equation for y = x - x0, of the same form, with the closed
loop of x0 in place of a and the residual of x0 in place of q (and no cross term s). A shift removes cross terms (x0 =
0), and makes r + b^H x0 b invertible if r is singular (x0 = c I). A shift also refines an inaccurate solution. The
residual is computed again, so each further solve gains as many digits as the one before. This works even where Newton's
method, which drops the quadratic term, does not converge.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.batching import with_batch_rule
from jaxlqr.core.products import hermitian
from jaxlqr.matrix_equations.attempts import Solved, Solver
from jaxlqr.matrix_equations.scaling import covariance_scale, relative

# The second attempt has three passes to refine (darex and carex examples need one at most). A pass that finds no
# solution leaves the next a start of another size, this many times as large: indefinite weights make single ones fail.
_STARTS = (1.0, 5.0, 25.0)
# Newton steps at most: they double the digits, and start from a few.
_NEWTON_STEPS = 4


class Shifted(NamedTuple):
    """The equation shifted by x."""

    x: Array  # by which
    closed: Array
    r: Array
    residual: Array


class Equation(NamedTuple):
    """One of the two Riccati equations, as functions of its data a, b, q, r, s."""

    start: Callable[..., Array]  # of a pass of the second attempt, until one has settled
    shift: Callable[..., Shifted]  # of the data and x
    scale: Callable[..., Array]  # of the terms that cancel in the residual, entry by entry, of the data and x
    solve: Callable[[Shifted, Array, Array], Solved]  # the shifted equation, given b and whether x is still zero
    correct: Callable[[Shifted, Array], Solved]  # its linear part; if the flag is set, only a test of the closed loop


class _Lane(NamedTuple):
    """State of one equation."""

    x: Array
    best: Array  # the candidate of least residual
    excess: Array  # of the best candidate: its relative residual, without entries that are rounding beside the largest
    residual: Array  # of the best candidate, relative
    settled: Array  # whether a pass has found the best candidate
    candidate: Array  # whether the pass that made x has settled
    size: Array  # of the last Newton step, relative
    stable: Array  # whether Newton's method has met stable closed loops only
    done: Array
    iterations: Array


# One loop makes both attempts, so each kind of work is compiled once. Each pass shifts the equation by the current x
# and takes the next step of this schedule. The first attempt is a pass and Newton's method. The second attempt weighs
# the candidate of that pass, refines it by further passes, or starts anew, and tests the closed loop.
_PASS, _CORRECT, _TEST, _WEIGH = range(4)
_SCHEDULE = (_PASS, *(_CORRECT,) * _NEWTON_STEPS, _WEIGH, *(_PASS, _WEIGH) * len(_STARTS), _TEST)
_SECOND_ATTEMPT = 1 + _NEWTON_STEPS


def solver(equation: Equation) -> Solver:
    """Solve by the schedule. All lanes of a batch take the same step; a lane that has ended keeps its bits."""

    def solve(each: Callable, *data: Array) -> Solved:
        def step(state: tuple[Array, _Lane]) -> tuple[Array, _Lane]:
            k, lanes = state
            lanes = each(partial(_step, equation, k))(lanes, *data)
            ended = (k > 0) & ~jnp.any(each(_is_correcting)(lanes))
            return jnp.where(ended, jnp.maximum(k + 1, _SECOND_ATTEMPT), k + 1), lanes

        def unfinished(state: tuple[Array, _Lane]) -> Array:
            k, lanes = state
            return (k < len(_SCHEDULE)) & ~jnp.all(lanes.done)

        _, lanes = lax.while_loop(unfinished, step, (jnp.asarray(0, jnp.int32), each(_first_lane)(data[2])))
        value = each(lambda lane: jnp.where(lane.done, lane.x, jnp.nan))(lanes)
        return Solved(value, lanes.done, lanes.iterations)

    return with_batch_rule(partial(solve, lambda function: function), partial(solve, jax.vmap))


def _first_lane(q: Array) -> _Lane:
    zero, infinite = jnp.zeros_like(q), jnp.asarray(jnp.inf, jnp.finfo(q.dtype).dtype)
    no = jnp.asarray(False)
    return _Lane(zero, zero, infinite, infinite, no, no, infinite, ~no, no, jnp.asarray(0, jnp.int32))


def _is_correcting(lane: _Lane) -> Array:
    """Whether Newton's method goes on."""
    # After a change below eps^(2/3), the error is below eps, also for an ill-conditioned solution.
    return lane.stable & (lane.size > float(jnp.finfo(lane.x.dtype).eps) ** (2 / 3))


def _step(equation: Equation, k: Array, lane: _Lane, *data: Array) -> _Lane:
    kind, number = jnp.asarray(_SCHEDULE)[k], (k - _SECOND_ATTEMPT) // 2

    def from_best() -> Array:
        # Going on from the best candidate: one bad pass must not spoil the next.
        anew = jnp.asarray(_STARTS, data[0].real.dtype)[number] * equation.start(*data)
        return jnp.where((kind == _PASS) & ~lane.settled, anew, lane.best)

    refining = (kind == _PASS) | (kind == _TEST) | (k == _SECOND_ATTEMPT)
    x = lax.cond((k >= _SECOND_ATTEMPT) & refining, from_best, lambda: lane.x)
    shifted = equation.shift(*data, x)
    # Idle lanes are blanked: they must not hold up the loops of the others.
    active = ~lane.done & ((kind != _CORRECT) | _is_correcting(lane))
    closed, residual = (jnp.where(active, part, 0) for part in (shifted.closed, shifted.residual))
    shifted = shifted._replace(closed=closed, residual=residual)

    def make_pass() -> _Lane:
        raised = _raised(shifted, equation.scale(*data, x), lane.settled, number)
        solved = equation.solve(raised, data[1], k == 0)
        return _after_pass(lane, hermitian(x + solved.value), solved, k)

    def correct() -> _Lane:
        solved = equation.correct(shifted, kind == _TEST)
        return _where(kind == _TEST, _tested(lane, solved), _corrected(lane, solved, k))

    def weigh() -> _Lane:
        return _weighed(lane, residual, equation.scale(*data, x), x)

    new = lax.switch(jnp.asarray((0, 1, 1, 2))[kind], (make_pass, correct, weigh))
    return _where(active, new, lane)


def _after_pass(lane: _Lane, x: Array, solved: Solved, k: Array) -> _Lane:
    # The second attempt begins with the candidate of the first pass, if it comes to that.
    best = jnp.where(k == 0, x, lane.best)
    return lane._replace(x=x, best=best, candidate=solved.converged, iterations=lane.iterations + solved.iterations)


def _weighed(lane: _Lane, residual: Array, scale: Array, x: Array) -> _Lane:
    # States that cost nothing have zero rows in the solution. If pivoting has filled these with rounding, no pass makes
    # their residual relatively small. So the test gives less weight to entries that are rounding relative to the
    # largest scale, in balanced units.
    rounding = 64 * len(x) * jnp.finfo(scale.dtype).eps * jnp.max(scale)
    excess = relative(jnp.where(jnp.abs(residual) <= rounding, 0, residual), scale)
    residual = relative(residual, scale)
    settled = lane.settled | lane.candidate
    better = (excess < lane.excess) | ((excess == lane.excess) & (residual < lane.residual))  # false for NaN
    # A first pass that does not settle has found no solution, however small the residual is beside its size.
    new = lane._replace(best=x, excess=excess, residual=residual, settled=settled)
    return _where(better & settled, new, lane)


def _raised(shifted: Shifted, scale: Array, settled: Array, number: Array) -> Shifted:
    """The equation of one pass, whose residual is raised by a few roundings."""
    # With a double eigenvalue on the boundary, a residual that is lower by one rounding has no solution: raise it, but
    # for the first passes, which may do without; by more than the roundings of a pass where none has settled.
    roundings = jnp.where(settled, 1, jnp.where(number > 0, 16, 0))
    rounding = roundings * jnp.finfo(scale.dtype).eps * jnp.diagonal(scale)
    # Until a pass has settled, x is a start and no solution whose rounding could hide a change.
    known = jnp.where(settled, shifted.x, 0)
    return shifted._replace(x=known, residual=shifted.residual + jnp.diag(rounding).astype(known.dtype))


def _corrected(lane: _Lane, solved: Solved, k: Array) -> _Lane:
    """After a step of Newton's (Kleinman's) method, which demands a stable closed loop."""
    x = hermitian(lane.x + solved.value)
    lane = lane._replace(x=x, size=relative(solved.value, covariance_scale(x)), stable=lane.stable & solved.converged)
    # A last change that is not small means that the pass has found no solution, or one so ill-conditioned that it
    # deserves the second attempt.
    little = lane.size <= float(jnp.finfo(x.dtype).eps) ** (1 / 3)
    return lane._replace(done=lane.stable & ~(_is_correcting(lane) & (k < _NEWTON_STEPS)) & little)


def _tested(lane: _Lane, solved: Solved) -> _Lane:
    accurate = lane.excess < math.sqrt(float(jnp.finfo(lane.x.dtype).eps))
    return lane._replace(x=lane.best, done=solved.converged & lane.settled & accurate)


def _where(condition: Array, new, old):
    return jax.tree.map(partial(jnp.where, condition), new, old)
