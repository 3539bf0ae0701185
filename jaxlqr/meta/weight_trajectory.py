r"""Training under task weights as a controlled trajectory: the state is (parameters, optimiser state), the weights act.

    J(U) = sum over t < T of  1'l_t(x_t) + beta/2 |u_t - mu|^2   [ + 1'l_{T-1}(x_T) ],
    x_{t+1} = x_t + update(grad of u_t'l_t at x_t, memory_t),

l_t the losses [M] of the tasks in mini-batch t, mu = 1/M. (6), (7), (90) of nguyen2023; the memory of the optimiser is
part of the state (docs/errata.md, N5). Without the bracket the last weights never matter (N6).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.batching import over_stack
from jaxlqr.core.types import PyTree

if TYPE_CHECKING:
    import optax


class Training(NamedTuple):
    """Static part of the trajectory; hashable. ``batch_size``: tasks worked on at once, None for all."""

    loss: Callable[[PyTree, PyTree], Array]
    optimizer: "optax.GradientTransformation"
    softmax: bool
    terminal: bool
    batch_size: int | None = None


class State(NamedTuple):
    """Parameters and optimiser state, pytrees."""

    params: PyTree
    memory: PyTree


def task_weights(training: Training, actions: Array) -> Array:
    """Weights of the tasks for actions [..., M]."""
    return jax.nn.softmax(actions, axis=-1) if training.softmax else actions


def losses(training: Training, params: PyTree, batch: PyTree) -> Array:
    """Losses [M] of the tasks of one mini-batch."""
    return over_stack(lambda task: training.loss(params, task), training.batch_size, batch)


def update(training: Training, state: State, gradient: PyTree) -> State:
    """One step of the optimiser."""
    change, memory = training.optimizer.update(gradient, state.memory, state.params)
    return State(jax.tree.map(jnp.add, state.params, change), memory)


def step(training: Training, state: State, action: Array, batch: PyTree) -> State:
    """One training step under the given action [M]."""
    weights = task_weights(training, action)
    gradient = jax.grad(lambda params: jnp.sum(weights * losses(training, params, batch)))(state.params)
    return update(training, state, gradient)


def train(training: Training, state: State, actions: Array, batches: PyTree) -> tuple[State, State]:
    """States at the beginning of each step, leading axis T, and the last one."""

    def one(before: State, at: tuple[Array, PyTree]):
        action, batch = at
        return step(training, before, action, batch), before

    last, states = lax.scan(one, state, (actions, batches))
    return states, last


def stage_cost(training: Training, params: PyTree, action: Array, batch: PyTree, beta: Array) -> Array:
    """(7) of nguyen2023, a scalar."""
    deviation = action - 1 / action.shape[0]
    return jnp.sum(losses(training, params, batch)) + beta / 2 * jnp.sum(deviation**2)


def final_batch(batches: PyTree) -> PyTree:
    """The mini-batch whose losses are the terminal cost: the last one."""
    return jax.tree.map(lambda leaf: leaf[-1], batches)


def objective(training: Training, state: State, actions: Array, batches: PyTree, beta: Array) -> tuple[Array, State]:
    """J and the state it ends in."""

    def one(carry: tuple[State, Array], at: tuple[Array, PyTree]):
        (before, total), (action, batch) = carry, at
        total = total + stage_cost(training, before.params, action, batch, beta)
        return (step(training, before, action, batch), total), None

    (last, total), _ = lax.scan(one, (state, jnp.zeros((), actions.dtype)), (actions, batches))
    if training.terminal:
        total = total + jnp.sum(losses(training, last.params, final_batch(batches)))
    return total, last


def gradient(training: Training, state: State, actions: Array, batches: PyTree, beta: Array) -> Array:
    """Gradient of J with respect to all T x M actions, by autodiff through the whole trajectory."""
    return jax.grad(lambda U: objective(training, state, U, batches, beta)[0])(actions)
