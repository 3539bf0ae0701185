"""What a solver reports about its answer: status, residual and condition, lane by lane."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.status import check_lanes, short_repr
from jaxlqr.matrix_equations.attempts import Solved
from jaxlqr.matrix_equations.scaling import relative


class SolveStatus(enum.IntEnum):
    """What became of one equation.

    Attributes:
        SOLVED: the value satisfies the equation to rounding.
        ILL_CONDITIONED: it does, but the equation is so near to a singular one that no digit need be right; for a
            Riccati equation also: the closed loop is within rounding of the stability boundary, or what is inverted for
            its gain, r + b^H x b or r, is within rounding of a singular matrix, whatever the units of the inputs.
        NOT_FINITE: an input is NaN or infinite. The value is NaN.
        SINGULAR: no solution, or no unique one, to working precision. The value is NaN.
        NOT_STABLE: the method needs a stable coefficient and this one is not. The value is NaN.
        NO_STABILIZING_SOLUTION: the Riccati equation has none, or none was found. The value is NaN.
        INACCURATE: the residual is larger than rounding explains. The value is returned.
        NO_STABLE_SOLUTION: the quadratic equation has no solution whose eigenvalues are inside the unit circle, or none
            was found. The value is NaN.
        NOT_UNIQUE: the quadratic equation has several such solutions. The value is NaN.
    """

    SOLVED = 0
    ILL_CONDITIONED = 1
    NOT_FINITE = 2
    SINGULAR = 3
    NOT_STABLE = 4
    NO_STABILIZING_SOLUTION = 5
    INACCURATE = 6
    NO_STABLE_SOLUTION = 7
    NOT_UNIQUE = 8


_ADVICE = {
    SolveStatus.NOT_FINITE: "an argument holds NaN or infinity. Look upstream for a division by zero or an overflow.",
    SolveStatus.SINGULAR: (
        "the equation has no unique solution: two eigenvalues multiply (discrete) or add (continuous, Sylvester) to a "
        "forbidden value, such as an eigenvalue 1 or a pair 0.5 and 2. Perturb or rescale the model, or remove the "
        "mode."
    ),
    SolveStatus.NOT_STABLE: (
        "this method sums a series that needs a stable coefficient. If the system should be stable, check signs and "
        'transposes; if not, use method="auto" or "schur".'
    ),
    SolveStatus.NO_STABILIZING_SOLUTION: (
        "no stabilising solution was found. Likely (a, b) is not stabilisable, an eigenvalue on the stability boundary "
        "is not seen by q, or r or q is indefinite. Check the uncontrollable modes, or add a small multiple of the "
        "identity to q."
    ),
    SolveStatus.NO_STABLE_SOLUTION: (
        "no solution with all eigenvalues inside the unit circle was found. Fewer than n roots of det(a + b l + c l^2) "
        "are inside, or a root is on the circle. Check signs and the order of the arguments, or move the root."
    ),
    SolveStatus.NOT_UNIQUE: (
        "several solutions have all eigenvalues inside the unit circle, since more than n roots of "
        "det(a + b l + c l^2) are inside. Add the conditions that the model lacks."
    ),
    SolveStatus.INACCURATE: (
        "the residual is larger than rounding explains. Rescale the states to comparable sizes, use float64, or "
        "compare with scipy.linalg."
    ),
    SolveStatus.ILL_CONDITIONED: (
        "the equation is within rounding of a singular one, so the value may have no correct digit although its "
        "residual is small. Use float64, rescale, or move the eigenvalues away from the boundary."
    ),
}
_WITHOUT_VALUE = (
    SolveStatus.NOT_FINITE,
    SolveStatus.SINGULAR,
    SolveStatus.NOT_STABLE,
    SolveStatus.NO_STABILIZING_SOLUTION,
    SolveStatus.NO_STABLE_SOLUTION,
    SolveStatus.NOT_UNIQUE,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class EquationResult:
    """Solution of a matrix equation with its diagnosis; under ``jax.vmap`` every array has a leading axis of lanes.

    Attributes:
        value: the solution; NaN where ``status`` says that there is none.
        status: :class:`SolveStatus` code.
        iterations: iterations spent by iterative methods, 0 for direct ones.
        residual: largest entry of the residual, relative to the size of the terms that add up to that entry; rounding
            gives about n * eps.
        condition: estimate of the condition number of the (for Riccati, the closed-loop) linear operator:
            eps * condition bounds the relative forward error. From below in theory, within a factor of ten in practice;
            infinite where the operator is singular.

    A change of units does not change ``status``, ``residual`` or ``condition``. An error in entry (i, j) is measured
    against the larger of sqrt(x_ii x_jj) and abs(x_ij); for Sylvester equations, against scales of row and column.
    """

    value: Array
    status: Array
    iterations: Array
    residual: Array
    condition: Array

    def __repr__(self) -> str:
        return short_repr(self, SolveStatus)

    def check(self, *, allow_ill_conditioned: bool = True) -> "EquationResult":
        """Raise ``ArithmeticError`` with symptom, likely causes and remedies for a lane without a good value.

        ``allow_ill_conditioned=False`` also refuses values whose digits the conditioning may have spoilt. Returns the
        result itself. Outside ``jit`` only.
        """
        tolerated = {SolveStatus.ILL_CONDITIONED} if allow_ill_conditioned else set()
        advice = {status: remedy for status, remedy in _ADVICE.items() if status not in tolerated}
        check_lanes(self.status, advice, "matrix equations", ArithmeticError)
        return self


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


def is_nearly_singular(matrix: Array) -> Array:
    """Whether rounding may make a Hermitian matrix singular, whose rows and columns are scaled to a diagonal of one.

    >>> [bool(is_nearly_singular(x)) for x in (jnp.diag(jnp.array([1.0, 1e-30])), jnp.ones((2, 2)))]
    [False, True]
    """
    root = jnp.sqrt(jnp.abs(jnp.diagonal(matrix)))
    root = jnp.where(root > 0, root, 1)
    scaled = matrix / root[:, None] / root[None, :]
    return ~(jnp.linalg.cond(scaled) * jnp.finfo(matrix.dtype).eps < 1)


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
