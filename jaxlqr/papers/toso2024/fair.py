"""The three panels as a fair comparison.

One step size for all heterogeneity levels and all methods, the published one; the published Sigma0 = I/4 and the exact
cost; the safeguard on, so that nothing diverges; a Hessian estimate that estimates the Hessian; tasks held out, one in
five; one step rule for all starts; and the baselines that a sceptic would ask for.
"""

from concurrent.futures import Future
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.families import boeing_initial_gain
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta import Maml
from jaxlqr.oracles import ExactOracle, ZerothOrderOracle
from jaxlqr.papers.toso2024.curves import Curve, diverged_from
from jaxlqr.papers.toso2024.tasks import LEVELS, NUM_DRAWN, NUM_HELD_OUT, Optima
from jaxlqr.papers.units import Units
from jaxlqr.training import Output, TrainingResult, meta_train, policy_gradient

LEVEL = 0.01  # of the left and right panels
STEP = 8e-6
ADAPTATION_STEPS = 300
# The same rule for all starts: gradient descent at a step that is stable near the optimum (the largest Hessian
# eigenvalue there is 2.9e3), and the norm of the gradient clipped, which keeps the first steps from K0 at 0.03.
ADAPTATION_STEP, ADAPTATION_CLIP = 3e-4, 100.0

TRAINING_ORACLE = ZerothOrderOracle(num_samples=20, radius=1e-2)
ADAPTATION_ORACLE = ZerothOrderOracle(num_samples=50, radius=1e-5)

_METHODS = {
    "maml": "MAML, model-free",
    "first_order": "first-order MAML, model-free",
    "policy_gradient": "multi-task policy gradient, model-free",
    "maml_exact": "MAML, model-based",
}
_STARTS = {**_METHODS, "average_task": "optimum of the average task", "scratch": "K0"}


def nothing(params: Array, task: LQRTask) -> dict[str, Array]:
    """No metrics: the loss, which is always recorded, is all that is plotted."""
    return {}


@lru_cache(maxsize=1)
def _adaptation_rule():
    import optax

    return optax.chain(optax.clip_by_global_norm(ADAPTATION_CLIP), optax.sgd(ADAPTATION_STEP))


class _Part(NamedTuple):
    """Some tasks of each seed [seeds, tasks, ...] and their least costs [seeds, tasks]."""

    tasks: LQRTask
    optimal: np.ndarray


_TRAINED = slice(NUM_DRAWN - NUM_HELD_OUT)  # the nominal task is the first
_HELD_OUT = slice(NUM_DRAWN - NUM_HELD_OUT, None)


def _cut(tasks: LQRTask, which: slice) -> LQRTask:
    return jax.tree.map(lambda leaf: leaf[:, which], tasks)


def _part(tasks: LQRTask, optima: Optima, which: slice) -> _Part:
    least = np.einsum("stij,stji->st", optima.values, np.asarray(tasks.Sigma0))
    return _Part(_cut(tasks, which), least[:, which])


def _concatenate(*trees):
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)


def _mean_gap(result: TrainingResult, optimal: np.ndarray) -> np.ndarray:
    """Mean over tasks of J_i(K) - J_i(K_i*), [runs, iterations + 1]; ``optimal`` is [runs, tasks]."""
    return np.mean(np.asarray(result.history["loss"]) - optimal[:, None], axis=2)


def run(
    key: Array,
    drawn: dict[float, LQRTask],
    optima: Future[dict[float, Optima]],
    meta_steps: int,
    baselines: bool,
    progress: bool | None,
    units: Units,
) -> tuple[dict[str, dict[str, Curve]], dict[str, Any]]:
    """Curves of the three panels, by panel and name, and the gap of the average task's optimum, which is not trained.

    ``baselines``: with first-order and model-based MAML, which are programs of their own to compile.
    """
    train_key, adapt_key = jax.random.split(key)
    num_seeds = drawn[LEVEL].A.shape[0]
    keys = jax.random.split(train_key, num_seeds)

    def learn(name: str, tasks: LQRTask, **options) -> TrainingResult:
        copies = tasks.A.shape[0] // num_seeds
        run = partial(
            meta_train,
            cost,
            np.broadcast_to(boeing_initial_gain(), (copies * num_seeds, 2, 4)),
            tasks,
            num_steps=meta_steps,
            outer_step_size=STEP,
            key=jnp.tile(keys, copies),
            batched=True,
            **options,
        )
        return units.train(f"fair, {name}", run, Output(metrics=nothing, progress=progress, every=100))

    # Policy gradient is MAML with an inner step of zero: it runs beside the three levels in one compiled program.
    together = _concatenate(*(_cut(drawn[level], _TRAINED) for level in (*LEVELS, LEVEL)))
    inner_steps = np.repeat([*[STEP] * len(LEVELS), 0.0], num_seeds)
    model_free = learn("model-free", together, objective=Maml(inner_step_size=inner_steps), oracle=TRAINING_ORACLE)
    parts = {level: _part(drawn[level], optima.result()[level], _TRAINED) for level in LEVELS}
    train, held_out = parts[LEVEL], _part(drawn[LEVEL], optima.result()[LEVEL], _HELD_OUT)
    optimal = np.concatenate([parts[level].optimal for level in (*LEVELS, LEVEL)])
    gaps = _mean_gap(model_free, optimal).reshape(len(LEVELS) + 1, num_seeds, -1)
    gains = np.asarray(model_free.params).reshape(len(LEVELS) + 1, num_seeds, 2, 4)
    main = LEVELS.index(LEVEL)
    left_gaps = {"maml": gaps[main], "policy_gradient": gaps[-1]}
    starts = {"maml": gains[main], "policy_gradient": gains[-1]}
    if baselines:
        for name, oracle in (("first_order", TRAINING_ORACLE), ("maml_exact", ExactOracle())):
            maml = Maml(inner_step_size=STEP, first_order=name == "first_order")
            other = learn(name, train.tasks, objective=maml, oracle=oracle)
            left_gaps[name] = _mean_gap(other, train.optimal)
            starts[name] = np.asarray(other.params)
    average = optima.result()[LEVEL].average_gain
    starts["average_task"] = average
    starts["scratch"] = np.broadcast_to(boeing_initial_gain(), (num_seeds, 2, 4))
    curves = {
        "left": {name: _curve(rows, _METHODS[name], LEVEL) for name, rows in left_gaps.items()},
        "middle": {
            f"level_{level:g}": _curve(rows, f"level {level:g}", level)
            for level, rows in zip(LEVELS, gaps[:-1], strict=True)
        },
        "right": _adaptation(adapt_key, starts, held_out, progress, units),
    }
    return curves, _untrained_gap(optima.result()[LEVEL].average_costs[:, _TRAINED], train)


def _curve(gaps: np.ndarray, label: str, level: float) -> Curve:
    settings = {"level": level, "inner_step_size": STEP, "outer_step_size": STEP}
    return Curve(gaps=gaps, label=label, diverged=diverged_from(gaps), settings=settings)


def _untrained_gap(costs: np.ndarray, part: _Part) -> dict[str, Any]:
    low, middle, high = np.quantile(np.mean(costs - part.optimal, axis=1), [0.25, 0.5, 0.75])
    return {"median": float(middle), "quartiles": [float(low), float(high)]}


def _adaptation(
    key: Array, starts: dict[str, np.ndarray], held_out: _Part, progress: bool | None, units: Units
) -> dict[str, Curve]:
    """Policy gradient on each held-out task from each start; all starts see the same perturbations."""
    num_seeds = len(held_out.optimal)
    tasks = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), held_out.tasks)
    runs = num_seeds * NUM_HELD_OUT
    run = partial(
        policy_gradient,
        cost,
        np.concatenate([np.repeat(gain, NUM_HELD_OUT, axis=0) for gain in starts.values()]),
        _concatenate(*[tasks] * len(starts)),
        num_steps=ADAPTATION_STEPS,
        optimizer=_adaptation_rule(),
        oracle=ADAPTATION_ORACLE,
        key=jnp.tile(jax.random.split(key, runs), len(starts)),
        batched=True,
    )
    result = units.train("fair, adaptation", run, Output(metrics=nothing, progress=progress, every=100))
    losses = np.asarray(result.history["loss"]).reshape(len(starts), runs, -1)
    gaps = losses - held_out.optimal.reshape(1, runs, 1)
    gaps = gaps.reshape(len(starts), num_seeds, NUM_HELD_OUT, -1).mean(axis=2)
    rule = {"step_size": ADAPTATION_STEP, "gradient_clipped_to": ADAPTATION_CLIP}
    return {
        name: Curve(
            gaps=rows, label=f"from {_STARTS[name]}", diverged=~np.all(np.isfinite(rows), axis=1), settings=rule
        )
        for name, rows in zip(starts, gaps, strict=True)
    }


def settings() -> dict[str, Any]:
    """Settings common to the three panels."""
    return {
        "system": "boeing, released variant",
        "num_training_tasks": NUM_DRAWN - NUM_HELD_OUT,
        "num_held_out_tasks": NUM_HELD_OUT,
        "oracle": {"num_samples": 20, "radius": 1e-2, "hessian": "stein", "perturbations": "independent"},
        "adaptation_oracle": {"num_samples": 50, "radius": 1e-5},
        "initial_state": "Sigma0 = I/4, exact expectation",
        "plotted_gap": "mean over the training tasks (left, middle) or the held-out tasks (right)",
        "safeguard": True,
    }
