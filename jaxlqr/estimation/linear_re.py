"""The stable solution of a linear model of rational expectations: Klein's map, without QZ, on any device."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from jaxlqr.core.arguments import check_count
from jaxlqr.core.batching import with_batch_rule
from jaxlqr.core.checks import as_matrices, check_shapes
from jaxlqr.core.products import adjoint, matmul
from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.attempts import finite_or_zero
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.pencil import split_at_circle
from jaxlqr.matrix_equations.scaling import equilibrated, relative
from jaxlqr.matrix_equations.star import star_limit
from jaxlqr.matrix_equations.stein import solve_two_sided_stein, two_sided_sum

# With V = [I; g] a solution satisfies A V h + B V = 0. Split the columns of A and B in those of x and those of y,
# A = [A1, A2]. The matrix [A V, B2] is invertible: A V has full rank, since no stable root is infinite, and modulo its
# columns the pencil of B2 has the other roots, so not the root zero. Differentiating the equation gives
#     A V dh + B2 dg + A2 dg h = -(dA V h + dB V),
# which divided by [A V, B2] is, with the blocks t, u of -[A V, B2]^-1 A2 and r, s of the right-hand side,
#     dg = u dg h + s,    dh = r + t dg h.
# The eigenvalues of u are the inverses of the unstable roots: the first line is a two-sided Stein equation whose
# coefficients both have a spectral radius below one. Newton's method solves the same equation for the residual.

_NEWTON_STEPS = 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class LinearRESolution(Result):
    """The solution of a linear model; under ``jax.vmap`` every array has a leading axis.

    Attributes:
        g_x: [n - num_states, num_states], y = g_x x.
        h_x: [num_states, num_states], E x' = h_x x.
        status: :class:`~jaxlqr.SolveStatus` code. SOLVED: there is one stable solution, and it satisfies the model to
            rounding. NOT_UNIQUE (indeterminate): more roots than states are stable. NO_STABLE_SOLUTION: fewer roots
            than states are stable, or as many whose vectors do not determine the states. NOT_SEPARATED: a root is on
            the circle to rounding, or the model has fewer equations than unknowns. NOT_FINITE: an argument is not.

    ``g_x, h_x, status = solution`` works as well.
    """

    _noun = "models"
    _error = ArithmeticError

    g_x: Array
    h_x: Array
    status: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.g_x, self.h_x, self.status))


def solve_linear_re(A: ArrayLike, B: ArrayLike, num_states: int, *, radius: Any = 1.0) -> LinearRESolution:
    r"""Stable solution of the linear model :math:`A\,E z' + B z = 0`, as :class:`LinearRESolution`.

    The unknowns are z = (x, y): the first ``num_states`` are predetermined (states and shocks), the others jump. The
    solution is :math:`y = g_x x`, :math:`E x' = h_x x`. It is unique when exactly ``num_states`` roots l of
    :math:`\det(A l + B)` are smaller than ``radius`` in modulus and their vectors determine x (Blanchard, Kahn).

    Arguments:
        A: [n, n], coefficients of the expected values of the next period; may be singular.
        B: [n, n], coefficients of this period.
        num_states: number of predetermined unknowns, from 1 to n - 1; static.
        radius: roots below it are stable. A model with unit roots needs a radius a little above one.

    Returns:
        g_x [n - num_states, num_states], h_x [num_states, num_states] and status. g_x and h_x are NaN, in that lane
        only, unless the solution is unique. They are differentiable in A and B, in both modes and to any order.

    >>> import jax.numpy as jnp, jaxlqr
    >>> A = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> B = jnp.array([[-0.5, 0.0], [-1.0, -2.0]])  # x' = x / 2,  E y' = x + 2 y
    >>> g_x, h_x, status = solve_linear_re(A, B, 1)
    >>> print(f"{g_x[0, 0]:.4f} {h_x[0, 0]:.4f} {jaxlqr.SolveStatus(int(status)).name}")  # y = -2/3 x
    -0.6667 0.5000 SOLVED

    Raises:
        ValueError: if an argument is no matrix or sizes differ, or if ``num_states`` is not from 1 to n - 1.
        TypeError: if an argument holds integers or has half precision, or if precisions differ.

    Source: Klein, J. Econ. Dyn. Control 24 (2000), the problem; Bai, Demmel, Gu, Numer. Math. 76 (1997), doubling.
    """
    A, B = as_matrices("solve_linear_re", A=A, B=B)
    check_shapes("solve_linear_re", A=(A, "nn"), B=(B, "nn"))
    check_count("num_states", num_states)
    if num_states >= len(A):
        raise ValueError(
            f"solve_linear_re: argument num_states must be from 1 to {len(A) - 1}, got {num_states}; a model without "
            "jumping variables needs no expectations: h_x is -A^-1 B."
        )
    return _solve(A, B, jnp.asarray(radius, jnp.finfo(A.dtype).dtype), int(num_states))


@partial(jax.jit, static_argnums=3)
def _solve(A: Array, B: Array, radius: Array, num_states: int) -> LinearRESolution:
    # A root l of A l + B is the root l / radius of radius A l + B.
    radius = lax.stop_gradient(radius).astype(A.dtype)
    g, h, status = _klein(lax.stop_gradient(A) * radius, lax.stop_gradient(B), num_states)
    g, h = _with_derivatives(g, h * radius, A, B)
    return LinearRESolution(g_x=g, h_x=h, status=status)


@jax.custom_jvp
def _with_derivatives(g: Array, h: Array, A: Array, B: Array) -> tuple[Array, Array]:
    """The solution g, h, which was found without derivatives, as a function of A and B."""
    return g, h


@_with_derivatives.defjvp
def _(primals, tangents):
    g, h, A, B = primals
    _, _, dA, dB = tangents
    g, h = _with_derivatives(g, h, A, B)
    t, u, r, s = _linearised(A, B, g, -_residual(dA, dB, g, h))
    dg = solve_two_sided_stein(u, h, s)
    return (g, h), (dg, r + matmul(t, dg, h))


def _extended(matrix: Array, g: Array) -> Array:
    """matrix [I; g]."""
    num_states = g.shape[1]
    return matrix[:, :num_states] + matmul(matrix[:, num_states:], g)


def _residual(A: Array, B: Array, g: Array, h: Array) -> Array:
    return matmul(_extended(A, g), h) + _extended(B, g)


def _linearised(A: Array, B: Array, g: Array, rhs: Array) -> tuple[Array, Array, Array, Array]:
    """The blocks t, u, r, s above."""
    num_states = g.shape[1]
    matrix = jnp.concatenate([_extended(A, g), B[:, num_states:]], axis=1)
    # Two solves: side by side, t and u would count as parts of what is linear in the tangents.
    blocks, solved = -jnp.linalg.solve(matrix, A[:, num_states:]), jnp.linalg.solve(matrix, rhs)
    return blocks[:num_states], blocks[num_states:], solved[:num_states], solved[num_states:]


class _Found(NamedTuple):
    """What an attempt found, in balanced units; g and h are arbitrary unless the status is SOLVED."""

    g: Array
    h: Array
    status: Array


def _klein(A: Array, B: Array, num_states: int) -> tuple[Array, Array, Array]:
    """g, h and status, found in units in which rows and columns of A and B have comparable sizes."""
    finite, (A, B) = finite_or_zero(A, B)
    rows, columns = (scale.astype(A.dtype) for scale in equilibrated(jnp.abs(A) + jnp.abs(B)))
    A, B = (matrix * rows[:, None] * columns[None, :] for matrix in (A, B))
    first, second = partial(_by_star_products, num_states), partial(_by_split, num_states)
    attempts = with_batch_rule(partial(_attempts, first, second), partial(_attempts, jax.vmap(first), jax.vmap(second)))
    g, h, status = attempts(A, B)
    status = jnp.where(finite, status, int(SolveStatus.NOT_FINITE)).astype(jnp.int32)
    unique = status == SolveStatus.SOLVED
    states, jumps = columns[:num_states], columns[num_states:]
    g = jnp.where(unique, g * jumps[:, None] / states[None, :], jnp.nan)
    h = jnp.where(unique, h * states[:, None] / states[None, :], jnp.nan)
    return g, h, status


def _attempts(first: Callable[..., _Found], second: Callable[..., _Found], A: Array, B: Array) -> _Found:
    """The first attempt, and the second if any lane of the batch needs it; other lanes keep their bits."""
    found = first(A, B)
    done = found.status == SolveStatus.SOLVED

    def try_again() -> _Found:
        # Lanes that are done become z' = 0, which takes one step: they must not hold up the loop of the others.
        blank = done[..., None, None]
        other = second(jnp.where(blank, jnp.eye(A.shape[-1], dtype=A.dtype), A), jnp.where(blank, 0, B))
        return _Found(*(jnp.where(done.reshape(done.shape + (1,) * (x.ndim - done.ndim)), x, y)
                        for x, y in zip(found, other, strict=True)))  # fmt: skip

    return lax.cond(jnp.all(done), lambda: found, try_again)


def _by_star_products(num_states: int, A: Array, B: Array) -> _Found:
    """Products and small LU factorisations only; fails where [A1, B2] is nearly singular or a root near the circle."""
    # A1 x' + A2 y' + B1 x + B2 y = 0, solved for the states of the next period and the other unknowns of this one.
    today = -jnp.concatenate([B[:, :num_states], A[:, num_states:]], axis=1)
    solved = jnp.linalg.solve(jnp.concatenate([A[:, :num_states], B[:, num_states:]], axis=1), today)
    (e, g), (h, f) = (jnp.split(block, [num_states], axis=1) for block in jnp.split(solved, [num_states]))
    limit = star_limit(e, g, f, h)
    # x' = e x + g y' with y' = limit x'.
    g, h = limit.value, jnp.linalg.solve(jnp.eye(num_states, dtype=A.dtype) - matmul(g, limit.value), e)
    g, h, size = _refined(A, B, g, h)
    rounding = len(A) * float(jnp.finfo(A.dtype).eps)
    good = limit.converged & (size <= rounding)
    return _Found(g, h, jnp.where(good, int(SolveStatus.SOLVED), int(SolveStatus.NOT_SEPARATED)).astype(jnp.int32))


def _by_split(num_states: int, A: Array, B: Array) -> _Found:
    """QR factorisations only: slower, finds roots near the circle, and counts the stable ones."""
    split = split_at_circle(A, B)
    g, h, good = _from_subspace(A, B, split.annihilator, num_states)
    count = jnp.round(split.num_stable)
    status = jnp.int32(SolveStatus.SOLVED)
    for condition, code in (
        (~good | (count < num_states), SolveStatus.NO_STABLE_SOLUTION),
        (count > num_states, SolveStatus.NOT_UNIQUE),
        (~split.converged, SolveStatus.NOT_SEPARATED),
    ):
        status = jnp.where(condition, jnp.int32(code), status)
    return _Found(g, h, status)


def _from_subspace(A: Array, B: Array, annihilator: Array, num_states: int) -> tuple[Array, Array, Array]:
    """g and h of the subspace on which ``annihilator`` vanishes, refined, and whether they are the stable solution."""
    # annihilator [I; g] = 0 has n equations for each column, of which n - num_states are independent.
    q, r = jnp.linalg.qr(annihilator[:, num_states:])
    g = -solve_triangular(r, matmul(adjoint(q), annihilator[:, :num_states]))
    # One step of the time iteration, A V h + B2 g = -B1, whose error is that of g times u and h.
    matrix = jnp.concatenate([_extended(A, g), B[:, num_states:]], axis=1)
    both = -jnp.linalg.solve(matrix, B[:, :num_states])
    g, h, size = _refined(A, B, both[num_states:], both[:num_states])
    _, u, _, _ = _linearised(A, B, g, B[:, :num_states])
    stable = doubling_sum(h, jnp.zeros_like(h)).converged & doubling_sum(u, jnp.zeros_like(u)).converged
    return g, h, stable & (size < math.sqrt(float(jnp.finfo(A.dtype).eps)))


def _refined(A: Array, B: Array, g: Array, h: Array) -> tuple[Array, Array, Array]:
    """g and h after Newton's method, and their relative residual; a step that gains nothing is not taken."""
    enough = float(jnp.finfo(A.dtype).eps)

    def newton(state: tuple[Array, ...]) -> tuple[Array, ...]:
        g, h, size, steps = state
        t, u, r, s = _linearised(A, B, g, -_residual(A, B, g, h))
        dg = two_sided_sum(u, h, s).value
        moved = g + dg, h + r + matmul(t, dg, h)
        new = _error(A, B, *moved)
        better = new < size  # false for NaN
        g, h = jnp.where(better, moved[0], g), jnp.where(better, moved[1], h)
        return g, h, jnp.where(better, new, size), steps + 1

    def unfinished(state: tuple[Array, ...]) -> Array:
        *_, size, steps = state
        return (size > enough) & (steps < _NEWTON_STEPS)

    start = g, h, _error(A, B, g, h), jnp.asarray(0, jnp.int32)
    g, h, size, _ = lax.while_loop(unfinished, newton, start)
    return g, h, size


def _error(A: Array, B: Array, g: Array, h: Array) -> Array:
    """The largest entry of the residual, relative to the size of its equation; in balanced units."""
    # Not entry by entry: an entry that should be zero is rounding beside terms that are rounding, too. Whole equations
    # may consist of such entries, for example that of a shock without memory, so their coefficients count as well.
    sizes = jnp.abs(A), jnp.abs(B)
    terms = jnp.max(_residual(*sizes, jnp.abs(g), jnp.abs(h)), axis=1)
    scale = jnp.maximum(terms, jnp.max(sizes[0] + sizes[1], axis=1))
    residual = _residual(A, B, g, h)
    return relative(residual, jnp.broadcast_to(scale[:, None], residual.shape))
