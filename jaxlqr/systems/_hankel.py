r"""Hankel singular values of a system, their singular vectors, and penalties that make a system small.

With P = f f' and Q = g g' the Gramians, the values are the singular values of g' f = U S V'. The factors are computed
without the Gramians (:mod:`jaxlqr.matrix_equations.sign_sums`), so that values far below the largest keep their digits.
The columns of v = f V S^-1/2 and w = g U S^-1/2 span the balanced states: w' P w = v' Q v = S and w' v = I.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxlqr.core.arguments import check_count
from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.gramians import infinite_unless
from jaxlqr.matrix_equations.sign_sums import continuous_factors, discrete_factors
from jaxlqr.systems._gramians import balanced, gramian, one_system
from jaxlqr.systems._state_space import StateSpace, check_system


class Balance(NamedTuple):
    """The first r columns v and w [n, r] of the balancing transformation and of its inverse, and r values."""

    right: Array
    left: Array
    values: Array


class Balanced(NamedTuple):
    """A system in units of comparable size, its :class:`Balance` there, and whether it is stable and has r values."""

    system: StateSpace
    balance: Balance
    stable: Array
    reachable: Array


def _cutoff(values: Array, size: int) -> Array:
    """Below this a Hankel value is rounding."""
    return size * jnp.finfo(values.dtype).eps * values[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _balance(order: int, p: Array, q: Array, f: Array, g: Array) -> Balance:
    """Of the first ``order`` values, from the factors; ``p`` and ``q`` serve the derivatives."""
    u, values, vt = jnp.linalg.svd(matmul(g.T, f))
    kept = values[:order]
    there = kept > _cutoff(values, len(values))
    # A value that is rounding belongs to no direction: its columns are zero, and so are its derivatives.
    root = jnp.where(there, 1 / jnp.sqrt(jnp.where(there, kept, 1)), 0)[None, :]
    right, left = matmul(f, vt[:order].T) * root, matmul(g, u[:, :order]) * root
    largest = jnp.argmax(jnp.abs(right), axis=0)[None, :]
    sign = jnp.where(jnp.take_along_axis(right, largest, axis=0) < 0, -1, 1).astype(f.dtype)
    return Balance(right * sign, left * sign, kept)


# Perturb p and q in balanced coordinates, x = w' dp w and y = v' dq v, and turn them back to be balanced by v (I + t):
#     t_ij s_j + s_i t_ji = x_ij,   s_i t_ij + t_ji s_j = -y_ij   for i != j,   ds_i = (x_ii + y_ii) / 2,
# so that the symmetric part of t is (x - y) / (2 (s_i + s_j)), the diagonal included, and the antisymmetric part is
# (x + y) / (2 (s_j - s_i)). The latter turns vectors of equal values among each other, which is arbitrary: it is set to
# zero there, and does not count in what depends on the values symmetrically. Outside of the span, p q v_i = s_i^2 v_i
# changes by
#     (s_i^2 I - p' q') dv_i = (I - v w') (s_i dp w_i + p dq v_i),   p' = p - v s v', q' = q - w s w',
# where the left side has no small divisor but s_i^2 - s_j^2 with j > r, and w likewise.
@_balance.defjvp
def _(order, primals, tangents):
    (p, q, _, _), (dp, dq, _, _) = primals, tangents
    balance = _balance(order, *primals)
    v, w, s = balance
    x, y = matmul(w.T, dp, w), matmul(v.T, dq, v)
    rows, columns = s[:, None], s[None, :]
    total, gap = rows + columns, columns - rows
    # Where values are nearly equal, terms that must cancel are divided by a rounded gap: half of the digits are kept.
    apart = jnp.abs(gap) > float(jnp.finfo(s.dtype).eps) ** 0.5 * total + 16 * _cutoff(s, len(p))
    even = jnp.where(total > 0, (x - y) / (2 * jnp.where(total > 0, total, 1)), 0)
    turn = even + jnp.where(apart, (x + y) / (2 * jnp.where(apart, gap, 1)), 0)
    there = s > _cutoff(s, len(p))
    square = jnp.where(there, s, 1) ** 2
    rest = matmul(p - matmul(v * columns, v.T), q - matmul(w * columns, w.T))
    operators = jnp.eye(len(p), dtype=p.dtype)[None] - jnp.where(there, 1 / square, 0)[:, None, None] * rest[None]
    right = (columns * matmul(dp, w) + matmul(p, dq, v)) / square[None, :]
    left = (columns * matmul(dq, v) + matmul(q, dp, w)) / square[None, :]
    right, left = right - matmul(v, w.T, right), left - matmul(w, v.T, left)
    outside = [
        jax.vmap(jnp.linalg.solve, (0, 1), 1)(operators, right),
        jax.vmap(jnp.linalg.solve, (0, 1), 1)(operators.mT, left),
    ]
    change = Balance(
        matmul(v, turn) + outside[0],
        outside[1] - matmul(w, turn.T),
        (jnp.diagonal(x) + jnp.diagonal(y)) / 2,
    )
    return balance, change


def balance(system: StateSpace, order: int) -> Balanced:
    """The directions and values of the ``order`` largest Hankel values, differentiable in every matrix."""
    system = balanced(system)
    a, b, c = system.A, system.B, system.C
    discrete = system.is_discrete
    factors = discrete_factors if discrete else continuous_factors
    f, g, stable = factors(*lax.stop_gradient((a, b, c)))
    f, g = jnp.where(stable, f, 0), jnp.where(stable, g, 0)
    p = gramian(a, matmul(b, b.T), discrete=discrete)
    q = gramian(a.T, matmul(c.T, c), discrete=discrete)
    found = _balance(order, p, q, f, g)
    return Balanced(system, found, stable, found.values[-1] > _cutoff(found.values, len(a)))


def values_of(system: StateSpace) -> tuple[Array, Array]:
    """All Hankel values [n], and whether the system is stable."""
    if not system.A.size:
        return jnp.zeros(0, system.D.dtype), jnp.asarray(True)
    found = balance(system, len(system.A))
    return found.balance.values, found.stable


def with_order(system: Any, order: Any) -> dict[str, Any]:
    """The checked system and order; ``order`` is from 1 to n."""
    system = check_system(system)
    check_count("order", order)
    if order > system.num_states:
        raise ValueError(
            f"order must be at most the number of states, {system.num_states}, got {order}; give a smaller order."
        )
    return {"system": system, "order": int(order)}


@compiled(prepare=one_system)
def hankel_singular_values(system: StateSpace) -> Float[Array, " n"]:
    r"""Return the Hankel singular values of a system, shape [n], largest first.

    .. math:: \sigma_i = \sqrt{\lambda_i(P Q)},

    with P and Q the controllability and the observability Gramian. A state with a small value is hard to reach or hard
    to see. The values do not depend on the coordinates of the state, and have the unit of y / u.

    Arguments:
        system: one :class:`StateSpace`, in continuous or discrete time; ``jax.vmap`` batches.

    Returns:
        The values; NaN if the system is not stable. A value is differentiable, in both modes and to any order, where it
        is simple and not zero. For equal values, the derivatives belong to one choice of directions. Functions that
        treat equal values symmetrically, such as the sum, still have correct derivatives. The derivatives of a value
        that is zero to rounding are 0.

    >>> from jaxlqr import systems
    >>> print(f"{systems.hankel_singular_values(systems.ss([[-2.0]], [[1.0]], [[4.0]]))[0]:.4f}")  # b c / (2 a)
    1.0000

    Source: Laub, Heath, Paige, Ward, IEEE Trans. Automat. Control 32 (1987); Benner, Quintana-Orti, Numer. Algorithms
    20 (1999) for factors by the sign iteration.
    """
    values, stable = values_of(system)
    return jnp.where(stable, values, jnp.nan)


@compiled(prepare=one_system)
def hankel_nuclear_norm(system: StateSpace) -> Float[Array, ""]:
    r"""Return the sum of all Hankel singular values, a scalar: a penalty that makes a system small.

    It is the nuclear norm of the Hankel operator, the convex envelope of the number of states that matter. As a term of
    a loss it pushes small values to zero, as the l1 norm does.

    Arguments:
        system: one :class:`StateSpace`; ``jax.vmap`` batches.

    Returns:
        The sum, in the unit of y / u; +inf, with derivatives NaN, if the system is not stable. Equal values are no
        obstacle to derivatives of any order. Where values are zero the sum has a kink: the derivative is the
        subgradient that leaves their directions alone.

    >>> from jaxlqr import systems
    >>> print(f"{systems.hankel_nuclear_norm(systems.ss([[-2.0]], [[1.0]], [[4.0]])):.4f}")
    1.0000

    Source: Fazel, Hindi, Boyd, ACC 2001, for the nuclear norm as a penalty of the order.
    """
    values, stable = values_of(system)
    return infinite_unless(stable, jnp.sum(values))


@compiled(prepare=with_order, static=("order",))
def hankel_tail(system: StateSpace, order: int) -> Float[Array, ""]:
    r"""Return the sum of the Hankel singular values after the ``order`` largest, a scalar.

    As a penalty it leaves the ``order`` states that matter alone, and makes the others vanish.

    Arguments:
        system: one :class:`StateSpace`; ``jax.vmap`` batches.
        order: number of values that do not count, from 1 to n; static.

    Returns:
        The sum; +inf, with derivatives NaN, if the system is not stable. Differentiable to any order where the values
        number ``order`` and ``order`` + 1 differ; zero values as in :func:`hankel_nuclear_norm`.
    """
    values, stable = values_of(system)
    return infinite_unless(stable, jnp.sum(values[order:]))


@compiled(prepare=with_order, static=("order",))
def truncation_bound(system: StateSpace, order: int) -> Float[Array, ""]:
    r"""Return the bound :math:`2 \sum_{i > r} \sigma_i` on the error of a reduction to ``order`` r, a scalar.

    The H-infinity norm of the difference of ``system`` and its :func:`balanced_truncation`, or
    :func:`balanced_residualization`, is not larger. It is twice :func:`hankel_tail`, with the same derivatives.

    Arguments: as :func:`hankel_tail`. Source: Enns, CDC 1984; Glover, Int. J. Control 39 (1984).
    """
    values, stable = values_of(system)
    return infinite_unless(stable, 2 * jnp.sum(values[order:]))


@compiled(prepare=one_system)
def hankel_log_det(system: StateSpace, floor: Float[Array, ""] | float) -> Float[Array, ""]:
    r"""Return :math:`\tfrac12 \log\det(I + P Q / \epsilon^2) = \tfrac12 \sum_i \log(1 + \sigma_i^2 / \epsilon^2)`.

    A smooth penalty of the number of Hankel values above ``floor``: a value far below counts nothing, and a value above
    counts by its logarithm. It is differentiable to any order everywhere, also where values are equal or zero.

    Arguments:
        system: one :class:`StateSpace`; ``jax.vmap`` batches.
        floor: the size epsilon, positive, in the unit of y / u, below which a value may be neglected.

    Returns:
        A scalar; +inf, with derivatives NaN, if the system is not stable.

    >>> from jaxlqr import systems
    >>> print(f"{systems.hankel_log_det(systems.ss([[-2.0]], [[1.0]], [[4.0]]), 1.0):.4f}")  # log(2) / 2
    0.3466

    Source: Fazel, Hindi, Boyd, ACC 2003, for the log-det penalty of the order.
    """
    if not system.A.size:
        return jnp.zeros((), system.D.dtype)
    system = balanced(system)
    p = gramian(system.A, matmul(system.B, system.B.T), discrete=system.is_discrete)
    q = gramian(system.A.T, matmul(system.C.T, system.C), discrete=system.is_discrete)
    floor = jnp.asarray(floor, p.dtype)
    stable = ~jnp.isnan(p[0, 0]) & ~jnp.isnan(q[0, 0])
    matrix = jnp.eye(len(p), dtype=p.dtype) + matmul(p / floor, q / floor)
    return infinite_unless(stable, jnp.linalg.slogdet(matrix)[1] / 2)
