"""Exact values and visitation measures of a policy, each one linear solve with one factorisation."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.lax.linalg import lu, triangular_solve

from jaxlqr.core.batching import lapack_with_batch_rule
from jaxlqr.core.checks import refuse_half
from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.model import MDP

_FULL = lax.Precision.HIGHEST


class Evaluation(NamedTuple):
    r"""Value functions of a policy, all multiplied by :math:`1 - \gamma`, so that they lie in the range of the rewards.

    Attributes:
        V: state values [S].
        Q: action values [S, A].
        A: advantages Q - V [S, A]; their mean under the policy is zero in every state.
        J: the return, a scalar: the mean of V under the initial distribution.
    """

    V: Array
    Q: Array
    A: Array
    J: Array


class Resolvent:
    r"""Solves with :math:`I - \gamma P_\pi` [S, S] and its transpose from one LU factorisation.

    The equation is differentiated, not the factorisation: every derivative, of any order, is again a solve with it.

    The code factors the transpose. In each of its columns the diagonal entry exceeds the sum of the others by :math:`1
    - \gamma` or more. Elimination preserves this, so partial pivoting never exchanges rows, and no permutation is
    needed. Row by row in memory, the matrix also is the transpose column by column, which LAPACK takes as it is. Where
    rows were exchanged after all the policy was none, or gamma is one to rounding: solutions are NaN there.
    """

    def __init__(self, mdp: MDP, policy: Array) -> None:
        refuse_half("mdp", mdp=mdp, policy=policy)
        induced = jnp.einsum("sa,sat->st", policy, mdp.P, precision=_FULL)
        self.matrix: Array = jnp.eye(mdp.P.shape[0], dtype=induced.dtype) - mdp.gamma * induced
        self._factors, self._sound = _factor(lax.stop_gradient(self.matrix).T)

    def solve(self, right: Array) -> Array:
        """x with (I - gamma P) x = right, [S]."""
        return self._solve(self.matrix, right, transposed=False)

    def solve_transposed(self, right: Array) -> Array:
        """x with (I - gamma P)' x = right, [S]."""
        return self._solve(self.matrix.T, right, transposed=True)

    def _solve(self, matrix: Array, right: Array, *, transposed: bool) -> Array:
        return lax.custom_linear_solve(
            lambda x: jnp.matmul(matrix, x, precision=_FULL),
            right,
            solve=lambda _, b: self._substitute(b, transposed),
            transpose_solve=lambda _, b: self._substitute(b, not transposed),
        )

    def _substitute(self, right: Array, transposed: bool) -> Array:
        # (I - gamma P)' = L U.
        x = _SUBSTITUTE[transposed](self._factors, right)
        return jnp.where(self._sound, x, jnp.nan)


def _factored(matrix: Array) -> tuple[Array, Array]:
    """L and U in one matrix, and whether no rows were exchanged."""
    factors, pivots, _ = lu(matrix)
    return factors, jnp.all(pivots == jnp.arange(len(pivots), dtype=pivots.dtype))


def _substituted(factors: Array, right: Array, *, transposed: bool) -> Array:
    """x with L U x = right, or with the transpose of L U."""

    def through(x: Array, lower: bool) -> Array:
        return triangular_solve(
            factors, x, left_side=True, lower=lower, unit_diagonal=lower, transpose_a=not transposed
        )

    return through(through(right[:, None], lower=transposed), lower=not transposed)[:, 0]


_factor = lapack_with_batch_rule(_factored, lambda matrix: matrix[0] ** 3)
_SUBSTITUTE = {
    transposed: lapack_with_batch_rule(partial(_substituted, transposed=transposed), lambda matrix, _: matrix[0] ** 2)
    for transposed in (False, True)
}


def expected(P: Array, values: Array) -> Array:
    """Means of values [S] over the next state, [S, A]. One matrix and one vector: fast, as is its transpose."""
    S, A, _ = P.shape
    return jnp.matmul(P.reshape(S * A, S), values, precision=_FULL).reshape(S, A)


def reached(P: Array, measure: Array) -> Array:
    """Where a measure on pairs [S, A] leads in one step, [S]; the transpose of :func:`expected`."""
    return jnp.matmul(measure.ravel(), P.reshape(measure.size, -1), precision=_FULL)


@compiled()
def evaluate(mdp: MDP, policy: Array) -> Evaluation:
    r"""Exact values of a policy: :math:`V = (1 - \gamma) (I - \gamma P_\pi)^{-1} r_\pi`, Q, the advantages and J.

    One solve of size S; nothing of size S A x S A is formed. Differentiable in both modes and to any order.

    Arguments:
        mdp: the process, unbatched.
        policy: probabilities [S, A]; rows must sum to one.

    >>> from jaxlqr.families import bandit
    >>> float(evaluate(bandit([0.0, 1.0]), jnp.array([[0.25, 0.75]])).J)
    0.75

    Source: wang2020, equations (2.1) to (2.5).
    """
    return evaluate_with(Resolvent(mdp, policy), mdp, policy)


def evaluate_with(resolvent: Resolvent, mdp: MDP, policy: Array) -> Evaluation:
    """:func:`evaluate` with a factorisation that is used again."""
    rewards = (1 - mdp.gamma) * mdp.r
    V = resolvent.solve(jnp.sum(policy * rewards, axis=1))
    Q = rewards + mdp.gamma * expected(mdp.P, V)
    return Evaluation(V, Q, Q - V[:, None], jnp.sum(mdp.zeta * V))


@compiled()
def visitation(mdp: MDP, policy: Array) -> Array:
    r"""State-action visitation :math:`\sigma_\pi(s, a) = (1-\gamma) \sum_t \gamma^t\, \mathrm{Pr}(s_t = s, a_t = a)`.

    [S, A], a probability distribution; its sum over actions is the state visitation :math:`\nu_\pi`.

    >>> from jaxlqr.families import bandit
    >>> visitation(bandit([0.0, 1.0]), jnp.array([[0.25, 0.75]])).tolist()
    [[0.25, 0.75]]

    Source: wang2020, equation (2.4).
    """
    return visitation_with(Resolvent(mdp, policy), mdp, policy, mdp.zeta)


@compiled()
def visitation_from(mdp: MDP, policy: Array, s: int | Array, a: int | Array) -> Array:
    r"""Visitation :math:`\sigma^{(s,a)}_\pi` [S, A] of what follows action ``a`` in state ``s``: it starts from
    :math:`P(\cdot|s, a)`.

    Source: wang2020, Definition 3.1, equation (3.6).
    """
    return visitation_with(Resolvent(mdp, policy), mdp, policy, mdp.P[s, a])


def visitation_with(resolvent: Resolvent, mdp: MDP, policy: Array, start: Array) -> Array:
    """Visitation [S, A] from any start [S], a distribution or a signed measure."""
    states = (1 - mdp.gamma) * resolvent.solve_transposed(start)
    return states[:, None] * policy
