"""Weight trajectories by one backward pass of iLQR: corrected and complete, with diagonal matrices, or as printed.

The diagonal version keeps only the diagonals of F_x, C_xx and V. The printed one does so too, keeps the parameters
alone as the state (the optimiser's memory is a constant of the nominal trajectory), and takes its slope as printed.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.meta.weight_trajectory import State, Training, final_batch, losses, stage_cost, step, train
from jaxlqr.trajectory.curvature import slope_along
from jaxlqr.trajectory.expansion import Problem, Trajectory, expand
from jaxlqr.trajectory.linear_quadratic import (
    Policy,
    Stage,
    Value,
    action_value,
    backward,
    cholesky_solve,
    improve,
    simulate,
)

PyTree = Any
Form = Literal["full", "diagonal", "printed"]


class Plan(NamedTuple):
    """Policies around the nominal trajectory, and by how much J should fall for a small step length, per unit of it."""

    policies: Policy
    nominal: Trajectory
    problem: Problem
    slope: Array


def plan(training: Training, state: State, actions: Array, batches: PyTree, beta: Array, *, form: Form) -> Plan:
    """One backward pass of Algorithm 2 around the trajectory of the given actions [T, M]."""
    states, last = train(training, state, actions, batches)
    problem, flatten = _flat_problem(training, states, batches, beta, memoryless=form == "printed")
    points = jnp.concatenate([jax.vmap(flatten)(states), flatten(last)[None]])
    nominal = Trajectory(points, actions)
    stages, final, _ = expand(problem, nominal, None, dynamics_curvature=None)
    if form == "full":
        policies, _ = backward(stages, final, cholesky_solve)
        return Plan(policies, nominal, problem, slope_along(stages, final, policies))
    policies, theta = _diagonal_backward(stages, final)
    slope = theta if form == "printed" else slope_along(stages, final, policies)
    return Plan(policies, nominal, problem, slope)


def simulate_changes(stages: Stage, policies: Policy) -> tuple[Array, Array]:
    """Changes of states and actions that the policies make on the linear model of the trajectory, at full length."""
    return simulate(stages, policies, jnp.zeros_like(stages.q[0]))


def _diagonal_backward(stages: Stage, final: Value) -> tuple[Policy, Array]:
    """Policies of Algorithm 2 with diagonal F_x, C_xx, V, and theta_1 of (74) as printed: q_u'Q_uu q_u, no inverse."""

    def diagonal(matrix: Array) -> Array:
        return jnp.diag(jnp.diagonal(matrix))

    def one(carry: tuple[Value, Array], stage: Stage):
        after, theta = carry
        stage = stage._replace(A=diagonal(stage.A), Q=diagonal(stage.Q))
        action = action_value(stage, after)
        policy, value = improve(action, cholesky_solve)
        return (Value(diagonal(value.V), value.v), theta - action.qu @ (action.Quu @ action.qu)), policy

    start = (Value(diagonal(final.V), final.v), jnp.zeros((), final.v.dtype))
    (_, theta), policies = jax.lax.scan(one, start, stages, reverse=True)
    return policies, theta


def _flat_problem(training: Training, states: State, batches: PyTree, beta: Array, *, memoryless: bool):
    """The trajectory on flat vectors of floats; what is not a float, such as a counter, is a constant of each step."""
    first = jax.tree.map(lambda leaf: leaf[0], states)
    leaves, structure = jax.tree.flatten(first)
    num_params = len(jax.tree.leaves(first.params))
    moving = [
        jnp.issubdtype(leaf.dtype, jnp.floating) and (place < num_params or not memoryless)
        for place, leaf in enumerate(leaves)
    ]
    rows = jax.tree.leaves(states)

    def flatten(state: State) -> Array:
        parts = zip(jax.tree.leaves(state), moving, strict=True)
        return ravel_pytree([leaf for leaf, moves in parts if moves])[0]

    _, unravel = ravel_pytree([leaf for leaf, moves in zip(leaves, moving, strict=True) if moves])

    def unflatten(flat: Array, t: Array) -> State:
        found = iter(unravel(flat))
        restored = [next(found) if moves else row[t] for row, moves in zip(rows, moving, strict=True)]
        return jax.tree.unflatten(structure, restored)

    def batch(t: Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[t], batches)

    def cost(x: Array, u: Array, t: Array, _) -> Array:
        return stage_cost(training, unflatten(x, t).params, u, batch(t), beta)

    def dynamics(x: Array, u: Array, t: Array, _) -> Array:
        return flatten(step(training, unflatten(x, t), u, batch(t)))

    def final_cost(x: Array, _) -> Array:
        if not training.terminal:
            return 0 * x[0]
        return jnp.sum(losses(training, unflatten(x, jnp.asarray(0)).params, final_batch(batches)))

    return Problem(cost, dynamics, final_cost), flatten
