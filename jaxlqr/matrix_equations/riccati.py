"""The discrete algebraic Riccati equation, by structured doubling, and its derivative."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxlqr.matrix_equations.checks import as_floating
from jaxlqr.matrix_equations.lyapunov import stable_discrete_lyapunov
from jaxlqr.matrix_equations.products import adjoint, matmul


class _Doubling(NamedTuple):
    a: Array  # A_k
    g: Array  # G_k
    h: Array  # H_k, which tends to the solution from below
    change: Array  # max|H_k - H_{k-1}| / max|H_k|
    steps: Array


def _structured_doubling(a: Array, b: Array, q: Array, r: Array) -> Array:
    # A <- A W^-1 A,  G <- G + A W^-1 G A^H,  H <- H + A^H H W^-1 A,  with W = I + G H: the closed loop is squared in
    # each step, so that the error after k steps is its spectral radius to the power 2^(k+1).
    identity = jnp.eye(a.shape[0], dtype=a.dtype)
    real = jnp.finfo(a.dtype)
    cap = math.ceil(-math.log2(float(real.eps))) + 6

    def step(state: _Doubling) -> _Doubling:
        w = identity + matmul(state.g, state.h)
        solved = jnp.linalg.solve(w, jnp.concatenate([state.a, state.g], axis=1))
        w_a, w_g = jnp.split(solved, 2, axis=1)
        g = state.g + matmul(state.a, w_g, adjoint(state.a))
        h = state.h + matmul(adjoint(state.a), state.h, w_a)
        g, h = (g + adjoint(g)) / 2, (h + adjoint(h)) / 2
        change = jnp.max(jnp.abs(h - state.h)) / jnp.max(jnp.abs(h))
        return _Doubling(matmul(state.a, w_a), g, h, change, state.steps + 1)

    def unfinished(state: _Doubling) -> Array:
        # NaN compares false, so a lane without a solution ends the loop instead of holding up its batch.
        return (state.change > float(real.eps)) & (state.steps < cap)

    g = matmul(b, jnp.linalg.solve(r, adjoint(b)))
    start = _Doubling(a, g, q, jnp.asarray(jnp.inf, real.dtype), jnp.asarray(0, jnp.int32))
    return lax.while_loop(unfinished, step, start).h


def lqr_gain(a: Array, b: Array, r: Array, p: Array) -> Array:
    """Gain (r + b^H p b)^-1 b^H p a that minimises one step of cost when the cost to go is x^H p x; shape [m, n]."""
    return jnp.linalg.solve(r + matmul(adjoint(b), p, b), matmul(adjoint(b), p, a))


def _bellman(a: Array, b: Array, q: Array, r: Array, gain: Array, p: Array) -> Array:
    closed = a - matmul(b, gain)
    return q + matmul(adjoint(gain), r, gain) + matmul(adjoint(closed), p, closed)


@jax.custom_jvp
def _dare(a: Array, b: Array, q: Array, r: Array) -> Array:
    p = _structured_doubling(a, b, q, r)
    # One Newton (Kleinman) step squares the error that the doubling left and, because it is a Lyapunov solve that
    # demands stability, turns a solution that does not stabilise into NaN.
    gain = lqr_gain(a, b, r, p)
    p, _ = stable_discrete_lyapunov(adjoint(a - matmul(b, gain)), q + matmul(adjoint(gain), r, gain))
    return (p + adjoint(p)) / 2


@_dare.defjvp
def _dare_jvp(primals, tangents):
    # p = min over gains of bellman(a, b, q, r, gain, p). The gain is the minimiser, so its own change is of second
    # order (envelope theorem): dp = closed^H dp closed + (derivative of bellman in a, b, q, r with gain and p held).
    a, b, q, r = primals
    p = _dare(a, b, q, r)
    gain = lqr_gain(a, b, r, p)
    _, rhs = jax.jvp(lambda a, b, q, r: _bellman(a, b, q, r, gain, p), primals, tangents)
    dp, _ = stable_discrete_lyapunov(adjoint(a - matmul(b, gain)), rhs)
    return p, dp


def solve_discrete_are(a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike) -> Array:
    r"""Stabilising solution of the discrete Riccati equation, with SciPy's order of arguments:

    .. math:: a^H x a - x - a^H x b (r + b^H x b)^{-1} b^H x a + q = 0.

    Arguments: ``a`` [n, n], ``b`` [n, m], ``q`` [n, n] and ``r`` [m, m], Hermitian, ``r`` invertible.
    Returns: x [n, n], Hermitian; NaN, in that lane only, where no stabilising solution is found. Differentiable in all
    four arguments, in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> print(f"{solve_discrete_are(one, one, one, one)[0, 0]:.4f}")  # x = (1 + sqrt 5) / 2
    1.6180

    Source: Chu, Fan, Lin, Wang, Int. J. Control 77 (2004), structure-preserving doubling.
    """
    arrays = [
        as_floating(value, name, "solve_discrete_are") for value, name in ((a, "a"), (b, "b"), (q, "q"), (r, "r"))
    ]
    if any(array.ndim != 2 for array in arrays):
        raise ValueError(
            f"solve_discrete_are: arguments must be matrices, got shapes {[x.shape for x in arrays]}; use jax.vmap for "
            "a batch."
        )
    n, m = arrays[1].shape
    expected = [(n, n), (n, m), (n, n), (m, m)]
    if [array.shape for array in arrays] != expected:
        raise ValueError(
            "solve_discrete_are: arguments a, b, q, r must have shapes [n, n], [n, m], [n, n], [m, m], got "
            f"{[array.shape for array in arrays]}."
        )
    dtype = jnp.result_type(*arrays)
    a, b, q, r = (array.astype(dtype) for array in arrays)
    # Only the Hermitian parts matter to the cost; taking them here makes derivatives right for any perturbation.
    return _dare(a, b, (q + adjoint(q)) / 2, (r + adjoint(r)) / 2)
