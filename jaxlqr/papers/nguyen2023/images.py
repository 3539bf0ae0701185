"""Few-shot learners under task weights: what is trained, by which rule, and how it is examined."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.types import PyTree
from jaxlqr.meta.adapted import AdaptedLoss
from jaxlqr.meta.gram_weighting import advance, losses_and_rows
from jaxlqr.meta.maml import adapt
from jaxlqr.meta.trajectory_weighting import tow
from jaxlqr.meta.weight_trajectory import State, Training
from jaxlqr.meta.weighting import exploitation, exploration, uniform
from jaxlqr.papers.nguyen2023.conv_network import ConvNetwork
from jaxlqr.papers.nguyen2023.few_shot import (
    Design,
    Episode,
    ImageClasses,
    PrototypicalRisk,
    QueryRisk,
    SupportRisk,
    accuracy,
    episodes,
)

STRETCH, NUM_TASKS = 5, 10  # T and M
CHANNELS, STEP_SIZE, INNER_STEP, KAPPA = 12, 3e-3, 0.4, 1.2
MOST_INNER_STEPS = 5  # of the examination

#: Step lengths that TOW tries along its direction. With five inner steps one stretch in five refuses the first, and
#: twelve would cost 2.25 times the uniform updates' gradients instead of 1.96.
NUM_TRIALS = 2

#: Rules that see the losses of one mini-batch.
MYOPIC = ("uniform", "exploration", "exploitation")
#: What is made of the weights that TOW chooses: controls of what it is in them that matters.
CONTROLS = ("normalised", "sums", "permuted", "flipped")


@dataclass(frozen=True)
class Learner:
    """A kind of few-shot learner on images of one size, for episodes of one design; hashable."""

    kind: Literal["maml", "proto"]
    design: Design
    image_size: int
    num_inner_steps: int = 1
    channels: int = CHANNELS
    num_blocks: int = 4

    @property
    def network(self) -> ConvNetwork:
        """MAML adapts a linear layer too; prototypes are made of features."""
        outputs = self.design.ways if self.kind == "maml" else None
        return ConvNetwork(self.image_size, self.channels, outputs, num_blocks=self.num_blocks)

    @property
    def loss(self) -> AdaptedLoss | PrototypicalRisk:
        """Loss of (params, episode), with adaptation inside."""
        if self.kind == "proto":
            return PrototypicalRisk(self.network, self.design.ways)
        return AdaptedLoss(QueryRisk(self.network), SupportRisk(self.network), INNER_STEP, self.num_inner_steps)

    @property
    def training(self) -> Training:
        """Adam on the weighted loss, one task after the other."""
        return Training(self.loss, optimizer(), False, False, 1)


class History(NamedTuple):
    """Mean losses met [updates], and the weights used, times M [updates, M]."""

    losses: Array
    weights: Array


@cache
def optimizer() -> Any:
    """Adam, with the epsilon that keeps its derivatives finite; one object, since programs are kept by it.

    Its state is that of Adam and the length of its steps in units of ``STEP_SIZE``, so one program serves all lengths.
    """
    import optax

    adam = optax.adam(STEP_SIZE, eps_root=1e-16)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        memory, length = state
        change, memory = adam.update(updates, memory, params)
        return jax.tree.map(lambda leaf: length * leaf, change), (memory, length)

    return optax.GradientTransformation(lambda params: (adam.init(params), jnp.ones(())), update)


def start(learner: Learner, key: Array, length: float = 1.0) -> State:
    """Parameters and a fresh optimiser, with steps ``length`` times ``STEP_SIZE``."""
    params = learner.network.init(key)
    memory, _ = optimizer().init(params)
    return State(params, (memory, jnp.asarray(length, jnp.result_type(float))))


def stretch(learner: Learner, key: Array, images: ImageClasses, number: Array) -> Episode:
    """The episodes [T, M] of one stretch; those of a number are the same for every rule."""
    return episodes(jax.random.fold_in(key, number), images, learner.design, (STRETCH, NUM_TASKS))


@partial(jax.jit, static_argnames=("learner", "count"))
def train_myopic(
    learner: Learner,
    state: State,
    key: Array,
    images: ImageClasses,
    first: Array,
    rule: Array,
    *,
    count: int,
) -> tuple[State, History]:
    """``count`` stretches from number ``first`` on, under the rule ``MYOPIC[rule]``."""
    training = learner.training
    choices = (uniform, partial(exploration, kappa=KAPPA), partial(exploitation, kappa=KAPPA))

    def update(state: State, batch: Episode) -> tuple[State, History]:
        losses, rows = losses_and_rows(training, state.params, batch)
        weights = lax.switch(rule, choices, losses)
        return advance(training, state, weights, rows), History(jnp.mean(losses), weights * NUM_TASKS)

    def one(state: State, number: Array) -> tuple[State, History]:
        return lax.scan(update, state, stretch(learner, key, images, number))

    return _flat(lax.scan(one, state, first + jnp.arange(count)))


@partial(jax.jit, static_argnames=("learner", "count"))
def train_tow(
    learner: Learner, state: State, key: Array, images: ImageClasses, first: Array, beta: Array, *, count: int
) -> tuple[State, History]:
    """The same, under TOW by the method "gram"; the losses are those sums of J that it reports, per task and update."""

    def one(state: State, number: Array) -> tuple[State, History]:
        batch = stretch(learner, key, images, number)
        result = _tow(learner, state, batch, beta)
        deviation = beta / 2 * jnp.sum((result.weights - 1 / NUM_TASKS) ** 2)
        mean = (result.cost - deviation) / (STRETCH * NUM_TASKS)
        return State(result.params, result.opt_state), History(jnp.full(STRETCH, mean), result.weights * NUM_TASKS)

    return _flat(lax.scan(one, state, first + jnp.arange(count)))


@partial(jax.jit, static_argnames=("learner", "count"))
def train_control(
    learner: Learner,
    state: State,
    key: Array,
    images: ImageClasses,
    first: Array,
    beta: Array,
    control: Array,
    *,
    count: int,
) -> tuple[State, History]:
    """The same, under what ``CONTROLS[control]`` makes of the weights that TOW would use from the same state."""
    training = learner.training

    def update(state: State, at: tuple[Episode, Array]) -> tuple[State, History]:
        batch, weights = at
        losses, rows = losses_and_rows(training, state.params, batch)
        return advance(training, state, weights, rows), History(jnp.mean(losses), weights * NUM_TASKS)

    def one(state: State, number: Array) -> tuple[State, History]:
        batch = stretch(learner, key, images, number)
        weights = _tow(learner, state, batch, beta).weights
        order_key = jax.random.fold_in(jax.random.fold_in(key, number), 1)
        weights = lax.switch(control, _CHANGES, weights, order_key)
        return lax.scan(update, state, (batch, weights))

    return _flat(lax.scan(one, state, first + jnp.arange(count)))


def _tow(learner: Learner, state: State, batch: Episode, beta: Array):
    return tow(
        learner.loss,
        state.params,
        batch,
        optimizer=optimizer(),
        opt_state=state.memory,
        beta=beta,
        max_backtracks=NUM_TRIALS,
        batch_size=1,
    )


def _normalised(weights: Array, key: Array) -> Array:
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _sums(weights: Array, key: Array) -> Array:
    return jnp.broadcast_to(jnp.mean(weights, axis=1, keepdims=True), weights.shape)


def _permuted(weights: Array, key: Array) -> Array:
    return jax.random.permutation(key, weights, axis=1, independent=True)


def _flipped(weights: Array, key: Array) -> Array:
    return jnp.maximum(2 / NUM_TASKS - weights, 0)


_CHANGES = (_normalised, _sums, _permuted, _flipped)


def _flat(scanned: tuple[State, History]) -> tuple[State, History]:
    state, history = scanned
    return state, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), history)


@partial(jax.jit, static_argnames="learner")
def examine(learner: Learner, params: PyTree, tasks: Episode) -> Array:
    """Accuracies on the queries of a stack of tasks, [tasks, k]: after each of ``MOST_INNER_STEPS`` inner steps for
    MAML, in one column for prototypical networks."""
    network = learner.network

    def one(task: Episode) -> Array:
        if isinstance(learner.loss, PrototypicalRisk):
            return accuracy(learner.loss.scores(params, task), task.query_labels)[None]

        def step(adapted: PyTree, _: None) -> tuple[PyTree, Array]:
            adapted = adapt(SupportRisk(network), adapted, task, INNER_STEP)
            return adapted, accuracy(network(adapted, task.query), task.query_labels)

        return lax.scan(step, params, length=MOST_INNER_STEPS)[1]

    return lax.map(one, tasks)
