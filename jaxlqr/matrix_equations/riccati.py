"""The discrete and the continuous algebraic Riccati equation, with their derivatives."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Inexact

from jaxlqr.core.checks import as_matrices, check_shapes
from jaxlqr.core.products import adjoint, hermitian, matmul
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.doubling import doubling_sum
from jaxlqr.matrix_equations.lyapunov import stable_continuous_lyapunov, stable_discrete_lyapunov
from jaxlqr.matrix_equations.results import (
    EquationResult,
    Solved,
    condition_number,
    diagnose,
    is_nearly_singular,
)
from jaxlqr.matrix_equations.riccati_solvers import (
    continuous_bellman,
    continuous_gain,
    discrete_bellman,
    discrete_gain,
    solve_continuous,
    solve_discrete,
)
from jaxlqr.matrix_equations.scaling import covariance_scale, magnitude, outer
from jaxlqr.matrix_equations.sign import sign_lyapunov

# In both rules below p is the least, over gains, of the Bellman operator at p. The gain is the minimiser, so its own
# change is of second order (envelope theorem): differentiate with the gain held. For the discrete equation
# p = bellman(a, b, q, r, s, gain, p) that gives
#     dp = closed^H dp closed + (derivative of bellman in a, b, q, r, s with gain and p held),
# and for the continuous one, 0 = bellman(a, b, q, r, s, gain, p),
#     closed^H dp + dp closed = -(derivative of bellman in a, b, q, r, s with gain and p held).


# Compiled as a whole also when called outside jit: op by op, a first call would take seconds.
@jax.custom_jvp
@jax.jit
def _dare(a: Array, b: Array, q: Array, r: Array, s: Array) -> Array:
    return solve_discrete(a, b, q, r, s).value


@_dare.defjvp
def _dare_jvp(primals, tangents):
    a, b, _, r, s = primals
    p = _dare(*primals)
    gain = discrete_gain(a, b, r, s, p)
    _, rhs = jax.jvp(lambda a, b, q, r, s: discrete_bellman(a, b, q, r, s, gain, p), primals, tangents)
    dp, _ = stable_discrete_lyapunov(adjoint(a - matmul(b, gain)), rhs)
    return p, dp


@jax.custom_jvp
@jax.jit
def _care(a: Array, b: Array, q: Array, r: Array, s: Array) -> Array:
    return solve_continuous(a, b, q, r, s).value


@_care.defjvp
def _care_jvp(primals, tangents):
    a, b, _, r, s = primals
    p = _care(*primals)
    gain = continuous_gain(b, r, s, p)
    _, rhs = jax.jvp(lambda a, b, q, r, s: continuous_bellman(a, b, q, r, s, gain, p), primals, tangents)
    return p, stable_continuous_lyapunov(adjoint(a - matmul(b, gain)), -rhs)


def _standard_form(function: str, a, b, q, r, e, s) -> tuple[Array, Array, Array, Array, Array]:
    """Checked arguments of the equation with e = I, q and r Hermitian and s an array."""
    given = {"a": a, "b": b, "q": q, "r": r, "e": e, "s": s}
    present = {name: value for name, value in given.items() if value is not None}
    arrays = dict(zip(present, as_matrices(function, **present), strict=True))
    letters = {"a": "nn", "b": "nm", "q": "nn", "r": "mm", "e": "nn", "s": "nm"}
    check_shapes(function, **{name: (arrays.get(name), shape) for name, shape in letters.items()})
    a, b, q, r = (arrays[name] for name in "abqr")
    if not b.size:
        raise ValueError(
            f"{function}: argument b must have at least one row and one column, got shape {b.shape}; without inputs "
            "the equation is a Lyapunov equation: use solve_discrete_lyapunov or solve_continuous_lyapunov."
        )
    s = arrays.get("s", jnp.zeros_like(b))
    # Only the Hermitian parts matter to the cost; taking them here makes derivatives right for any perturbation.
    q, r = hermitian(q), hermitian(r)
    if "e" in arrays:
        # Multiplied by e^-H from the left and e^-1 from the right, the equation has a e^-1, e^-H q e^-1 and e^-H s.
        e_t, e_h = arrays["e"].T, adjoint(arrays["e"])
        a = jnp.linalg.solve(e_t, a.T).T
        q = hermitian(jnp.linalg.solve(e_t, jnp.linalg.solve(e_h, q).T).T)
        s = jnp.linalg.solve(e_h, s)
    return a, b, q, r, s


def solve_discrete_are(
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    r: ArrayLike,
    e: ArrayLike | None = None,
    s: ArrayLike | None = None,
) -> Inexact[Array, "n n"]:
    r"""Stabilising solution of the discrete Riccati equation, with SciPy's order of arguments:

    .. math:: a^H x a - e^H x e - (a^H x b + s)(r + b^H x b)^{-1} (b^H x a + s^H) + q = 0.

    Arguments:
        a: square matrix [n, n], real or complex.
        b: matrix [n, m].
        q: [n, n]; its Hermitian part is used.
        r: [m, m]; its Hermitian part is used. It may be singular as long as r + b^H x b is not.
        e: nonsingular matrix [n, n]; the identity unless given.
        s: [n, m]; zero unless given.

    Returns:
        The solution x [n, n], Hermitian; NaN, in that lane only, where no stabilising solution is found. Differentiable
        in all arguments, in both modes and to any order, where the closed loop is strictly stable.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> print(f"{solve_discrete_are(one, one, one, one)[0, 0]:.4f}")  # x = (1 + sqrt 5) / 2
    1.6180

    Source: Chu, Fan, Lin, Wang, Int. J. Control 77 (2004), structure-preserving doubling; Kleinman (1968), refinement.
    """
    return _dare(*_standard_form("solve_discrete_are", a, b, q, r, e, s))


def solve_continuous_are(
    a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike, e: ArrayLike | None = None, s: ArrayLike | None = None
) -> Inexact[Array, "n n"]:
    r"""Stabilising solution of the continuous Riccati equation, with SciPy's order of arguments:

    .. math:: a^H x e + e^H x a - (e^H x b + s) r^{-1} (b^H x e + s^H) + q = 0.

    Arguments: as in :func:`solve_discrete_are`, but ``r`` must be invertible.
    Returns: the stabilising solution x [n, n]; NaN, in that lane only, if none is found.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> print(f"{solve_continuous_are(one, one, one, one)[0, 0]:.4f}")  # x = 1 + sqrt 2
    2.4142

    Source: Byers, Linear Algebra Appl. 85 (1987), matrix sign; Chu, Fan, Lin (2005), doubling; Kleinman (1968).
    """
    return _care(*_standard_form("solve_continuous_are", a, b, q, r, e, s))


def discrete_are_result(
    a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike, e: ArrayLike | None = None, s: ArrayLike | None = None
) -> EquationResult:
    """:func:`solve_discrete_are` with status, iterations, residual and condition; not differentiable.

    It takes the same arguments. It returns an :class:`EquationResult`. Residual and condition refer to the equation
    transformed to e = I, and the condition to the Lyapunov operator of the closed loop.

    >>> import jax.numpy as jnp
    >>> one, zero = jnp.eye(1), jnp.zeros((1, 1))
    >>> SolveStatus(int(discrete_are_result(2 * one, zero, one, one).status)).name  # nothing moves the unstable mode
    'NO_STABILIZING_SOLUTION'
    """
    return _discrete_result(*_standard_form("discrete_are_result", a, b, q, r, e, s))


@jax.jit
def _discrete_result(*inputs: Array) -> EquationResult:
    inputs = lax.stop_gradient(inputs)
    a, b, q, r, s = inputs
    solved = solve_discrete(*inputs)
    p = solved.value
    gain = discrete_gain(a, b, r, s, p)
    closed = a - matmul(b, gain)
    # The parts of a - b gain are as large as these, and what one of them is changed by meets the others through p.
    change = magnitude(adjoint(closed), p, jnp.abs(a) + magnitude(b, gain))
    terms = change + change.T + jnp.abs(p) + jnp.abs(q) + magnitude(adjoint(gain), r, gain)
    residual = discrete_bellman(a, b, q, r, s, gain, p) - p
    marginal = _spoils_gain(r + matmul(adjoint(b), p, b))
    return _diagnosed(solved, inputs, residual, terms, marginal, closed, lambda m, y: doubling_sum(m, y).value)


def _spoils_gain(matrix: Array) -> Array:
    """Whether the inverse of r + b^H x b, or of r, has lost half of its digits, and with it gain and residual."""
    return is_nearly_singular(matrix, tolerance=math.sqrt(float(jnp.finfo(matrix.dtype).eps)))


def _diagnosed(
    solved: Solved,
    inputs: tuple[Array, ...],
    residual: Array,
    terms: Array,
    marginal: Array,
    closed: Array,
    lyapunov: Callable[[Array, Array], Array],
) -> EquationResult:
    """The result; to first order a change of the residual moves the solution by ``lyapunov`` of ``closed``^H."""
    terms = outer(jnp.diagonal(terms), terms)
    p = solved.value
    condition = condition_number(
        lambda y: lyapunov(adjoint(closed), y), lambda y: lyapunov(closed, y), terms, covariance_scale(p), p
    )
    return diagnose(solved, inputs, residual, terms, condition, SolveStatus.NO_STABILIZING_SOLUTION, marginal)


def continuous_are_result(
    a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike, e: ArrayLike | None = None, s: ArrayLike | None = None
) -> EquationResult:
    """:func:`solve_continuous_are` with status, iterations, residual and condition; not differentiable.

    It takes the same arguments. It returns an :class:`EquationResult`, as :func:`discrete_are_result`.

    >>> import jax.numpy as jnp
    >>> one = jnp.eye(1)
    >>> SolveStatus(int(continuous_are_result(one, one, one, one).status)).name
    'SOLVED'
    """
    return _continuous_result(*_standard_form("continuous_are_result", a, b, q, r, e, s))


@jax.jit
def _continuous_result(*inputs: Array) -> EquationResult:
    inputs = lax.stop_gradient(inputs)
    a, b, q, r, s = inputs
    solved = solve_continuous(*inputs)
    p = solved.value
    gain = continuous_gain(b, r, s, p)
    closed = a - matmul(b, gain)
    drift, change = matmul(p, a), magnitude(p, jnp.abs(a) + magnitude(b, gain))
    terms = change + change.T + jnp.abs(q)
    residual = drift + adjoint(drift) - matmul(matmul(p, b) + s, gain) + q
    return _diagnosed(solved, inputs, residual, terms, _spoils_gain(r), closed, lambda m, y: sign_lyapunov(m, y).value)
