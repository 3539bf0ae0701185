"""The time-varying linear-quadratic regulator, sequential and parallel in time."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlqr.core.checks import as_floating
from jaxlqr.core.result import short_repr
from jaxlqr.trajectory.linear_quadratic import Stage, Value, backward, objective, simulate
from jaxlqr.trajectory.parallel import backward_in_parallel, simulate_in_parallel

TvlqrMethod = Literal["sequential", "parallel"]
_METHODS = {"sequential": (backward, simulate), "parallel": (backward_in_parallel, simulate_in_parallel)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TVLQRSolution:
    """Optimal trajectory, policy and value function of a time-varying linear-quadratic problem.

    Attributes:
        states: x_0 to x_T, [T + 1, n].
        controls: u_0 to u_{T-1}, [T, m].
        gains: K of the policy u_t = k_t - K_t x_t, [T, m, n].
        offsets: k of the policy, [T, m].
        value_matrices: V of the value function x'V_t x / 2 + v_t'x + const, [T + 1, n, n].
        value_vectors: v of it, [T + 1, n]; V_t x_t + v_t is the multiplier of the dynamics that lead to x_t.
        cost: least cost from x_0, a scalar.
    """

    states: Array
    controls: Array
    gains: Array
    offsets: Array
    value_matrices: Array
    value_vectors: Array
    cost: Array

    def __repr__(self) -> str:
        return short_repr(self)


def tvlqr(
    A: ArrayLike,
    B: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
    x0: ArrayLike,
    *,
    S: ArrayLike | None = None,
    q: ArrayLike | None = None,
    r: ArrayLike | None = None,
    c: ArrayLike | None = None,
    method: TvlqrMethod = "sequential",
) -> TVLQRSolution:
    r"""Minimise a quadratic cost over the trajectories of a linear time-varying system:

    .. math:: \sum_{t<T} \tfrac12 x_t^\top Q_t x_t + x_t^\top S_t u_t + \tfrac12 u_t^\top R_t u_t + q_t^\top x_t
              + r_t^\top u_t + \tfrac12 x_T^\top Q_T x_T + q_T^\top x_T, \quad x_{t+1} = A_t x_t + B_t u_t + c_t.

    Arguments:
        A: state matrices [T, n, n]. No argument is broadcast along time: ``jnp.broadcast_to`` does it.
        B: input matrices [T, n, m].
        Q: state costs [T + 1, n, n], the last one final; only their symmetric part counts.
        R: input costs [T, m, m].
        x0: initial state [n].
        S: cross costs [T, n, m], linear costs ``q`` [T + 1, n] and ``r`` [T, m], offsets ``c`` [T, n]: zero unless
            given.
        method: ``"sequential"``, dynamic programming in T steps; or ``"parallel"``, associative scans in O(log T) steps
            and about ten times as many operations, for accelerators. The parallel one needs every R_t positive
            definite, the sequential one only R_t + B_t'V_{t+1} B_t.

    Returns:
        :class:`TVLQRSolution`. Differentiable in all arguments, in both modes and to any order. NaN, in that lane of a
        batch only, where the problem has no strict minimum (or, in parallel, an R_t is not positive definite).

    Raises:
        ValueError, TypeError: when a shape or a dtype does not fit.

    >>> import jax.numpy as jnp
    >>> one = jnp.ones((3, 1, 1))
    >>> solution = tvlqr(one, one, jnp.ones((4, 1, 1)), one, jnp.array([1.0]))
    >>> [round(float(gain), 4) for gain in solution.gains[:, 0, 0]]  # ratios of Fibonacci numbers
    [0.6154, 0.6, 0.5]
    >>> print(f"{solution.cost:.4f}")
    0.8077

    Source: nguyen2023, (64) to (69), with cross terms and the value of the policy as corrected in docs/errata.md.
    """
    if method not in _METHODS:
        raise ValueError(f'tvlqr: argument method must be "sequential" or "parallel", got {method!r}.')
    stages, final, start = _stages(A, B, Q, R, x0, S, q, r, c)
    return solve(stages, final, start, method=method)


@partial(jax.jit, static_argnames="method")
def solve(stages: Stage, final: Value, x0: Array, *, method: TvlqrMethod = "sequential") -> TVLQRSolution:
    """:func:`tvlqr` of checked data with symmetric costs."""
    plan, run = _METHODS[method]
    policies, values = plan(stages, final)
    states, controls = run(stages, policies, x0)
    return TVLQRSolution(
        states=states,
        controls=controls,
        gains=policies.K,
        offsets=policies.k,
        value_matrices=values.V,
        value_vectors=values.v,
        cost=objective(stages, final, states, controls),
    )


def _stages(A, B, Q, R, x0, S, q, r, c) -> tuple[Stage, Value, Array]:
    given = {"A": A, "B": B, "Q": Q, "R": R, "x0": x0, "S": S, "q": q, "r": r, "c": c}
    arrays = {name: as_floating(value, name, "tvlqr") for name, value in given.items() if value is not None}
    if arrays["A"].ndim != 3 or arrays["B"].ndim != 3:
        raise ValueError(
            f"tvlqr: arguments A and B must have shapes [T, n, n] and [T, n, m], got {arrays['A'].shape} and "
            f"{arrays['B'].shape}; repeat a constant matrix with jnp.broadcast_to(A, (T, *A.shape))."
        )
    T, n, m = arrays["B"].shape
    if T == 0:
        raise ValueError("tvlqr: argument A must cover at least one time step, got T = 0; pass T >= 1.")
    sizes = {"T": T, "T + 1": T + 1, "n": n, "m": m}
    expected = {
        "A": ("T", "n", "n"),
        "B": ("T", "n", "m"),
        "Q": ("T + 1", "n", "n"),
        "R": ("T", "m", "m"),
        "x0": ("n",),
        "S": ("T", "n", "m"),
        "q": ("T + 1", "n"),
        "r": ("T", "m"),
        "c": ("T", "n"),
    }
    for name, axes in expected.items():
        shape = tuple(sizes[axis] for axis in axes)
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(
                f"tvlqr: argument {name} must have shape [{', '.join(axes)}] = {shape} with T = {T}, n = {n}, m = {m} "
                f"as in argument B, got {arrays[name].shape}; check the order of the arguments."
            )
    dtype = jnp.result_type(*arrays.values())
    full = {
        name: arrays.get(name, jnp.zeros(tuple(sizes[axis] for axis in axes), dtype)).astype(dtype)
        for name, axes in expected.items()
    }
    Q, R = (full[name] + full[name].mT for name in "QR")
    stages = Stage(full["A"], full["B"], full["c"], Q[:-1] / 2, full["S"], R / 2, full["q"][:-1], full["r"])
    return stages, Value(Q[-1] / 2, full["q"][-1]), full["x0"]
