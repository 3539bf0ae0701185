r"""TOW for the price of two training runs: one pass under the nominal weights, one under those chosen from it.

A pass computes the loss and the gradient of each task, as much work as the gradient of their weighted sum. From these
rows, [T, M, D], follow J, the step, and the gradient of J with F_x = I; no second derivative beyond those of the loss
itself. Two passes that begin at the same state share their first rows. So T steps of training with weights chosen by
one direction, accepted at once, cost 2 T - 1 steps' worth of rows. Memory: T M D numbers. docs/errata.md, N10.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.batching import over_stack
from jaxlqr.core.types import PyTree
from jaxlqr.meta.weight_trajectory import State, Training, final_batch, losses, task_weights, update


class Pass(NamedTuple):
    """A training run: J, the last state, losses [T, M] met on the way and their gradients, leaves [T, M, ...]."""

    cost: Array
    last: State
    losses: Array
    rows: PyTree


def first_rows(training: Training, state: State, batches: PyTree) -> tuple[Array, PyTree]:
    """Losses [M] of the first mini-batch and their gradients."""
    return losses_and_rows(training, state.params, jax.tree.map(lambda leaf: leaf[0], batches))


def run(training: Training, state: State, first: Any, actions: Array, batches: PyTree, beta: Array) -> Pass:
    """The training run under actions [T, M]; ``first`` from :func:`first_rows`."""
    moved = advance(training, state, actions[0], first[1])
    later = jax.tree.map(lambda leaf: leaf[1:], batches)

    def one(before: State, at: tuple[Array, PyTree]):
        action, batch = at
        values, rows = losses_and_rows(training, before.params, batch)
        return advance(training, before, action, rows), (values, rows)

    last, rest = lax.scan(one, moved, (actions[1:], later))
    values, rows = jax.tree.map(lambda head, tail: jnp.concatenate([head[None], tail]), first, rest)
    cost = jnp.sum(values) + beta / 2 * jnp.sum((actions - 1 / actions.shape[1]) ** 2)
    if training.terminal:
        cost = cost + jnp.sum(losses(training, last.params, final_batch(batches)))
    return Pass(cost, last, values, rows)


def gradient(training: Training, state: State, at: Pass, actions: Array, batches: PyTree, beta: Array) -> Array:
    """Gradient of J with respect to the actions [T, M], with the rows of the pass held fixed.

    The trajectory is replaced by one whose gradients and costs do not change with the parameters (F_x = I in (93a) of
    nguyen2023), while the optimiser and its memory stay exact. For gradient descent the result is, but for the prior,
    -alpha times inner products of per-task gradients: a Gram matrix.
    """
    # The costate of the parameters at each step: the sum of the rows of later steps, including the terminal one.
    totals = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=1), at.rows)
    final = None
    if training.terminal:
        batch = final_batch(batches)
        final = jax.grad(lambda params: jnp.sum(losses(training, params, batch)))(at.last.params)

    def surrogate(U: Array) -> Array:
        def one(carry: tuple[State, Array], item):
            before, total = carry
            action, row, worth = item
            total = total + _inner(worth, before.params) + beta / 2 * jnp.sum((action - 1 / action.shape[0]) ** 2)
            return (advance(training, before, action, row), total), None

        (end, total), _ = lax.scan(one, (state, jnp.zeros((), U.dtype)), (U, at.rows, totals))
        return total if final is None else total + _inner(final, end.params)

    return jax.grad(surrogate)(actions)


def gram_gradient(training: Training, state: State, actions: Array, batches: PyTree, beta: Array) -> Array:
    """:func:`gradient` at the training run under the given actions."""
    at = run(training, state, first_rows(training, state, batches), actions, batches, beta)
    return gradient(training, state, at, actions, batches, beta)


def losses_and_rows(training: Training, params: PyTree, batch: PyTree) -> tuple[Array, PyTree]:
    """Losses [M] of the tasks of one mini-batch, and the gradient of each, leaves [M, ...]."""
    return over_stack(partial(jax.value_and_grad(training.loss), params), training.batch_size, batch)


def advance(training: Training, state: State, action: Array, rows: PyTree) -> State:
    """The step that the optimiser takes along the rows, weighted."""
    weights = task_weights(training, action)
    return update(training, state, jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, axes=1), rows))


def _inner(left: PyTree, right: PyTree) -> Array:
    return jax.tree.reduce(jnp.add, jax.tree.map(lambda a, b: jnp.sum(a * b), left, right))
