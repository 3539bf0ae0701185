"""The trace of a product with a Gramian in continuous time, and its derivatives by both Gramians at once."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.checks import refuse_half
from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.sign_sums import sign_gramians


def continuous_gramian_trace(a: Array, q: Array, s: Array) -> Array:
    r"""Trace of ``s`` times the integral over t >= 0 of :math:`e^{a t} q e^{a^\top t}`, a scalar.

    It is the cost of a continuous linear system with a quadratic running cost. With x the integral, and y the integral
    of :math:`e^{a^\top t} s e^{a t}`, it equals tr(s x) = tr(y q). A gradient needs both. One matrix sign iteration
    computes them, for every order of differentiation. :func:`gramian_trace` is the same in discrete time.

    Arguments: ``a``, ``q``, ``s`` real, [n, n]; of ``q`` and ``s`` the symmetric parts count. Returns: the trace; NaN,
    as are its derivatives, unless all eigenvalues of ``a`` have negative real parts. Differentiable in every argument,
    in both modes and to any order.

    >>> import jax, jax.numpy as jnp
    >>> minus, one = -jnp.full((1, 1), 0.5), jnp.ones((1, 1))
    >>> value, slope = jax.value_and_grad(continuous_gramian_trace)(minus, one, one)  # -1 / (2 a) and 1 / (2 a^2)
    >>> print(f"{value:.4f} {slope[0, 0]:.4f}")
    1.0000 2.0000

    Source: Roberts, Int. J. Control 32 (1980), sign iteration.
    """
    refuse_half("continuous_gramian_trace", a=a, q=q, s=s)
    return _compiled_trace(a, (q + q.T) / 2, (s + s.T) / 2)


@jax.custom_jvp
def _trace(a: Array, q: Array, s: Array) -> Array:
    return jnp.sum(sign_gramians(a, q, s)[0] * s)


# Differentiate a x + x a' + q = 0 and a' y + y a + s = 0: both change by the same equations for other right-hand sides,
#     a dx + dx a' + (dq + da x + x da') = 0,    a' dy + dy a + (ds + da' y + y da) = 0,
# and tr(s dx) = tr(y (dq + da x + x da')) = tr(y dq) + 2 <y x, da>, since x and y are symmetric.
@_trace.defjvp
def _(primals, tangents):
    (a, q, s), (da, dq, ds) = primals, tangents
    x, y = _gramians(a, q, s)
    return jnp.sum(x * s), 2 * jnp.sum(matmul(y, x) * da) + jnp.sum(y * dq) + jnp.sum(x * ds)


# Called without jit, the sign iteration would be compiled anew in each call.
_compiled_trace = jax.jit(_trace)


@jax.custom_jvp
def _gramians(a: Array, q: Array, s: Array) -> tuple[Array, Array]:
    """Both integrals, as one linear equation for the pair: transposed, it is itself with the two exchanged."""
    return lax.custom_linear_solve(
        lambda pair: (
            -matmul(a, pair[0]) - matmul(pair[0], a.T),
            -matmul(a.T, pair[1]) - matmul(pair[1], a),
        ),
        (q, s),
        solve=lambda _, pair: sign_gramians(a, *pair),
        transpose_solve=lambda _, pair: sign_gramians(a, *pair[::-1])[::-1],
    )


# As in jaxlqr.matrix_equations.gramians: by default, custom_linear_solve does not use the symmetry of x and y.
@_gramians.defjvp
def _(primals, tangents):
    (a, _, _), (da, dq, ds) = primals, tangents
    x, y = _gramians(*primals)
    dx, dy = matmul(da, x), matmul(da.T, y)
    return (x, y), _gramians(a, dq + dx + dx.T, ds + dy + dy.T)
