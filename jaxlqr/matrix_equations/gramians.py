"""The trace of a product with a Gramian, and its derivatives by both Gramians of a system at once."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.checks import refuse_half
from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.doubling import doubling_sum, doubling_sums
from jaxlqr.matrix_equations.powers import Powers, pays_off, powers_of, solve_with_powers


def gramian_trace(a: Array, q: Array, s: Array) -> Array:
    r"""Trace of ``s`` times the sum over k of :math:`a^k q (a^\top)^k`, a scalar.

    It is the cost of a linear system with a quadratic stage cost. With x the sum, and y the sum over :math:`(a^\top)^k
    s a^k`, it equals tr(s x) = tr(y q). A gradient needs both and takes them from one sequence of powers of ``a``, as
    does every further order of differentiation.

    Arguments: ``a``, ``q``, ``s`` real, [n, n]; of ``q`` and ``s`` the symmetric parts count. Returns: the trace; NaN,
    as are its derivatives, unless the spectral radius of ``a`` is below one. Differentiable in every argument, in both
    modes and to any order.

    >>> import jax, jax.numpy as jnp
    >>> half, one = jnp.full((1, 1), 0.5), jnp.ones((1, 1))
    >>> value, slope = jax.value_and_grad(gramian_trace)(half, one, one)  # 1 / (1 - a^2) and 2 a / (1 - a^2)^2
    >>> print(f"{value:.4f} {slope[0, 0]:.4f}")
    1.3333 1.7778
    """
    refuse_half("gramian_trace", a=a, q=q, s=s)
    return _trace(a, (q + q.T) / 2, (s + s.T) / 2)


@jax.custom_jvp
def _trace(a: Array, q: Array, s: Array) -> Array:
    return jnp.sum(doubling_sum(a, q).value * s)


# Differentiate x = q + a x a' and y = s + a' y a: both change by the same equations for other right-hand sides,
#     dx = (dq + da x a' + a x da') + a dx a',    dy = (ds + da' y a + a' y da) + a' dy a,
# and tr(s dx) = tr(y (dq + da x a' + a x da')) = tr(y dq) + 2 <y a x, da>, since x and y are symmetric.
@_trace.defjvp
def _(primals, tangents):
    (a, q, s), (da, dq, ds) = primals, tangents
    x, y = _gramians(powers_of(a) if pays_off(len(a)) else None, a, q, s)
    return jnp.sum(x * s), 2 * jnp.sum(matmul(y, a, x) * da) + jnp.sum(y * dq) + jnp.sum(x * ds)


@jax.custom_jvp
def _gramians(powers: Powers | None, a: Array, q: Array, s: Array) -> tuple[Array, Array]:
    """Both sums, as one linear equation for the pair: transposed, it is itself with the two exchanged.

    The powers of ``a``, if stored, are constants: solves of all orders use the same powers.
    """

    def solve(q: Array, s: Array) -> tuple[Array, Array]:
        if powers is None:
            return doubling_sums(a, q, s)
        return solve_with_powers(powers, q, transposed=False), solve_with_powers(powers, s, transposed=True)

    return lax.custom_linear_solve(
        lambda pair: (pair[0] - matmul(a, pair[0], a.T), pair[1] - matmul(a.T, pair[1], a)),
        (q, s),
        solve=lambda _, pair: solve(*pair),
        transpose_solve=lambda _, pair: solve(*pair[::-1])[::-1],
    )


# By default, custom_linear_solve differentiates its operator, which does not use the symmetry of x and y. This doubles
# the products, and a Hessian-vector product takes up to a tenth longer.
@_gramians.defjvp
def _(primals, tangents):
    (powers, a, _, _), (_, da, dq, ds) = primals, tangents
    x, y = _gramians(*primals)
    dx, dy = matmul(da, x, a.T), matmul(da.T, y, a)
    return (x, y), _gramians(powers, a, dq + dx + dx.T, ds + dy + dy.T)


@jax.custom_jvp
def infinite_unless(stable: Array, value: Array) -> Array:
    """``value`` where ``stable``; elsewhere +inf, with NaN for derivatives in both modes."""
    return jnp.where(stable, value, jnp.inf)


@infinite_unless.defjvp
def _(primals, tangents):
    # Where the cost is infinite it has no derivative. A plain where would give 0 in forward mode and NaN in reverse
    # mode. A factor that multiplies the tangent, or the cotangent, gives NaN in both.
    stable, value = primals
    return infinite_unless(stable, value), tangents[1] * jnp.where(stable, 1.0, jnp.nan).astype(value.dtype)
