"""What a solver reports about its answer: status, residual and condition, lane by lane."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.attempts import Solved
from jaxlqr.matrix_equations.scaling import relative


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class EquationResult(Result):
    """Solution of a matrix equation with its diagnosis; under ``jax.vmap`` every array has a leading axis of lanes.

    Attributes:
        value: the solution; NaN where ``status`` says that there is none.
        status: :class:`~jaxlqr.SolveStatus` code.
        iterations: iterations spent by iterative methods, 0 for direct ones.
        residual: largest entry of the residual, relative to the size of the terms that add up to that entry; rounding
            gives about n * eps.
        condition: estimate of the condition number of the (for Riccati, the closed-loop) linear operator:
            eps * condition bounds the relative forward error. From below in theory, within a factor of ten in practice;
            infinite where the operator is singular.

    A change of units does not change ``status``, ``residual`` or ``condition``. An error in entry (i, j) is measured
    against the larger of sqrt(x_ii x_jj) and abs(x_ij); for Sylvester equations, against scales of row and column.
    """

    _noun = "matrix equations"
    _error = ArithmeticError

    value: Array
    status: Array
    iterations: Array
    residual: Array
    condition: Array


def diagnose(
    solved: Solved,
    inputs: tuple[Array, ...],
    residual: Array,
    terms: Array,
    condition: Array,
    failure: SolveStatus,
    marginal: Array | bool = False,
) -> EquationResult:
    """Result with status, from the residual matrix and the size of the terms that add up to each of its entries."""
    real = jnp.finfo(solved.value.dtype)
    ratio = relative(residual, terms)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in inputs]))
    # A stable algorithm leaves some n * eps; sqrt(eps) is far above that for any n and far below a wrong answer.
    inaccurate = ~(ratio < jnp.sqrt(real.eps))
    ill = marginal | ~(condition * real.eps < 1)
    status = jnp.asarray(SolveStatus.SOLVED, jnp.int32)
    for found, code in (
        (ill, SolveStatus.ILL_CONDITIONED),
        (inaccurate, SolveStatus.INACCURATE),
        (~solved.converged, failure),
        (~finite, SolveStatus.NOT_FINITE),
    ):
        status = jnp.where(found, code, status)
    return EquationResult(
        value=solved.value,
        status=status.astype(jnp.int32),
        iterations=solved.iterations,
        residual=ratio,
        condition=jnp.where(jnp.isfinite(condition), jnp.maximum(condition, 1), jnp.inf),
    )


def condition_number(
    solve: Callable[[Array], Array], solve_adjoint: Callable[[Array], Array], terms: Array, scale: Array, like: Array
) -> Array:
    """By how much the inverse of the linear operator of an equation enlarges relative changes, at most.

    A change of the equation by ``terms`` times e, entry by entry, changes the solution by ``scale`` times d. The result
    estimates, from below, the largest ratio of the norm of d to the norm of e. A change of units does not alter it, and
    neither does multiplying one entry of the equation by a number.
    """
    inverse = jnp.where(scale > 0, 1 / jnp.where(scale > 0, scale, 1), 0)
    inverse = jnp.where(jnp.isnan(scale), jnp.nan, inverse).astype(like.dtype)
    terms = terms.astype(like.dtype)
    return inverse_norm(lambda e: inverse * solve(terms * e), lambda d: terms * solve_adjoint(inverse * d), like)


def is_nearly_singular(matrix: Array, *, tolerance: float = 1.0) -> Array:
    """Whether rounding may make a Hermitian matrix singular, whose rows and columns are scaled to a diagonal of one.

    ``tolerance``: the relative error of the inverse, condition times eps, from which on the answer is yes.

    >>> [bool(is_nearly_singular(x)) for x in (jnp.diag(jnp.array([1.0, 1e-30])), jnp.ones((2, 2)))]
    [False, True]
    """
    root = jnp.sqrt(jnp.abs(jnp.diagonal(matrix)))
    root = jnp.where(root > 0, root, 1)
    scaled = matrix / root[:, None] / root[None, :]
    return ~(jnp.linalg.cond(scaled) * jnp.finfo(matrix.dtype).eps < tolerance)


def empty_result(value: Array) -> EquationResult:
    """Result of an equation without unknowns: solved by the empty matrix."""
    real = jnp.finfo(value.dtype).dtype
    return EquationResult(
        value=value,
        status=jnp.asarray(SolveStatus.SOLVED, jnp.int32),
        iterations=jnp.asarray(0, jnp.int32),
        residual=jnp.zeros((), real),
        condition=jnp.ones((), real),
    )


def inverse_norm(solve: Callable[[Array], Array], solve_adjoint: Callable[[Array], Array], like: Array) -> Array:
    """Estimate, from below, of the norm of a linear map and its adjoint in the Frobenius norm: four power iterations.

    Its inverse is the separation of the matrices of the equation.
    """
    # Deterministic and in no symmetry class: an eigenvector is missed with probability zero.
    start = jnp.cos(1.0 + 1.7 * jnp.arange(like.size, dtype=jnp.finfo(like.dtype).dtype) ** 1.3)
    start = start.reshape(like.shape).astype(like.dtype)

    def step(_, state):
        direction, _ = state
        image = solve(_unit(direction))
        return solve_adjoint(_unit(image)), jnp.linalg.norm(image)

    return lax.fori_loop(0, 4, step, (start, jnp.zeros((), start.real.dtype)))[1]


def _unit(x: Array) -> Array:
    size = jnp.linalg.norm(x)
    return x / jnp.where(size == 0, 1, size).astype(x.dtype)
