r"""Finite-horizon linear-quadratic problems: their data, one backward step, and the sequential solution.

The problem, over x_0 .. x_T [n] and u_0 .. u_{T-1} [m], for a given x_0:

    minimise  sum_t  x'Q_t x / 2 + x'S_t u + u'R_t u / 2 + q_t'x + r_t'u   +   x_T'Q_T x_T / 2 + q_T'x_T
    subject to  x_{t+1} = A_t x_t + B_t u_t + c_t.

Its value function is quadratic, x'V_t x / 2 + v_t'x + const, and its policy affine, u_t = k_t - K_t x_t.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.linalg import cho_factor, cho_solve

from jaxlqr.core.products import hermitian, matmul

Solve = Callable[[Array, Array], Array]  # (symmetric matrix [m, m], right-hand side [m, k]) -> [m, k]


class Stage(NamedTuple):
    """Dynamics and cost of one step, or of all of them with a leading time axis T."""

    A: Array  # [n, n]
    B: Array  # [n, m]
    c: Array  # [n]
    Q: Array  # [n, n]
    S: Array  # [n, m]
    R: Array  # [m, m]
    q: Array  # [n]
    r: Array  # [m]


class Value(NamedTuple):
    """Quadratic function x'Vx / 2 + v'x of a state: a value function, or the final cost."""

    V: Array  # [n, n]
    v: Array  # [n]


class Policy(NamedTuple):
    """Affine feedback u = k - K x."""

    K: Array  # [m, n]
    k: Array  # [m]


class ActionValue(NamedTuple):
    """Derivatives of cost plus next value with respect to state and control, (65) of nguyen2023."""

    qx: Array  # [n]
    qu: Array  # [m]
    Qxx: Array  # [n, n]
    Qux: Array  # [m, n]
    Quu: Array  # [m, m]


def action_value(stage: Stage, after: Value) -> ActionValue:
    """(65) of nguyen2023, with the offset c of the dynamics."""
    ahead = after.v + matmul(after.V, stage.c)
    VA, VB = matmul(after.V, stage.A), matmul(after.V, stage.B)
    return ActionValue(
        qx=stage.q + matmul(stage.A.mT, ahead),
        qu=stage.r + matmul(stage.B.mT, ahead),
        Qxx=hermitian(stage.Q + matmul(stage.A.mT, VA)),
        Qux=stage.S.mT + matmul(stage.B.mT, VA),
        Quu=hermitian(stage.R + matmul(stage.B.mT, VB)),
    )


def cholesky_solve(matrix: Array, right: Array) -> Array:
    """Solution for a positive definite matrix; NaN for any other."""
    return cho_solve(cho_factor(matrix), right)


def improve(action: ActionValue, solve: Solve) -> tuple[Policy, Value]:
    """Policy that minimises the action value, and the value function it has.

    The value function belongs to the policy, for any ``solve``: (69) of nguyen2023 drops terms that vanish only for an
    exact solve (errata N1).
    """
    # One factorisation: the gain and the feedforward are columns of one right-hand side.
    solution = solve(action.Quu, jnp.concatenate([action.Qux, action.qu[:, None]], axis=1))
    K, k = solution[:, :-1], -solution[:, -1]
    QuuK = matmul(action.Quu, K)
    mixed = matmul(K.mT, action.Qux)
    V = hermitian(action.Qxx + matmul(K.mT, QuuK) - mixed - mixed.mT)
    v = action.qx + matmul(action.Qux.mT, k) - matmul(K.mT, action.qu) - matmul(QuuK.mT, k)
    return Policy(K, k), Value(V, v)


def backward(stages: Stage, final: Value, solve: Solve = cholesky_solve) -> tuple[Policy, Value]:
    """Policies [T, ...] and value functions [T + 1, ...] by dynamic programming, one step after the other."""

    def step(after: Value, stage: Stage):
        policy, value = improve(action_value(stage, after), solve)
        return value, (policy, value)

    _, (policies, values) = lax.scan(step, final, stages, reverse=True)
    return policies, jax.tree.map(lambda rows, last: jnp.concatenate([rows, last[None]]), values, final)


def simulate(stages: Stage, policies: Policy, x0: Array) -> tuple[Array, Array]:
    """States [T + 1, n] and controls [T, m] under affine policies."""

    def step(x: Array, at: tuple[Stage, Policy]):
        stage, policy = at
        u = policy.k - matmul(policy.K, x)
        return matmul(stage.A, x) + matmul(stage.B, u) + stage.c, (x, u)

    last, (states, controls) = lax.scan(step, x0, (stages, policies))
    return jnp.concatenate([states, last[None]]), controls


def objective(stages: Stage, final: Value, states: Array, controls: Array) -> Array:
    """The cost of a trajectory, a scalar."""

    def at(stage: Stage, x: Array, u: Array) -> Array:
        quadratic = x @ (stage.Q @ x) / 2 + x @ (stage.S @ u) + u @ (stage.R @ u) / 2
        return quadratic + stage.q @ x + stage.r @ u

    last = states[-1]
    return jnp.sum(jax.vmap(at)(stages, states[:-1], controls)) + last @ (final.V @ last) / 2 + final.v @ last
