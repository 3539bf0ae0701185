"""The policies one may start from, and what each returns after proximal steps on tasks it has not seen."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.experiments.wang2020.settings import NUM_TASKS, Setting
from jaxlqr.mdp import MDPTask, ProximalLoss, evaluate, mdp_loss, optimal_policy, proximal_step
from jaxlqr.training import meta_train

MAX_STEPS = 10
STEP_SIZE = 0.3  # of Adam
LABELS = {
    "exact": "meta-learned",
    "first_order": "meta-learned, first order",
    "printed": "meta-learned, printed gradient",
    "average_early": "average return, early-stopped",
    "average": "average return",
    "uniform": "uniform",
}


class Learned(NamedTuple):
    """Held-out returns by start [splits, tasks, MAX_STEPS + 1], the optima [splits, tasks], parameters by start."""

    returns: dict[str, np.ndarray]
    optimal: np.ndarray
    params: dict[str, np.ndarray]
    held_out: MDPTask


def learn(key: Array, setting: Setting, num_splits: int, num_steps: int, progress: bool | None) -> Learned:
    """Train all starts on the first half of the tasks of each split and adapt them to the second half."""
    tasks = setting.tasks(key, num_splits)
    train, held_out = (jax.tree.map(lambda leaf, cut=cut: leaf[:, cut], tasks) for cut in _HALVES)
    zero = np.broadcast_to(setting.start(tasks), (num_splits, *setting.start(tasks).shape))

    def trained(loss: Any, metrics: Any = _nothing) -> Any:
        return meta_train(
            loss,
            zero,
            train,
            num_steps=num_steps,
            inner_step_size=0.0,
            num_inner_steps=0,
            optimizer=_adam(),
            safeguard=False,
            metrics=metrics,
            batched=True,
            progress=progress,
        )

    average = trained(mdp_loss, _iterate)
    params = {
        kind: np.asarray(trained(ProximalLoss(setting.eta, gradient=kind)).params)
        for kind in ("exact", "first_order", "printed")
    }
    params |= {
        "average_early": _best_iterate(np.asarray(average.history["theta"])[:, :, 0], held_out, setting.eta),
        "average": np.asarray(average.params),
        "uniform": zero,
    }
    returns = {name: np.asarray(_adaptation(start, held_out, setting.eta)) for name, start in params.items()}
    return Learned(returns, np.asarray(_optimal(held_out)), params, held_out)


_HALVES = (slice(NUM_TASKS), slice(NUM_TASKS, None))


def _nothing(theta: Array, task: MDPTask) -> dict[str, Array]:
    return {}


def _iterate(theta: Array, task: MDPTask) -> dict[str, Array]:
    """The parameters themselves, from which an early stop is chosen."""
    return {"theta": theta}


@cache
def _adam() -> Any:
    import optax

    return optax.adam(STEP_SIZE)


@jax.jit
def _adaptation(params: Array, tasks: MDPTask, eta: Array) -> Array:
    """Returns after 0, 1, ..., MAX_STEPS proximal steps, [splits, tasks, MAX_STEPS + 1]."""

    def one(theta: Array, task: MDPTask) -> Array:
        def step(policy: Array, _: None) -> tuple[Array, Array]:
            return proximal_step(task.mdp, policy, eta), evaluate(task.mdp, policy).J

        return jax.lax.scan(step, task.policy(theta), length=MAX_STEPS + 1)[1]

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(params, tasks)


@jax.jit
def _optimal(tasks: MDPTask) -> Array:
    return jax.vmap(jax.vmap(lambda task: evaluate(task.mdp, optimal_policy(task.mdp)).J))(tasks)


@partial(jax.jit, static_argnames="eta")
def _after_one(iterates: Array, tasks: MDPTask, eta: float) -> Array:
    """Mean return after one step for iterates [steps, ...] of one split."""
    loss = ProximalLoss(eta)
    mean = lambda theta: -jnp.mean(jax.vmap(loss, in_axes=(None, 0))(theta, tasks))  # noqa: E731
    return jax.lax.map(mean, iterates)


def _best_iterate(iterates: np.ndarray, held_out: MDPTask, eta: float) -> np.ndarray:
    """The iterate of each split [splits, ...] that adapts best to the held-out tasks: a stop nobody could do better."""
    values = jax.lax.map(lambda pair: _after_one(*pair, eta), (jnp.asarray(iterates), held_out))
    chosen = np.argmax(np.asarray(values), axis=1)
    return iterates[np.arange(len(iterates)), chosen]
