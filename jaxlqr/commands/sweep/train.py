"""Training the runs of a sweep, a batch of them side by side in one compiled program."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.commands.sweep.spec import SweepSpec
from jaxlqr.commands.train import make_oracle, outer_rule
from jaxlqr.core.status import SolveStatus
from jaxlqr.families import perturb
from jaxlqr.lqr import cost, is_stabilizing
from jaxlqr.meta import Maml
from jaxlqr.training import Checkpoints, Guard, Limits, Output, meta_train


def train_batch(spec: SweepSpec, runs: list[int], checkpoints: Checkpoints | None = None) -> dict[str, list[Any]]:
    """Train ``runs``, which share all static settings; returns columns of results, one entry for each run.

    A batch that is not full repeats its last run, so that no remainder is compiled anew. A run with an infeasible start
    stalls there, and its row states it.
    """
    began = time.perf_counter()
    padded = runs + [runs[-1]] * (spec.batch - len(runs))
    values = [spec.values(run) for run in padded]
    settings = [spec.training(run) for run in padded]
    shared = settings[0]
    tasks = _tasks(spec, values)
    start = jnp.broadcast_to(spec.K0, (len(padded), *spec.K0.shape))
    steps = _steps(settings)
    result = meta_train(
        cost,
        start,
        tasks,
        num_steps=shared.steps,
        objective=Maml(
            inner_step_size=jnp.asarray(steps["inner_step"]),
            num_inner_steps=shared.inner_steps,
            first_order=shared.first_order,
        ),
        oracle=make_oracle(shared, radius=steps["radius"]),
        key=jax.vmap(jax.random.key)(np.array([s.seed for s in settings], np.uint32)),
        batched=True,
        guard=Guard(strict=False) if shared.safeguard else None,
        limits=Limits(minibatch_size=shared.minibatch),
        output=Output(progress=False, checkpoints=checkpoints),
        **outer_rule(shared, steps["outer_step"]),
    )
    feasible = _feasible(start, tasks)
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    columns: dict[str, Any] = {
        "status": [SolveStatus(code).name for code in np.asarray(result.status).tolist()],
        "feasible_start": np.asarray(feasible),
        "failed_queries": history["failed_queries"].sum(axis=1),
        "outer_steps_shortened": np.sum(history["accepted_step"][:, 1:] < 1, axis=1),
        "spectral_radius_max": history["spectral_radius"][:, -1].max(axis=1),
        "gain": list(np.asarray(result.params).reshape(len(padded), -1)),
    }
    for end, row in (("first", 0), ("last", -1)):
        for name in ("cost", "gap"):
            # A task that diverged counts as infinitely bad.
            rows = history[name][:, row]
            columns[f"{name}_{end}"] = np.median(np.where(np.isnan(rows), np.inf, rows), axis=1)
        columns[f"gradient_norm_{end}"] = history["gradient_norm"][:, row]
    seconds = (time.perf_counter() - began) / len(runs)
    whole = {name: list(column)[: len(runs)] for name, column in columns.items()}
    return {"run": list(runs), **whole, "seconds": [seconds] * len(runs)}


@partial(jax.jit, static_argnames=("num_tasks", "include_nominal"))
def _draw(nominal, masks, levels, seeds, *, num_tasks: int, include_nominal: bool):
    def one(level: Array, seed: Array):
        return perturb(jax.random.key(seed), nominal, num_tasks, level, masks=masks, include_nominal=include_nominal)

    return jax.vmap(one)(levels, seeds)


def _tasks(spec: SweepSpec, values: list[dict[str, Any]]):
    """The tasks of each run, with a leading axis of runs."""
    if spec.plants is not None:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(values), *leaf.shape)), spec.plants)
    levels, seeds = [each["level"] for each in values], [each["task_seed"] for each in values]
    return _draw(
        spec.nominal,
        spec.masks,
        np.array(levels, float),
        np.array(seeds, np.uint32),
        num_tasks=spec.num_tasks,
        include_nominal=spec.include_nominal,
    )


@jax.jit
def _feasible(start: Array, tasks: Any) -> Array:
    each = jax.vmap(jax.vmap(is_stabilizing, in_axes=(None, 0)))(start, tasks)
    return jnp.all(each, axis=1)


def _steps(settings: list[Any]) -> dict[str, np.ndarray]:
    names = ("inner_step", "outer_step", "radius")
    return {name: np.array([getattr(each, name) for each in settings], float) for name in names}
