"""Optimal feedback gains, from the Riccati equations; the feedback is u = -gain x."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Inexact

from jaxlqr.core.checks import as_matrices
from jaxlqr.core.products import hermitian
from jaxlqr.matrix_equations.riccati import solve_continuous_are, solve_discrete_are
from jaxlqr.matrix_equations.riccati_solvers import continuous_gain, discrete_gain


class Regulator(NamedTuple):
    """Optimal gain [m, n] and the solution [n, n] of the Riccati equation, the cost to go."""

    gain: Inexact[Array, "m n"]
    solution: Inexact[Array, "n n"]


def discrete_lqr(
    a: ArrayLike,
    b: ArrayLike,
    q: ArrayLike,
    r: ArrayLike,
    s: ArrayLike | None = None,
) -> Regulator:
    r"""Gain that minimises the cost of :math:`x_{t+1} = a x_t + b u_t` under :math:`u_t = -\mathrm{gain}\, x_t`,

    .. math:: \sum_t x_t^H q x_t + u_t^H r u_t + 2\,\mathrm{Re}\, x_t^H s u_t.

    Arguments: ``a`` [n, n], ``b`` [n, m], ``q`` [n, n], ``r`` [m, m], ``s`` [n, m] (zero unless given).
    Returns: :class:`Regulator` ``(gain, solution)``; NaN where no stabilising gain is found. Differentiable in all
    arguments, in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> print(f"{discrete_lqr(one, one, one, one).gain[0, 0]:.4f}")
    0.6180

    Source: Anderson, Moore, Optimal Control: Linear Quadratic Methods (1990), section 2.4.
    """
    solution = solve_discrete_are(a, b, q, r, s=s)
    a, b, r, s = _same_dtype("discrete_lqr", a, b, r, s, solution)
    return Regulator(discrete_gain(a, b, hermitian(r), s, solution), solution)


def continuous_lqr(a: ArrayLike, b: ArrayLike, q: ArrayLike, r: ArrayLike, s: ArrayLike | None = None) -> Regulator:
    r"""Gain that minimises the cost of :math:`\dot x = a x + b u` under :math:`u = -\mathrm{gain}\, x`,

    .. math:: \int x^H q x + u^H r u + 2\,\mathrm{Re}\, x^H s u \; dt.

    Arguments and returns: as in :func:`discrete_lqr`.

    >>> import jax.numpy as jnp
    >>> one = jnp.array([[1.0]])
    >>> print(f"{continuous_lqr(one, one, one, one).gain[0, 0]:.4f}")
    2.4142

    Source: Anderson, Moore, Optimal Control: Linear Quadratic Methods (1990), section 2.3.
    """
    solution = solve_continuous_are(a, b, q, r, s=s)
    _, b, r, s = _same_dtype("continuous_lqr", a, b, r, s, solution)
    return Regulator(continuous_gain(b, hermitian(r), s, solution), solution)


def _same_dtype(function: str, a, b, r, s, solution: Array) -> list[Array]:
    arrays = as_matrices(function, a=a, b=b, r=r, **({} if s is None else {"s": s}))
    if s is None:
        arrays.append(jnp.zeros_like(arrays[1]))
    return [array.astype(solution.dtype) for array in arrays]
