"""The policies one may start from, and what each returns after proximal steps on tasks it has not seen."""

from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.mdp import MDPTask, ProximalLoss, evaluate, mdp_loss, optimal_policy, proximal_step
from jaxlqr.mdp.policy import tilt
from jaxlqr.meta import Mean
from jaxlqr.papers.units import Units
from jaxlqr.papers.wang2020.printed import OtherGradientLoss
from jaxlqr.papers.wang2020.settings import NUM_TASKS, Setting
from jaxlqr.training import Output, meta_train, no_metrics

MAX_STEPS = 10
GradientKind = Literal["exact", "first_order", "printed"]  # of the gradient of a meta-learned start


class StepSizes(NamedTuple):
    """Step sizes of Adam: of the meta-learned starts, of the average return, and of it where it is stopped early."""

    meta: float
    average: float
    early: float


STEP_SIZES = StepSizes(meta=0.3, average=0.1, early=1.0)  # chosen by choose.py
LABELS = {
    "exact": "meta-learned",
    "first_order": "meta-learned, first order",
    "printed": "meta-learned, printed gradient",
    "average_early": "average return, stopped on training tasks",
    "average_oracle": "average return, stopped on held-out tasks",
    "average": "average return",
    "uniform": "uniform",
}


class Learned(NamedTuple):
    """Held-out returns by start [splits, tasks, MAX_STEPS + 1], the optima [splits, tasks], parameters by start."""

    returns: dict[str, np.ndarray]
    optimal: np.ndarray
    params: dict[str, np.ndarray]
    held_out: MDPTask


def learn(
    key: Array,
    setting: Setting,
    num_splits: int,
    num_steps: int,
    progress: bool | None,
    step_sizes: StepSizes = STEP_SIZES,
    kinds: tuple[GradientKind, ...] = ("exact", "first_order", "printed"),
    units: Units | None = None,
) -> Learned:
    """Train all starts on the first half of the tasks of each split and adapt them to the second half.

    The policy of the best average return is stopped where it adapts best in one step. The stop on the training tasks is
    possible in practice. The stop on the held-out tasks is not, but bounds the gain of a better stop.
    """
    tasks = setting.tasks(key, num_splits)
    train, held_out = (jax.tree.map(lambda leaf, cut=cut: leaf[:, cut], tasks) for cut in _HALVES)
    zero = np.broadcast_to(setting.start(tasks), (num_splits, *setting.start(tasks).shape))

    def trained(name: str, loss: Any, step_size: float, metrics: Any = no_metrics) -> Any:
        run = partial(
            meta_train,
            loss,
            zero,
            train,
            num_steps=num_steps,
            objective=Mean(),
            optimizer=_adam(step_size),
            batched=True,
            guard=None,
        )
        output = Output(metrics=metrics, progress=progress)
        return (units or Units()).train(f"{setting.title}, {name}", run, output)

    average = trained("average", mdp_loss, step_sizes.average, _iterate)
    early = average
    if step_sizes.early != step_sizes.average:
        early = trained("average, long steps", mdp_loss, step_sizes.early, _iterate)
    iterates = np.asarray(early.history["theta"])[:, :, 0]
    params = {kind: np.asarray(trained(kind, _loss(kind, setting.eta), step_sizes.meta).params) for kind in kinds}
    params |= {
        "average_early": _best_iterate(iterates, train, setting.eta),
        "average_oracle": _best_iterate(iterates, held_out, setting.eta),
        "average": np.asarray(average.params),
        "uniform": zero,
    }
    returns = {name: np.asarray(_adaptation(start, held_out, setting.eta)) for name, start in params.items()}
    return Learned(returns, np.asarray(_optimal(held_out)), params, held_out)


def _loss(kind: GradientKind, eta: float) -> ProximalLoss:
    return ProximalLoss(eta) if kind == "exact" else OtherGradientLoss(eta, gradient=kind)


_HALVES = (slice(NUM_TASKS), slice(NUM_TASKS, None))


def _iterate(theta: Array, task: MDPTask) -> dict[str, Array]:
    """The parameters themselves, from which an early stop is chosen."""
    return {"theta": theta}


@cache
def _adam(step_size: float) -> Any:
    import optax

    return optax.adam(step_size)


@jax.jit
def _adaptation(params: Array, tasks: MDPTask, eta: Array) -> Array:
    """Returns after 0, 1, ..., MAX_STEPS proximal steps, [splits, tasks, MAX_STEPS + 1]."""

    def one(theta: Array, task: MDPTask) -> Array:
        def step(policy: Array, _: None) -> tuple[Array, Array]:
            values = evaluate(task.mdp, policy)
            return tilt(policy, eta * values.Q), values.J

        return jax.lax.scan(step, task.policy(theta), length=MAX_STEPS + 1)[1]

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(params, tasks)


@jax.jit
def _optimal(tasks: MDPTask) -> Array:
    return jax.vmap(jax.vmap(lambda task: evaluate(task.mdp, optimal_policy(task.mdp)).J))(tasks)


@jax.jit
def _after_one(iterates: Array, tasks: MDPTask, eta: Array) -> Array:
    """Mean return after one step [splits, steps], for iterates [splits, steps, ...]."""

    def one(theta: Array, task: MDPTask) -> Array:
        return evaluate(task.mdp, proximal_step(task.mdp, task.policy(theta), eta)).J

    def of_split(split: tuple[Array, MDPTask]) -> Array:
        rows, own = split
        return jax.lax.map(lambda theta: jnp.mean(jax.vmap(one, in_axes=(None, 0))(theta, own)), rows)

    return jax.lax.map(of_split, (iterates, tasks))


def _best_iterate(iterates: np.ndarray, tasks: MDPTask, eta: float) -> np.ndarray:
    """The iterate of each split [splits, ...] that adapts best to ``tasks`` in one step."""
    chosen = np.argmax(np.asarray(_after_one(jnp.asarray(iterates), tasks, jnp.asarray(eta))), axis=1)
    return iterates[np.arange(len(iterates)), chosen]
