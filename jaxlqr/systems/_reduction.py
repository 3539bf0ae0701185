"""Systems of fewer states with nearly the same gain: balanced truncation and residualization."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.systems._hankel import Balanced, balance, with_order
from jaxlqr.systems._state_space import StateSpace


def _reduced(system: StateSpace, found: Balanced, a: Array, b: Array, c: Array, d: Array) -> StateSpace:
    """The system of these matrices, with the names of inputs and outputs; NaN where there is no such reduction."""
    good = found.stable & found.reachable
    a, b, c, d = (jnp.where(good, leaf, jnp.nan) for leaf in (a, b, c, d))
    return dataclasses.replace(system, A=a, B=b, C=c, D=d, states=None)


@compiled(prepare=with_order, static=("order",))
def balanced_truncation(system: StateSpace, order: int) -> StateSpace:
    r"""Return the balanced truncation of a stable system to ``order`` states.

    The state is transformed such that both Gramians are diag(sigma), with sigma the
    :func:`hankel_singular_values`, and the states of the smallest values are dropped. The result is stable, has the
    same D, and is balanced itself in continuous time. The H-infinity norm of the error is at most
    :func:`truncation_bound`.

    Arguments:
        system: one stable :class:`StateSpace`, in continuous or discrete time; ``jax.vmap`` batches.
        order: number r of states that are kept, from 1 to n; static.

    Returns:
        A :class:`StateSpace` with A [r, r], B [r, m], C [p, r]. All its entries are NaN if the system is not stable, or
        has fewer than r Hankel values above rounding; its ``status`` then is NO_FINITE_SYSTEM. Signs of the states are
        chosen such that each has a positive largest part in the balanced units of the old states. Differentiable in
        every matrix, in both modes and to any order, where the Hankel values number r and r + 1 differ. For equal
        values the directions of the states are arbitrary; the derivative keeps these directions fixed.

    >>> from jaxlqr import systems
    >>> small = systems.balanced_truncation(systems.ss([[-1.0, 0.0], [0.0, -100.0]], [[1.0], [1.0]], [[1.0, 1.0]]), 1)
    >>> print(f"{small.A[0, 0]:.2f}")
    -1.04

    Source: Moore, IEEE Trans. Automat. Control 26 (1981); Laub, Heath, Paige, Ward, ibid. 32 (1987), square roots.
    """
    found = balance(system, order)
    v, w, _ = found.balance
    full = found.system
    return _reduced(system, found, matmul(w.T, full.A, v), matmul(w.T, full.B), matmul(full.C, v), full.D)


@compiled(prepare=with_order, static=("order",))
def balanced_residualization(system: StateSpace, order: int) -> StateSpace:
    r"""Return a stable system of ``order`` states with the same gain at frequency zero as ``system``.

    The states of small Hankel values are not dropped, as in :func:`balanced_truncation`, but set to their steady state
    (singular perturbation). The result is balanced in both times. The error is zero at frequency zero, and at most
    :func:`truncation_bound` everywhere.

    Arguments, failure and derivatives as for :func:`balanced_truncation`; D changes.

    Returns:
        A :class:`StateSpace` with A [r, r], B [r, m], C [p, r], D [p, m].

    >>> from jaxlqr import systems
    >>> small = systems.balanced_residualization(
    ...     systems.ss([[-1.0, 0.0], [0.0, -100.0]], [[1.0], [1.0]], [[1.0, 1.0]]), 1)
    >>> print(f"{(small.D - small.C @ small.B / small.A)[0, 0]:.4f}")  # 1 + 1 / 100
    1.0100

    Source: Liu, Anderson, Int. J. Control 50 (1989); Fernando, Nicholson, IEEE Trans. Circuits Syst. 29 (1982).
    """
    found = balance(system, order)
    v, w, _ = found.balance
    full = found.system
    # With N = A, or A - I in discrete time, the Schur complement that eliminates the other states is the inverse of
    # w' N^-1 v: the other states themselves are not needed.
    one = jnp.eye(order, dtype=full.A.dtype)
    n = full.A - jnp.eye(len(full.A), dtype=full.A.dtype) if system.is_discrete else full.A
    solved = jnp.linalg.solve(n, jnp.concatenate([v, full.B], axis=1))
    states, inputs = solved[:, :order], solved[:, order:]
    inner = jnp.linalg.inv(matmul(w.T, states))
    a = inner + one if system.is_discrete else inner
    b = matmul(inner, w.T, inputs)
    c = matmul(full.C, states, inner)
    return _reduced(system, found, a, b, c, full.D - matmul(full.C, inputs) + matmul(full.C, states, b))
