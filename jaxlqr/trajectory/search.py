r"""The iteration of iLQR: a regularised backward pass, a line search on its slope, and the status.

The backward pass minimises the local model, with a damped Q_uu (``curvature.py``). The line search requires a decrease
of J by a fraction of

    dJ/ds at s = 0  =  sum over t of  k_t'(c_u + f_u'p_{t+1}),    p_t = c_x - K_t'c_u + (f_x - f_u K_t)'p_{t+1},

along u = u^ + s k - K (x - x^). It is exact for any K and k; without regularisation it equals -sum q_u'Q_uu^-1 q_u,
the correct theta of (74) in nguyen2023 (docs/errata.md, N1). A full step on an exactly quadratic problem decreases J by
half of it, so the fraction must be below a half (N3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.status import SolveStatus
from jaxlqr.core.types import PyTree
from jaxlqr.iterations.shortening import before_trials, first_accepted
from jaxlqr.trajectory.curvature import Numbers, plan, spare_curvature
from jaxlqr.trajectory.expansion import Problem, Trajectory, expand, follow
from jaxlqr.trajectory.linear_quadratic import Policy

_SUFFICIENT = 1e-4
_HALVINGS = 10
_SHORT = 0.25  # step lengths below it raise the damping
# Damping after a first failure, growth after each further one, and where the search gives up.
_FIRST_DAMPING, _GROWTH, _LARGEST_DAMPING = 1e-4, 10.0, 1e8
_LEAST_CURVATURE = 1 / 16  # least positive share of the dynamics' curvature in the second-order model
_WHOLE = 2.0  # square root of the promised decrease over all of the cost, which sums of squares cannot exceed by more


_RUNNING = -1


class Search(NamedTuple):
    """State of the iteration: a trajectory, and the policies along which the search goes on.

    ``size`` is the sum of the absolute costs, ``slope`` the slope of J along the policies. With ``look_again`` the next
    pass makes no step, but another model of the same trajectory. ``looked`` is true after that pass; ``stalled`` is
    true if the last step did not decrease the cost. At the end ``policies`` has the gains at ``trajectory``, undamped.
    ``history`` has one row for each iterate.
    """

    trajectory: Trajectory
    cost: Array
    size: Array
    policies: Policy
    slope: Array
    look_again: Array
    looked: Array
    stalled: Array
    damping: Array
    curvature: Array
    iteration: Array
    status: Array
    history: dict[str, Array]


def search(
    problem: Problem, x0: Array, controls: Array, params: PyTree, numbers: Numbers, *, ddp: bool, max_steps: int
) -> Search:
    """Iterate from the given controls until a status is reached."""
    num_steps, m = controls.shape
    zero = jnp.zeros((), x0.dtype)
    # The state before the first iterate. Without feedback, the line search simulates the given controls, whatever the
    # states are. The cost is infinite, so the search accepts this rollout. Dynamics and costs are compiled there only.
    blank = jnp.full(max_steps + 1, jnp.nan, x0.dtype)
    state = Search(
        trajectory=Trajectory(jnp.broadcast_to(x0, (num_steps + 1, x0.size)), controls),
        cost=zero + jnp.inf,
        size=zero + jnp.inf,
        policies=Policy(jnp.zeros((num_steps, m, x0.size), x0.dtype), jnp.zeros_like(controls)),
        slope=zero - 1,
        look_again=jnp.asarray(False),
        looked=jnp.asarray(False),
        stalled=jnp.asarray(False),
        damping=numbers.regularisation,
        curvature=zero + (1 if ddp else 0),
        iteration=jnp.asarray(-1, jnp.int32),
        status=jnp.asarray(_RUNNING, jnp.int32),
        history=dict.fromkeys(("cost", "gradient_norm", "step_length", "regularisation"), blank),
    )
    return lax.while_loop(
        lambda state: state.status == _RUNNING,
        lambda state: _iterate(problem, params, numbers, ddp, max_steps, state),
        state,
    )


def _iterate(problem: Problem, params: PyTree, numbers: Numbers, ddp: bool, limit: int, state: Search) -> Search:
    """One step, and a look at where it leads: the local model, the status, the next policies."""
    first = state.iteration < 0
    moved, cost, size, length = _line_search(problem, params, state)
    accepted = (length > 0) | first
    trajectory = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), moved, state.trajectory)
    cost, size = jnp.where(accepted, cost, state.cost), jnp.where(accepted, size, state.size)
    damping, curvature = _next_model(state, length, numbers.regularisation, ddp)
    failed = ~accepted & (damping > _LARGEST_DAMPING)
    if ddp:
        curvature = jnp.where(failed, 1, curvature)
    iteration = state.iteration + 1
    last = failed | (iteration >= limit)

    stages, final, gradient = expand(problem, trajectory, params, dynamics_curvature=curvature if ddp else None)
    used = jnp.where(last, 0, damping)
    spare = spare_curvature(stages, gradient, size)
    plans = plan(stages, final, trajectory, used, numbers, spare, size)
    norm = jnp.maximum(plans.of_cost, plans.of_controls)
    small = norm <= numbers.tolerance
    # Where the cost can be brought to zero, only rounding is left of it in the end, and no step decreases it.
    stalled = failed | (accepted & (cost >= state.cost)) | (state.look_again & state.stalled)
    small |= stalled & (plans.of_controls <= numbers.tolerance) & (plans.of_cost <= _WHOLE)
    # The gains come from the full, undamped model: one more pass, if that is not available. If that look calls for a
    # step, and no such step decreases the cost, the model without the curvature of the dynamics stands.
    looked = (state.look_again | state.looked) & ~accepted
    complete = (used == 0) & ((curvature == 1) | looked) if ddp else used == 0
    unfinished = small & ~complete & ~looked & ~last
    status = jnp.where(iteration >= limit, SolveStatus.MAX_STEPS, _RUNNING)
    status = jnp.where(failed, SolveStatus.NO_DECREASE, status)
    status = jnp.where(small & (complete | last), SolveStatus.CONVERGED, status)
    finite = jnp.isfinite(cost) & jnp.all(jnp.isfinite(gradient))
    status = jnp.where(finite, status, SolveStatus.COST_NOT_FINITE).astype(jnp.int32)

    row = {"cost": cost, "gradient_norm": norm, "step_length": 0, "regularisation": damping}
    history = {name: rows.at[iteration].set(row[name]) for name, rows in state.history.items()}
    before = jnp.where(first, limit + 1, state.iteration)  # no step leads to the first iterate
    history["step_length"] = history["step_length"].at[before].set(length, mode="drop")
    return Search(
        trajectory=trajectory,
        cost=cost,
        size=size,
        policies=plans.policies,
        slope=plans.slope,
        look_again=unfinished,
        looked=looked,
        stalled=stalled,
        damping=jnp.where(unfinished, 0, damping),
        curvature=jnp.where(unfinished, 1, curvature),
        iteration=iteration,
        status=status,
        history=history,
    )


def _next_model(state: Search, length: Array, least: Array, ddp: bool) -> tuple[Array, Array]:
    """Damping, and share of the dynamics' curvature, of the model after a step of the given length.

    A short step, or none, shows that the model is good nearby only. The second-order model need not be convex far from
    a minimum. The Gauss-Newton model, share 0, is where the costs are, and makes steps too short where the curvature
    that it leaves out is negative. So after a short step that curvature is given up first, and comes back by full ones.
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


def _line_search(problem: Problem, params: PyTree, state: Search) -> tuple[Trajectory, Array, Array, Array]:
    """First of the step lengths 1, 1/2, 1/4, ... that decreases the cost enough; 0 if none does."""
    # Near the minimum the decrease drowns in the rounding of J; the gradient decides there.
    rounding = 8 * jnp.finfo(state.cost.dtype).eps * state.size

    def attempt(length: Array, _) -> tuple[tuple[Trajectory, Array, Array], Array]:
        moved, cost, size = follow(problem, state.trajectory, state.policies, length, params)
        good = cost - state.cost <= _SUFFICIENT * length * state.slope + rounding
        return (moved, cost, size), good & jnp.all(jnp.isfinite(moved.states))

    trial = first_accepted(
        attempt,
        before_trials((state.trajectory, state.cost, state.size), state.cost.dtype),
        max_backtracks=_HALVINGS,
        wanted=~state.look_again & (state.slope < 0),
    )
    return *trial.value, jnp.where(trial.accepted, trial.fraction, 0)
