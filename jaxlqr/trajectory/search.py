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
from jaxlqr.matrix_equations.symmetric import eigh
from jaxlqr.trajectory.expansion import Problem, PyTree, Trajectory, expand, follow
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
    """State of the iteration: where it is, with which policies it goes on, what the slope of J along them is, and
    whether instead of a step the same place wants another model.

    At the end the gains of ``policies`` are those of ``trajectory``, undamped. ``history`` has one row per iterate.
    """

    trajectory: Trajectory
    cost: Array
    policies: Policy
    slope: Array
    look_again: Array
    damping: Array
    curvature: Array
    iteration: Array
    status: Array
    history: dict[str, Array]


def search(
    problem: Problem, x0: Array, controls: Array, params: PyTree, numbers: Numbers, *, ddp: bool, max_iterations: int
) -> Search:
    """Iterate from the given controls until a status is reached."""
    num_steps, m = controls.shape
    zero = jnp.zeros((), x0.dtype)
    # Before the first iterate: no feedback, so that the line search makes the rollout of the given controls, whatever
    # the states are, and an infinite cost, so that it accepts it. Dynamics and costs are compiled there only.
    blank = jnp.full(max_iterations + 1, jnp.nan, x0.dtype)
    state = Search(
        trajectory=Trajectory(jnp.broadcast_to(x0, (num_steps + 1, x0.size)), controls),
        cost=zero + jnp.inf,
        policies=Policy(jnp.zeros((num_steps, m, x0.size), x0.dtype), jnp.zeros_like(controls)),
        slope=zero - 1,
        look_again=jnp.asarray(False),
        damping=numbers.regularisation,
        curvature=zero + (1 if ddp else 0),
        iteration=jnp.asarray(-1, jnp.int32),
        status=jnp.asarray(_RUNNING, jnp.int32),
        history=dict.fromkeys(("cost", "gradient_norm", "step_length", "regularisation"), blank),
    )
    return lax.while_loop(
        lambda state: state.status == _RUNNING,
        lambda state: _iterate(problem, params, numbers, ddp, max_iterations, state),
        state,
    )


def _iterate(problem: Problem, params: PyTree, numbers: Numbers, ddp: bool, limit: int, state: Search) -> Search:
    """One step, and a look at where it leads: the local model, the status, the next policies."""
    first = state.iteration < 0
    moved, cost, length = _line_search(problem, params, state)
    accepted = (length > 0) | first
    trajectory = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, state.trajectory)
    cost = jnp.where(accepted, cost, state.cost)
    damping, curvature = _next_model(state, length, numbers.regularisation, ddp)
    failed = ~accepted & (damping > _LARGEST_DAMPING)

    stages, final, gradient = expand(problem, trajectory, params, dynamics_curvature=curvature if ddp else None)
    norm = jnp.max(jnp.abs(gradient))
    iteration = state.iteration + 1
    status = jnp.where(iteration >= limit, IlqrStatus.ITERATION_LIMIT, _RUNNING)
    status = jnp.where(failed, IlqrStatus.LINE_SEARCH_FAILED, status)
    small = norm <= numbers.tolerance * (1 + jnp.abs(cost))
    # The gains of the second-order search come from the whole model: one more look, if that is not at hand.
    unfinished = small & (curvature < 1) & (status == _RUNNING) if ddp else jnp.asarray(False)
    status = jnp.where(small & ~unfinished, IlqrStatus.CONVERGED, status)
    status = jnp.where(jnp.isfinite(cost) & jnp.isfinite(norm), status, IlqrStatus.NOT_FINITE).astype(jnp.int32)

    used = jnp.where(status == _RUNNING, damping, 0)
    policies, _ = backward(stages, final, lambda Q, right: damped_solve(Q, right, used, numbers))
    row = {"cost": cost, "gradient_norm": norm, "step_length": 0, "regularisation": damping}
    history = {name: rows.at[iteration].set(row[name]) for name, rows in state.history.items()}
    before = jnp.where(first, limit + 1, state.iteration)  # no step leads to the first iterate
    history["step_length"] = history["step_length"].at[before].set(length, mode="drop")
    return Search(
        trajectory=trajectory,
        cost=cost,
        policies=policies,
        slope=slope_along(stages, final, policies),
        look_again=unfinished,
        damping=damping,
        curvature=jnp.where(unfinished, 1, curvature),
        iteration=iteration,
        status=status,
        history=history,
    )


def _next_model(state: Search, length: Array, least: Array, ddp: bool) -> tuple[Array, Array]:
    """Damping, and share of the dynamics' curvature, of the model after a step of the given length.

    A short step, or none, says that the model is good nearby only. The second-order model need not be convex far from a
    minimum. The Gauss-Newton model, share 0, is where the costs are, and makes steps too short where the curvature that
    it leaves out is negative. So after a short step that curvature is given up first, and comes back by full ones.
    """
    first, full, short = state.iteration < 0, length >= 1, length < _SHORT
    smaller = jnp.where(state.damping / _GROWTH < _FIRST_DAMPING, 0, state.damping / _GROWTH)
    larger = jnp.maximum(_GROWTH * state.damping, _FIRST_DAMPING)
    damping = jnp.where(full, jnp.maximum(smaller, least), state.damping)
    damping = jnp.where(short & (state.curvature == 0), larger, damping)
    more = jnp.clip(4 * state.curvature, _LEAST_CURVATURE, 1) if ddp else state.curvature
    curvature = jnp.where(full, more, jnp.where(short, 0, state.curvature))
    untried = first | state.look_again
    return jnp.where(untried, state.damping, damping), jnp.where(untried, state.curvature, curvature)


def damped_solve(Q: Array, right: Array, damping: Array, numbers: Numbers) -> Array:
    """(max(|Q|, floor) + mu)^-1 right, eigenvalue by eigenvalue, floor and mu in units of the largest entry of Q."""
    largest = jnp.max(jnp.abs(Q))
    unit = jnp.where(largest > 0, largest, 1)
    if Q.shape[0] == 1:
        return right / (jnp.maximum(jnp.abs(Q), numbers.eigenvalue_floor * unit) + damping * unit)
    values, vectors = eigh(Q)
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


def _line_search(problem: Problem, params: PyTree, state: Search) -> tuple[Trajectory, Array, Array]:
    """First of the step lengths 1, 1/2, 1/4, ... that decreases the cost enough; 0 if none does."""
    # Near the minimum the decrease drowns in the rounding of J; the gradient decides there.
    rounding = 8 * jnp.finfo(state.cost.dtype).eps * jnp.abs(state.cost)

    def attempt(carry):
        _, _, length, trial, _ = carry
        length = jnp.where(trial == 0, 1.0, length / 2).astype(state.cost.dtype)
        moved, cost = follow(problem, state.trajectory, state.policies, length, params)
        good = cost - state.cost <= _SUFFICIENT * length * state.slope + rounding
        return moved, cost, length, trial + 1, good & jnp.all(jnp.isfinite(moved.states))

    blank = (state.trajectory, state.cost, jnp.zeros_like(state.cost), jnp.asarray(0), jnp.asarray(False))
    moved, cost, length, _, good = lax.while_loop(
        lambda carry: ~state.look_again & (state.slope < 0) & ~carry[4] & (carry[3] < _HALVINGS), attempt, blank
    )
    return moved, cost, jnp.where(good, length, 0)
