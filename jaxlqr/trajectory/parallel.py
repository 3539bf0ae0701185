r"""Linear-quadratic problems in O(log T) parallel steps, by associative scans.

The scans join stretches of time, see :mod:`jaxlqr.matrix_equations.stretches`.

Source: Särkkä, García-Fernández, IEEE Trans. Automatic Control 68 (2023), temporal parallelization of dynamic
programming and linear quadratic control, section IV; the cross term S is removed by u = w - R^-1 (S'x + r) first.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import hermitian, matmul
from jaxlqr.matrix_equations.stretches import Stretch, join
from jaxlqr.trajectory.linear_quadratic import (
    Policy,
    Stage,
    Value,
    action_value,
    cholesky_solve,
    improve,
)


def backward_in_parallel(stages: Stage, final: Value) -> tuple[Policy, Value]:
    """As :func:`jaxlqr.trajectory.linear_quadratic.backward`, with R positive definite at every step."""
    single = jax.vmap(_single)(stages)
    zero = jnp.zeros_like(final.V)
    end = Stretch(zero, zero[:, :1], zero, -final.v[:, None], final.V)
    stretches = jax.tree.map(lambda rows, last: jnp.concatenate([rows, last[None]]), single, end)
    # A reversed scan passes the later stretch first.
    joined = lax.associative_scan(jax.vmap(lambda later, earlier: join(earlier, later)), stretches, reverse=True)
    values = Value(joined.J, -joined.e[:, :, 0])
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


def _single(stage: Stage) -> Stretch:
    n = stage.q.shape[0]
    # R^-1 [S', r, B']: all that removing the cross term and the controls needs.
    rows = cholesky_solve(hermitian(stage.R), jnp.concatenate([stage.S.mT, stage.r[:, None], stage.B.mT], axis=1))
    RS, Rr, RB = rows[:, :n], rows[:, n], rows[:, n + 1 :]
    return Stretch(
        A=stage.A - matmul(stage.B, RS),
        b=(stage.c - matmul(stage.B, Rr))[:, None],
        C=hermitian(matmul(stage.B, RB)),
        e=(matmul(stage.S, Rr) - stage.q)[:, None],
        J=hermitian(stage.Q - matmul(stage.S, RS)),
    )
