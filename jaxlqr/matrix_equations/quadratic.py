"""The quadratic matrix equation a + b x + c x^2 = 0, whose solution has its eigenvalues inside the unit circle."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Inexact

from jaxlqr.core.checks import equation_arguments
from jaxlqr.core.products import adjoint, matmul
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.attempts import Solved, Solver, finite_or_zero, with_fallback
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.pencil import Split, split_at_circle
from jaxlqr.matrix_equations.results import EquationResult, condition_number, diagnose, empty_result
from jaxlqr.matrix_equations.scaling import equilibrated, magnitude, relative
from jaxlqr.matrix_equations.stein import solve_two_sided_stein, two_sided_sum

# The eigenvalues of the polynomial a + b l + c l^2 are the ones of x and of c l + b + c x, since
#     a + b l + c l^2 = (b + c x + c l) (l I - x).
# The eigenvalues of the second factor are outside the circle: b + c x is invertible, and (b + c x)^-1 c has a spectral
# radius below one. Differentiating the equation gives
#     (b + c x) dx + c dx x = -(da + db x + dc x^2),
# which divided by b + c x is a two-sided Stein equation: one LU factorisation and one doubling.

_NEWTON_STEPS = 2


def _linearised(b: Array, c: Array, x: Array, rhs: Array) -> tuple[Array, Array]:
    """Coefficient g and right-hand side r of dx = g dx x + r, the solution of (b + c x) dx + c dx x = rhs."""
    # Two solves: in one solve, g would count as linear in the tangents.
    matrix = b + matmul(c, x)
    return -jnp.linalg.solve(matrix, c), jnp.linalg.solve(matrix, rhs)


def _residual(a: Array, b: Array, c: Array, x: Array) -> Array:
    return a + matmul(b + matmul(c, x), x)


def _cyclic_reduction(a: Array, b: Array, c: Array) -> Solved:
    # The cubic terms of the shifted polynomials cancel in each step:
    #     w = b^-1 [a, c],   a <- -a w_a,  b <- b - a w_c - c w_a,  c <- -c w_c,  first <- first - c w_a,
    # and a + first x tends to zero: the ratio of the moduli of the eigenvalues of both factors is squared in each step.
    # Source: Bini, Latouche, Meini, Numerical Methods for Structured Markov Chains (2005), section 7.3.
    n = len(a)
    real = jnp.finfo(a.dtype)
    cap = math.ceil(-math.log2(float(real.eps))) + 6
    enough = float(real.eps) ** 0.75

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, middle, high, first, _, steps = state
        solved = jnp.linalg.solve(middle, jnp.concatenate([low, high], axis=1))
        w_low, w_high = solved[:, :n], solved[:, n:]
        update = matmul(high, w_low)
        change = jnp.max(jnp.sum(jnp.abs(update), axis=1) / jnp.sum(jnp.abs(first), axis=1))
        middle = middle - matmul(low, w_high) - update
        return -matmul(low, w_low), middle, -matmul(high, w_high), first - update, change, steps + 1

    def unfinished(state: tuple[Array, ...]) -> Array:
        *_, change, steps = state
        return (change > enough) & (steps < cap)  # NaN ends the loop

    start = (a, b, c, b, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    *_, first, change, steps = lax.while_loop(unfinished, step, start)
    return Solved(-jnp.linalg.solve(first, a), change <= enough, steps)


def _split(a: Array, b: Array, c: Array) -> Split:
    """The pencil [[I, 0], [0, c]] z' + [[0, -I], [a, b]] z = 0 with z = (z_0, x z_0), split at the unit circle."""
    zero, identity = jnp.zeros_like(a), jnp.eye(len(a), dtype=a.dtype)
    return split_at_circle(jnp.block([[identity, zero], [zero, c]]), jnp.block([[zero, -identity], [a, b]]))


def _pencil_doubling(a: Array, b: Array, c: Array) -> Solved:
    """For polynomials that break cyclic reduction down, such as those with a singular b."""
    n, split = len(a), _split(a, b, c)
    # The stable subspace has the basis [I; x].
    q, r = jnp.linalg.qr(split.annihilator[:, n:])
    x = -solve_triangular(r, matmul(adjoint(q), split.annihilator[:, :n]))
    return Solved(x, split.converged & (jnp.round(split.num_stable) == n), split.steps)


def _refined(solver: Solver) -> Solver:
    """``solver``, then Newton's method; converged where the solution is stable and no other one is."""

    def solve(a: Array, b: Array, c: Array) -> Solved:
        finite, (a, b, c) = finite_or_zero(a, b, c)
        first = solver(a, b, c)

        def newton(_, best: tuple[Array, Array]) -> tuple[Array, Array]:
            x, size = best
            g, r = _linearised(b, c, x, -_residual(a, b, c, x))
            moved = x + two_sided_sum(g, x, r).value
            residual = relative(_residual(a, b, c, moved), _terms(a, b, c, moved))
            better = residual < size  # false for NaN
            return jnp.where(better, moved, x), jnp.where(better, residual, size)

        size = relative(_residual(a, b, c, first.value), _terms(a, b, c, first.value))
        x, size = lax.fori_loop(0, _NEWTON_STEPS, newton, (first.value, size))
        # Two spectral radii, by powers: of x, and of the inverses of all other eigenvalues.
        stable, others = _stable(x), _stable(_linearised(b, c, x, a)[0])
        accurate = size < math.sqrt(float(jnp.finfo(a.dtype).eps))
        converged = finite & accurate & stable & others
        return Solved(jnp.where(converged, x, jnp.nan), converged, first.iterations)

    return solve


def _stable(matrix: Array) -> Array:
    """Whether the powers vanish, in fewer doublings than eps has digits: later, rounding alone may have decided it."""
    powers = doubling_sum(matrix, jnp.zeros_like(matrix))
    return powers.converged & (powers.iterations <= round(-math.log2(float(jnp.finfo(matrix.dtype).eps))))


def _terms(a: Array, b: Array, c: Array, x: Array) -> Array:
    """The size of each equation, in balanced units."""
    # Not entry by entry: an entry that should be zero is rounding beside terms that are rounding, too. That may be so
    # for all entries of a row.
    terms = jnp.max(jnp.abs(a) + magnitude(b, x) + magnitude(c, x, x), axis=1)
    rows = jnp.maximum(terms, jnp.max(jnp.abs(b), axis=1) * jnp.max(jnp.abs(x)))
    return jnp.broadcast_to(rows[:, None], a.shape)


def _units(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Factors of the equations [n, n] and of the solution [n, n] that bring rows and columns to one size."""
    rows, columns = (scale.astype(a.dtype) for scale in equilibrated(jnp.abs(a) + jnp.abs(b) + jnp.abs(c)))
    return rows[:, None] * columns[None, :], columns[:, None] / columns[None, :]


def _balanced(solver: Solver) -> Solver:
    """``solver`` with equations and unknowns scaled so that rows and columns of a, b and c have equal sizes."""

    def solve(a: Array, b: Array, c: Array) -> Solved:
        equations, unknowns = _units(a, b, c)
        solved = solver(a * equations, b * equations, c * equations)
        return solved._replace(value=solved.value * unknowns)

    return solve


_solver: Solver = _balanced(with_fallback(_refined(_cyclic_reduction), _refined(_pencil_doubling)))


@jax.custom_jvp
def _with_derivatives(x: Array, a: Array, b: Array, c: Array) -> Array:
    """The solution ``x``, which was found without derivatives, as a function of a, b and c."""
    return x


@_with_derivatives.defjvp
def _(primals, tangents):
    x, a, b, c = primals
    _, da, db, dc = tangents
    x = _with_derivatives(x, a, b, c)
    g, r = _linearised(b, c, x, -_residual(da, db, dc, x))
    return x, solve_two_sided_stein(g, x, r)


def solve_quadratic_matrix_equation(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Inexact[Array, "n n"]:
    r"""Solution x [n, n] of :math:`a + b x + c x^2 = 0` whose eigenvalues are inside the unit circle.

    It exists and is unique if n of the 2 n roots of :math:`\det(a + b \lambda + c \lambda^2)` are inside the circle,
    the others are outside or infinite, and the n vectors of the inner roots are independent.

    Arguments:
        a: square matrix [n, n], real or complex, possibly singular.
        b: square matrix [n, n], possibly singular.
        c: square matrix [n, n], possibly singular; all of one precision.

    Returns:
        The solution [n, n]; NaN, in that lane only, where there is none or more than one. Differentiable in all
        arguments, in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> x = solve_quadratic_matrix_equation(jnp.array([[1.0]]), jnp.array([[-2.5]]), jnp.array([[1.0]]))  # roots 1/2, 2
    >>> print(f"{x[0, 0]:.4f}")
    0.5000

    Source: Bini, Latouche, Meini (2005), cyclic reduction; where it breaks down, Bai, Demmel, Gu, Numer. Math. 76
    (1997), inverse-free doubling.
    """
    a, b, c = equation_arguments("solve_quadratic_matrix_equation", a=(a, "nn"), b=(b, "nn"), c=(c, "nn"))
    return _solve(a, b, c) if a.size else a


@jax.jit
def _solve(a: Array, b: Array, c: Array) -> Array:
    solved = _solver(*lax.stop_gradient((a, b, c)))
    return _with_derivatives(jnp.where(solved.converged, solved.value, jnp.nan), a, b, c)


def quadratic_matrix_equation_result(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> EquationResult:
    """:func:`solve_quadratic_matrix_equation` with status, iterations, residual and condition; not differentiable.

    Arguments: as in :func:`solve_quadratic_matrix_equation`. Returns: :class:`EquationResult`, with the same ``value``
    [n, n]; the condition is the one of the linearised equation.

    >>> import jax.numpy as jnp
    >>> one = jnp.eye(1)
    >>> SolveStatus(int(quadratic_matrix_equation_result(0.06 * one, -0.5 * one, one).status)).name  # roots 0.2, 0.3
    'NOT_UNIQUE'
    """
    a, b, c = equation_arguments("quadratic_matrix_equation_result", a=(a, "nn"), b=(b, "nn"), c=(c, "nn"))
    return _result(a, b, c) if a.size else empty_result(a)


@jax.jit
def _result(*inputs: Array) -> EquationResult:
    inputs = lax.stop_gradient(inputs)
    solved = _solver(*inputs)
    # The diagnosis is made in balanced units, too.
    equations, unknowns = _units(*inputs)
    a, b, c = (matrix * equations for matrix in inputs)
    x = solved.value / unknowns
    terms = _terms(a, b, c, x)
    condition = condition_number(
        lambda y: two_sided_sum(*_stein(b, c, x, y)).value,
        lambda y: _adjoint_solve(b, c, x, y),
        terms,
        jnp.broadcast_to(jnp.max(jnp.abs(x)), x.shape),
        x,
    )
    result = diagnose(solved, inputs, _residual(a, b, c, x), terms, condition, SolveStatus.NO_STABLE_SOLUTION)
    split = _split(*finite_or_zero(a, b, c)[1])
    several = split.converged & (jnp.round(split.num_stable) > len(a))
    several = several & (result.status == SolveStatus.NO_STABLE_SOLUTION)
    return replace(result, status=jnp.where(several, jnp.int32(SolveStatus.NOT_UNIQUE), result.status))


def _stein(b: Array, c: Array, x: Array, rhs: Array) -> tuple[Array, Array, Array]:
    g, r = _linearised(b, c, x, rhs)
    return g, x, r


def _adjoint_solve(b: Array, c: Array, x: Array, rhs: Array) -> Array:
    """Solution y of (b + c x)^H y + c^H y x^H = rhs, as m^H y = w with w = g^H w x^H + rhs."""
    m = b + matmul(c, x)
    g = -jnp.linalg.solve(m, c)
    return jnp.linalg.solve(adjoint(m), two_sided_sum(adjoint(g), adjoint(x), rhs).value)
