r"""TOW on linear-quadratic tasks, where all curvature is exact: is it weighting, or a larger step?

The loss of a task is its cost after one adaptation step, the state of the trajectory is the gain, its actions are the
task weights. All rules train by gradient descent, at the step size that is best for uniform weights:

- ``tow``: the weights chosen by trajectory optimisation, some steps at a time;
- ``normalised``: the same, divided by their sum;
- ``sums``: uniform weights with the same sum, which is a step-size control and no weighting;
- ``permuted``: the same weights given to other tasks, by a new permutation at every step;
- ``mirrored``: the deviation from uniform with its sign flipped, cut off at zero.

A rule computes the weights at its iterate, so the rules differ in their last operation only.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jaxlqr.families import boeing, boeing_initial_gain, perturb
from jaxlqr.iterations.newton import damped_newton
from jaxlqr.lqr import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.trajectory_weighting import WeightMethod, tow
from jaxlqr.meta.weight_trajectory import State, Training, losses, train

NUM_TASKS, STRETCH = 10, 5
RULES = ("tow", "normalised", "sums", "permuted", "mirrored")
_SYSTEM_LEVEL = 0.01  # of A and B, in spectral norm: the middle one of toso2024
_COST_DECADES = (-1.0, 1.0)
# Level of the perturbations of A and B, and the decades that the scales of Q spread over.
_SPREADS = {
    "cost scales": (0.0, _COST_DECADES),
    "systems": (_SYSTEM_LEVEL, (0.0, 0.0)),
    "both": (_SYSTEM_LEVEL, _COST_DECADES),
}
FAMILIES = tuple(_SPREADS)
_NEWTON_ITERATIONS, _HALVINGS = 40, 30
# The learning rate is a part of the optimiser's state here, so that one compiled program serves all.
_SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=1.0)


class Adapted(NamedTuple):
    """A task with the size of its adaptation step."""

    task: LQRTask
    inner_step: Array


class AdaptedOptimum(NamedTuple):
    """Minimum of the mean adapted cost, and that cost at the iterates of the method that found it."""

    gain: Array
    value: Array
    path: Array


class Run(NamedTuple):
    """The results of one rule.

    Attributes:
        values: mean adapted cost before every stretch and at the end [stretches + 1]; infinite where the gain, or an
            adapted one, does not stabilise its task.
        weights: of all steps [steps, M].
        decreases: by how much TOW lowered J in every stretch, over J under uniform weights [stretches].
    """

    values: Array
    weights: Array
    decreases: Array


def adapted_cost(K: Array, task: Adapted) -> Array:
    """Cost after one gradient step; infinite where the gain or the adapted gain does not stabilise."""
    before, gradient = jax.value_and_grad(cost)(K, task.task)
    return jnp.where(jnp.isfinite(before), cost(K - task.inner_step * gradient, task.task), jnp.inf)


def mean_cost(K: Array, tasks: Adapted) -> Array:
    """The objective of uniform weights."""
    return jnp.mean(jax.vmap(adapted_cost, in_axes=(None, 0))(K, tasks))


def draw(key: Array, family: str) -> Adapted:
    """Ten tasks around Boeing's. The adaptation step is a tenth of the inverse of the largest curvature at K0."""
    return _draw(key, *_SPREADS[family])


@jax.jit
def _draw(key: Array, level: Array, decades: tuple[Array, Array]) -> Adapted:
    nominal, start = boeing(), boeing_initial_gain()
    system_key, cost_key = jax.random.split(key)
    tasks = perturb(system_key, nominal, NUM_TASKS, level=level * jnp.array([1.0, 1.0, 0.0, 0.0]))
    low, high = decades
    scales = 10 ** jax.random.uniform(cost_key, (NUM_TASKS, 1, 1), minval=low, maxval=high)
    tasks = LQRTask(tasks.A, tasks.B, scales * tasks.Q, tasks.R, tasks.Sigma0)
    size = start.size
    hessians = jax.vmap(lambda task: jax.hessian(cost)(start, task).reshape(size, size))(tasks)
    return Adapted(tasks, jnp.full(NUM_TASKS, 0.1 / jnp.max(jnp.linalg.eigvalsh(hessians))))


@jax.jit
def optimise(tasks: Adapted) -> AdaptedOptimum:
    """Newton's method with the exact Hessian of the mean adapted cost, eigenvalues made positive, and halved steps."""
    start = boeing_initial_gain()

    def objective(flat: Array) -> Array:
        return mean_cost(flat.reshape(start.shape), tasks)

    def derivatives(flat: Array) -> tuple[Array, Array]:
        gradient, product = jax.linearize(jax.grad(objective), flat)
        return gradient, jax.vmap(product)(jnp.eye(flat.size, dtype=flat.dtype))

    end = damped_newton(
        objective, derivatives, start.ravel(), max_steps=_NEWTON_ITERATIONS, max_backtracks=_HALVINGS, scaled=False
    )
    return AdaptedOptimum(end.point.reshape(start.shape), end.value, end.path[:-1])


def _apply(rule: Array, weights: Array, key: Array) -> Array:
    """Weights [T, M] of the rule with this number in ``RULES``."""
    uniform = jnp.full_like(weights, 1 / weights.shape[1])
    total = jnp.sum(weights, axis=1, keepdims=True)
    keys = jax.random.split(key, len(weights))
    candidates = (
        weights,
        weights / total,
        uniform * total,
        jax.vmap(jax.random.permutation)(keys, weights),
        jnp.maximum(2 * uniform - weights, 0),
    )
    return jnp.stack(candidates)[rule]


def _initial(step_size: Array) -> State:
    start = boeing_initial_gain()
    memory: Any = _SGD.init(start)  # optax does not specify its class
    rate = {**memory.hyperparams, "learning_rate": step_size}
    return State(start, memory._replace(hyperparams=rate))


@partial(jax.jit, static_argnames=("method", "num_stretches", "num_steps"))
def run(
    rule: Array,
    key: Array,
    tasks: Adapted,
    step_size: Array,
    beta: Array,
    *,
    method: WeightMethod,
    num_stretches: int,
    num_steps: int = 1,
) -> Run:
    """Train from the published initial gain for ``STRETCH * num_stretches`` steps under a rule, numbered as in
    ``RULES``; ``method`` and ``num_steps`` are those of :func:`jaxlqr.meta.trajectory_weighting.tow`."""
    training = Training(adapted_cost, _SGD, False, False)
    batches = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (STRETCH, *leaf.shape)), tasks)

    def stretch(state: State, key: Array):
        value = jnp.mean(losses(training, state.params, tasks))
        chosen = tow(
            adapted_cost,
            state.params,
            batches,
            optimizer=_SGD,
            opt_state=state.memory,
            beta=beta,
            method=method,
            num_steps=num_steps,
        )
        weights = _apply(rule, chosen.weights, key)
        decrease = 1 - chosen.cost / chosen.nominal_cost
        return train(training, state, weights, batches)[1], (value, weights, decrease)

    last, (values, weights, decreases) = lax.scan(stretch, _initial(step_size), jax.random.split(key, num_stretches))
    values = jnp.append(values, mean_cost(last.params, tasks))
    return Run(_or_infinity(values), weights.reshape(-1, weights.shape[-1]), decreases)


def _uniform_step(K: Array, tasks: Adapted, step_size: Array) -> Array:
    return K - step_size * jax.grad(mean_cost)(K, tasks)


@partial(jax.jit, static_argnames="num_steps")
def uniform_history(tasks: Adapted, step_size: Array, *, num_steps: int) -> Array:
    """Mean adapted cost before every step of plain gradient descent and at the end [num_steps + 1]."""

    def step(K: Array, _):
        return _uniform_step(K, tasks, step_size), mean_cost(K, tasks)

    last, values = lax.scan(step, boeing_initial_gain(), None, length=num_steps)
    return _or_infinity(jnp.append(values, mean_cost(last, tasks)))


@jax.jit
def uniform_after(tasks: Adapted, step_size: Array, num_steps: Array) -> Array:
    """Mean adapted cost after so many steps of plain gradient descent."""
    last = lax.fori_loop(0, num_steps, lambda _, K: _uniform_step(K, tasks, step_size), boeing_initial_gain())
    return _or_infinity(mean_cost(last, tasks))


def _or_infinity(values: Array) -> Array:
    return jnp.where(jnp.isfinite(values), values, jnp.inf)
