r"""The iteration of iLQR: a regularised backward pass, a line search on its slope, and the status.

The backward pass minimises the local model with Q_uu replaced by max(|Q_uu|, floor) + mu, eigenvalue by eigenvalue,
both in units of the largest entry of Q_uu at that step. The line search asks for a decrease of J by a fraction of

    dJ/ds at s = 0  =  sum over t of  k_t'(c_u + f_u'p_{t+1}),    p_t = c_x - K_t'c_u + (f_x - f_u K_t)'p_{t+1},

along u = u^ + s k - K (x - x^). It is exact for any K and k; without regularisation it equals -sum q_u'Q_uu^-1 q_u,
which is what theta in (74) of nguyen2023 should say (docs/errata.md, N1). A full step on an exactly quadratic problem
decreases J by half of it, so the fraction must be below a half (N3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.matrix_equations.products import matmul
from jaxlqr.trajectory.expansion import Problem, PyTree, Trajectory, expand, follow, rollout, total_cost
from jaxlqr.trajectory.linear_quadratic import Policy, Stage, Value, backward
from jaxlqr.trajectory.result import IlqrStatus

_SUFFICIENT = 1e-4
_HALVINGS = 10
_SHORT = 0.25  # step lengths below it raise the damping
# Damping after a first failure, growth after each further one, and where the search gives up.
_FIRST_DAMPING, _GROWTH, _LARGEST_DAMPING = 1e-4, 10.0, 1e8
_LEAST_CURVATURE = 1 / 16  # least positive share of the dynamics' curvature in the second-order model


_RUNNING = -1


class Numbers(NamedTuple):
    """Settings that may change without compiling again."""

    tolerance: Array
    regularisation: Array
    eigenvalue_floor: Array


class Search(NamedTuple):
    """State of the iteration; ``history`` has one row per iterate, ``gains`` are those of the last one that was looked
    at, which at the end are those of ``trajectory``, damped only where the line search failed."""

    trajectory: Trajectory
    cost: Array
    gains: Array
    damping: Array
    curvature: Array
    iteration: Array
    status: Array
    history: dict[str, Array]


def search(
    problem: Problem, x0: Array, controls: Array, params: PyTree, numbers: Numbers, *, ddp: bool, max_iterations: int
) -> Search:
    """Iterate from the given controls until a status is reached."""
    start = rollout(problem, x0, controls, params)
    cost = total_cost(problem, start, params)
    blank = jnp.full(max_iterations + 1, jnp.nan, cost.dtype)
    names = ("cost", "gradient_norm", "step_length", "regularisation")
    state = Search(
        start,
        cost,
        jnp.zeros((*controls.shape, x0.size), cost.dtype),
        numbers.regularisation,
        jnp.asarray(1 if ddp else 0, cost.dtype),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(_RUNNING, jnp.int32),
        dict.fromkeys(names, blank),
    )
    return lax.while_loop(
        lambda state: state.status == _RUNNING,
        lambda state: _iterate(problem, params, numbers, ddp, max_iterations, state),
        state,
    )


def _iterate(problem: Problem, params: PyTree, numbers: Numbers, ddp: bool, limit: int, state: Search) -> Search:
    curvature = state.curvature if ddp else None
    stages, final, gradient = expand(problem, state.trajectory, params, dynamics_curvature=curvature)
    norm = jnp.max(jnp.abs(gradient))
    finite = jnp.isfinite(state.cost) & jnp.isfinite(norm)
    status = jnp.where(state.iteration >= limit, IlqrStatus.ITERATION_LIMIT, _RUNNING)
    small = norm <= numbers.tolerance * (1 + jnp.abs(state.cost))
    # The gains of the second-order search come from its own model: one more look, if that is not at hand.
    unfinished = small & (state.curvature < 1) & (status == _RUNNING) if ddp else jnp.asarray(False)
    status = jnp.where(small & ~unfinished, IlqrStatus.CONVERGED, status)
    status = jnp.where(finite, status, IlqrStatus.NOT_FINITE).astype(jnp.int32)
    running = status == _RUNNING
    damping = jnp.where(running, state.damping, 0)
    policies, _ = backward(stages, final, lambda Q, right: damped_solve(Q, right, damping, numbers))
    slope = slope_along(stages, final, policies)
    moved, cost, length = _line_search(problem, params, state, policies, slope, running & ~unfinished)
    accepted = length > 0
    damping = _next_damping(state.damping, length, numbers.regularisation)
    # As long as there is curvature of the dynamics to give up, that is given up first.
    kept = ((state.curvature > 0) & (length < _SHORT)) | unfinished
    damping = jnp.where(kept, state.damping, damping)
    curvature = jnp.where(unfinished, 1, _next_curvature(state.curvature, length)) if ddp else state.curvature
    failed = running & ~accepted & (damping > _LARGEST_DAMPING)
    row = {"cost": state.cost, "gradient_norm": norm, "step_length": length, "regularisation": state.damping}
    return Search(
        trajectory=jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, state.trajectory),
        cost=jnp.where(accepted, cost, state.cost),
        gains=policies.K,
        damping=damping,
        curvature=curvature,
        iteration=state.iteration + running,
        status=jnp.where(failed, IlqrStatus.LINE_SEARCH_FAILED, status).astype(jnp.int32),
        history={name: rows.at[state.iteration].set(row[name]) for name, rows in state.history.items()},
    )


def _next_damping(damping: Array, length: Array, least: Array) -> Array:
    """Less after a full step, more after a short one or none: a short step says that the model is good nearby only."""
    smaller = jnp.where(damping / _GROWTH < _FIRST_DAMPING, 0, damping / _GROWTH)
    larger = jnp.maximum(_GROWTH * damping, _FIRST_DAMPING)
    return jnp.where(length >= 1, jnp.maximum(smaller, least), jnp.where(length >= _SHORT, damping, larger))


def _next_curvature(share: Array, length: Array) -> Array:
    """Share of the dynamics' curvature in the next model: none after a short step, more after a full one.

    The second-order model need not be convex far from a minimum. The Gauss-Newton model, share 0, is where the costs
    are, and makes steps too short where the curvature that it leaves out is negative. Near a minimum the share is one.
    """
    more = jnp.clip(4 * share, _LEAST_CURVATURE, 1)
    return jnp.where(length >= 1, more, jnp.where(length >= _SHORT, share, 0))


def damped_solve(Q: Array, right: Array, damping: Array, numbers: Numbers) -> Array:
    """(max(|Q|, floor) + mu)^-1 right, eigenvalue by eigenvalue, floor and mu in units of the largest entry of Q."""
    largest = jnp.max(jnp.abs(Q))
    unit = jnp.where(largest > 0, largest, 1)
    if Q.shape[0] == 1:
        return right / (jnp.maximum(jnp.abs(Q), numbers.eigenvalue_floor * unit) + damping * unit)
    values, vectors = jnp.linalg.eigh(Q)
    values = jnp.maximum(jnp.abs(values), numbers.eigenvalue_floor * unit) + damping * unit
    return matmul(vectors, matmul(vectors.mT, right) / values[:, None])


def slope_along(stages: Stage, final: Value, policies: Policy) -> Array:
    """dJ/ds at s = 0 along u = u^ + s k - K (x - x^), by the closed-loop costates above."""

    def step(carry: tuple[Array, Array], at: tuple[Stage, Policy]):
        after, slope = carry
        stage, policy = at
        along_u = stage.r + matmul(stage.B.mT, after)
        return (stage.q + matmul(stage.A.mT, after) - matmul(policy.K.mT, along_u), slope + policy.k @ along_u), None

    zero = jnp.zeros((), final.v.dtype)
    return lax.scan(step, (final.v, zero), (stages, policies), reverse=True)[0][1]


def _line_search(
    problem: Problem, params: PyTree, state: Search, policies: Policy, slope: Array, wanted: Array
) -> tuple[Trajectory, Array, Array]:
    """First of the step lengths 1, 1/2, 1/4, ... that decreases the cost enough; 0 if none does."""
    # Near the minimum the decrease drowns in the rounding of J; the gradient decides there.
    rounding = 8 * jnp.finfo(state.cost.dtype).eps * jnp.abs(state.cost)

    def attempt(carry):
        _, _, length, trial, _ = carry
        length = jnp.where(trial == 0, 1.0, length / 2).astype(state.cost.dtype)
        moved, cost = follow(problem, state.trajectory, policies, length, params)
        good = (cost - state.cost <= _SUFFICIENT * length * slope + rounding) & (slope < 0)
        return moved, cost, length, trial + 1, good & jnp.all(jnp.isfinite(moved.states))

    blank = (state.trajectory, state.cost, jnp.zeros_like(state.cost), jnp.asarray(0), jnp.asarray(False))
    moved, cost, length, _, good = lax.while_loop(
        lambda carry: wanted & ~carry[4] & (carry[3] < _HALVINGS), attempt, blank
    )
    return moved, cost, jnp.where(good, length, 0)
