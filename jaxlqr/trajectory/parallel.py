r"""Linear-quadratic problems in O(log T) parallel steps, by associative scans.

The cost of going from x_i to x_j at best, a function of both ends, is kept in its dual form

    max over z of   x_i'J x_i / 2 - x_i'e - z'C z / 2 - z'(x_j - A x_i - b),

which is finite even where no control leads from x_i to x_j. Two stretches of time that meet combine into one
(:func:`_join`), and joining is associative. A stretch that ends in the final cost has A = b = C = 0: its J and -e are
the value function at its beginning.

Source: Särkkä, García-Fernández, IEEE Trans. Automatic Control 68 (2023), temporal parallelization of dynamic
programming and linear quadratic control, section IV; the cross term S is removed by u = w - R^-1 (S'x + r) first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import hermitian, matmul
from jaxlqr.trajectory.linear_quadratic import (
    Policy,
    Stage,
    Value,
    action_value,
    cholesky_solve,
    improve,
)


class _Stretch(NamedTuple):
    """The cost between the two ends of a stretch of time, in the dual form above."""

    A: Array  # [n, n]
    b: Array  # [n]
    C: Array  # [n, n]
    e: Array  # [n]
    J: Array  # [n, n]


def backward_in_parallel(stages: Stage, final: Value) -> tuple[Policy, Value]:
    """As :func:`jaxlqr.trajectory.linear_quadratic.backward`, with R positive definite at every step."""
    single = jax.vmap(_single)(stages)
    zero = jnp.zeros_like(final.V)
    end = _Stretch(zero, zero[0], zero, -final.v, final.V)
    stretches = jax.tree.map(lambda rows, last: jnp.concatenate([rows, last[None]]), single, end)
    # A reversed scan passes the later stretch first.
    joined = lax.associative_scan(jax.vmap(lambda later, earlier: _join(earlier, later)), stretches, reverse=True)
    values = Value(joined.J, -joined.e)
    after = jax.tree.map(lambda rows: rows[1:], values)
    policies, _ = jax.vmap(lambda stage, value: improve(action_value(stage, value), cholesky_solve))(stages, after)
    return policies, values


def simulate_in_parallel(stages: Stage, policies: Policy, x0: Array) -> tuple[Array, Array]:
    """As :func:`jaxlqr.trajectory.linear_quadratic.simulate`: a scan over affine maps x -> M x + d."""
    maps = stages.A - matmul(stages.B, policies.K)
    offsets = jax.vmap(matmul)(stages.B, policies.k) + stages.c

    def after(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        (M1, d1), (M2, d2) = first, second
        return matmul(M2, M1), matmul(M2, d1) + d2

    M, d = lax.associative_scan(jax.vmap(after), (maps, offsets))
    states = jnp.concatenate([x0[None], jax.vmap(matmul, in_axes=(0, None))(M, x0) + d])
    return states, policies.k - jax.vmap(matmul)(policies.K, states[:-1])


def _single(stage: Stage) -> _Stretch:
    n = stage.q.shape[0]
    # R^-1 [S', r, B']: all that removing the cross term and the controls needs.
    rows = cholesky_solve(hermitian(stage.R), jnp.concatenate([stage.S.mT, stage.r[:, None], stage.B.mT], axis=1))
    RS, Rr, RB = rows[:, :n], rows[:, n], rows[:, n + 1 :]
    return _Stretch(
        A=stage.A - matmul(stage.B, RS),
        b=stage.c - matmul(stage.B, Rr),
        C=hermitian(matmul(stage.B, RB)),
        e=-stage.q + matmul(stage.S, Rr),
        J=hermitian(stage.Q - matmul(stage.S, RS)),
    )


def _join(first: _Stretch, second: _Stretch) -> _Stretch:
    identity = jnp.eye(first.C.shape[-1], dtype=first.C.dtype)
    # (I + C1 J2)^-1 [A1, C1, b1 + C1 e2]; its counterpart with J2 C1 follows by symmetry, J2 (I + C1 J2)^-1 =
    # (I + J2 C1)^-1 J2, so that one factorisation serves all.
    right = [first.A, first.C, (first.b + matmul(first.C, second.e))[:, None]]
    solved = jnp.linalg.solve(identity + matmul(first.C, second.J), jnp.concatenate(right, axis=1))
    n = identity.shape[0]
    MA, MC, Mb = solved[:, :n], solved[:, n : 2 * n], solved[:, 2 * n]
    return _Stretch(
        A=matmul(second.A, MA),
        b=matmul(second.A, Mb) + second.b,
        C=hermitian(matmul(second.A, MC, second.A.mT)) + second.C,
        # A1'(I + J2 C1)^-1 (e2 - J2 b1) = A1'(e2 - J2 (I + C1 J2)^-1 (b1 + C1 e2)).
        e=matmul(first.A.mT, second.e - matmul(second.J, Mb)) + first.e,
        J=hermitian(matmul(first.A.mT, second.J, MA)) + first.J,
    )
