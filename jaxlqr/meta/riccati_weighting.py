"""Weight trajectories by one backward pass of iLQR: with full matrices, or with the diagonals of F_x, C_xx and V."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.core.types import PyTree
from jaxlqr.meta.weight_trajectory import State, Training, final_batch, losses, stage_cost, step, train
from jaxlqr.trajectory.curvature import slope_along
from jaxlqr.trajectory.expansion import Problem, Trajectory, expand
from jaxlqr.trajectory.linear_quadratic import (
    ActionValue,
    Policy,
    Stage,
    Value,
    action_value,
    backward,
    cholesky_solve,
    improve,
    simulate,
)

MatrixForm = Literal["full", "diagonal"]


class WeightPlan(NamedTuple):
    """Policies around the nominal trajectory, and by how much J should fall for a small step length, per unit of it."""

    policies: Policy
    nominal: Trajectory
    problem: Problem
    slope: Array


def plan(
    training: Training, state: State, actions: Array, batches: PyTree, beta: Array, *, form: MatrixForm
) -> WeightPlan:
    """One backward pass of Algorithm 2 around the trajectory of the given actions [T, M]."""
    nominal, problem, stages, final = local_model(training, state, actions, batches, beta)
    if form == "full":
        policies, _ = backward(stages, final, cholesky_solve)
    else:
        policies, _ = diagonal_backward(stages, final)
    return WeightPlan(policies, nominal, problem, slope_along(stages, final, policies))


class LocalModel(NamedTuple):
    """The nominal trajectory, the problem on flat states, its stages around that trajectory, and the final value."""

    nominal: Trajectory
    problem: Problem
    stages: Stage
    final: Value


def local_model(
    training: Training, state: State, actions: Array, batches: PyTree, beta: Array, *, memoryless: bool = False
) -> LocalModel:
    """The problem around the trajectory of the given actions [T, M].

    With ``memoryless`` the state is the parameters alone, and the optimiser's memory is a constant of the trajectory.
    """
    states, last = train(training, state, actions, batches)
    problem, flatten = _flat_problem(training, states, batches, beta, memoryless=memoryless)
    points = jnp.concatenate([jax.vmap(flatten)(states), flatten(last)[None]])
    nominal = Trajectory(points, actions)
    stages, final, _ = expand(problem, nominal, None, dynamics_curvature=None)
    return LocalModel(nominal, problem, stages, final)


def simulate_changes(stages: Stage, policies: Policy) -> tuple[Array, Array]:
    """Changes of states and actions that the policies make on the linear model of the trajectory, at full length."""
    return simulate(stages, policies, jnp.zeros_like(stages.q[0]))


def diagonal_backward(stages: Stage, final: Value) -> tuple[Policy, ActionValue]:
    """Policies of Algorithm 2 with diagonal F_x, C_xx, V, and the values of the actions; leading axes [T]."""

    def diagonal(matrix: Array) -> Array:
        return jnp.diag(jnp.diagonal(matrix))

    def one(after: Value, stage: Stage):
        stage = stage._replace(A=diagonal(stage.A), Q=diagonal(stage.Q))
        action = action_value(stage, after)
        policy, value = improve(action, cholesky_solve)
        return Value(diagonal(value.V), value.v), (policy, action)

    return jax.lax.scan(one, Value(diagonal(final.V), final.v), stages, reverse=True)[1]


def _flat_problem(training: Training, states: State, batches: PyTree, beta: Array, *, memoryless: bool):
    """The trajectory on flat vectors of floats; other leaves, such as counters, are constants of each step."""
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
