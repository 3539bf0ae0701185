"""The three panels as released: the settings of the authors' code, with what they do to stability left as it is.

Every setting is from docs/errata.md, T8. Where that leaves a choice, it is ours and is said so in the summary: one x0
is drawn for all queries of an estimate (at the adaptation's radius of 1e-5 independent draws would drown the
differences), and the "random start" of the right panel is policy gradient from K0 on the unseen task, for as many
iterations at the first step size as the meta-training takes.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.families import boeing, boeing_initial_gain
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta import Maml
from jaxlqr.oracles import ZerothOrderOracle
from jaxlqr.papers.toso2024.curves import Curve, diverged_from
from jaxlqr.papers.toso2024.printed import PrintedOracle
from jaxlqr.papers.toso2024.tasks import PRINTED_LEVELS, Optima, draw_as_printed
from jaxlqr.papers.units import Units
from jaxlqr.training import Output, TrainingResult, meta_train, policy_gradient

NUM_TASKS = 10
META_STEPS = 200
ADAPTATION_STEPS = 300
# (heterogeneity level, step size) of the left panel and of the three curves of the middle one.
LEFT = (0.01, 8e-6)
MIDDLE = ((0.001, 8e-6), (0.01, 4e-6), (0.015, 0.95e-6))
RANDOM_START_STEP, META_START_STEP = 0.35e-3, 1e-3
PLOTTED_STATE = (0.25, 0.55, 0.35, 0.45)

TRAINING_ORACLE = PrintedOracle(num_samples=20, radius=1e-2, failed_queries="propagate", common_random_numbers=True)
ADAPTATION_ORACLE = replace(TRAINING_ORACLE, num_samples=50, radius=1e-5)
# Of the random start: the radius of the training, and the samples of the adaptation, which share its compiled program.
START_ORACLE = replace(ADAPTATION_ORACLE, radius=TRAINING_ORACLE.radius)


@dataclass(frozen=True)
class SampledStateCost:
    """Cost from an initial state with entries N(mean, deviation^2): the cost oracle of the released code."""

    mean: float = 0.5
    deviation: float = 1e-3

    def __call__(self, params: Array, task: LQRTask) -> Array:
        return self.with_key(jax.random.key(0))(params, task)

    def with_key(self, key: Array) -> Callable[[Array, LQRTask], Array]:
        """The cost with the initial state drawn by ``key``."""

        def sampled(params: Array, task: LQRTask) -> Array:
            x0 = self.mean + self.deviation * jax.random.normal(key, task.A.shape[:1], task.A.dtype)
            return cost(params, _from_state(task, x0))

        return sampled


def _from_state(task: LQRTask, x0: Array) -> LQRTask:
    return replace(task, Sigma0=jnp.outer(x0, x0))


def _plotted(task: LQRTask) -> LQRTask:
    """The task with the fixed initial state whose cost the paper plots."""
    return _from_state(task, jnp.array(PLOTTED_STATE, task.A.dtype))


def plotted_cost(params: Array, task: LQRTask) -> dict[str, Array]:
    """The cost that the paper plots."""
    return {"cost": cost(params, _plotted(task))}


def nominal_cost(params: Array, task: LQRTask) -> dict[str, Array]:
    """The cost that the paper plots, of the nominal task, whatever ``task`` is."""
    return plotted_cost(params, boeing())


def _runs(tree, num_curves: int, num_seeds: int):
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(num_curves, num_seeds, *leaf.shape[1:]), tree)


def run(
    key: Array,
    drawn: dict[float, LQRTask],
    optima: Future[dict[float, Optima]],
    long_steps: int,
    progress: bool | None,
    units: Units,
) -> dict[str, dict[str, Curve]]:
    """Curves of the three panels, by panel and name, for tasks ``drawn`` by level; ``long_steps`` of the middle.

    The left panel has a second curve, for tasks drawn as printed.
    """
    train_key, adapt_key = jax.random.split(key)
    plan = (LEFT, *MIDDLE)
    num_seeds = drawn[LEFT[0]].A.shape[0]
    as_printed = draw_as_printed(jax.random.fold_in(key, 1), num_seeds, NUM_TASKS)
    stacks = [jax.tree.map(lambda leaf: leaf[:, :NUM_TASKS], drawn[level]) for level, _ in plan]
    tasks = jax.tree.map(lambda *leaves: np.concatenate(leaves), *stacks, as_printed)
    steps = np.repeat([*(step for _, step in plan), LEFT[1]], num_seeds)
    start = np.broadcast_to(boeing_initial_gain(), (len(steps), 2, 4))
    common = {
        "oracle": TRAINING_ORACLE,
        "objective": Maml(inner_step_size=steps, perturbations="shared"),
        "guard": None,
        "batched": True,
        "outer_step_size": steps,
    }
    output = Output(metrics=nominal_cost, progress=progress, every=100)
    loss = SampledStateCost()
    first_key, second_key = jax.random.split(train_key)

    # In two legs, because the gain after the first is where the adaptation of the right panel starts.
    def leg(name: str, begin: Any, **options: Any) -> TrainingResult:
        return units.train(f"released, {name}", partial(meta_train, loss, begin, tasks, **options, **common), output)

    first = leg("first leg", start, num_steps=META_STEPS, key=first_key)
    second = leg("second leg", first.params, num_steps=long_steps - META_STEPS, key=second_key)
    costs = np.concatenate([first.history["cost"][..., 0], second.history["cost"][:, 1:, 0]], axis=1)
    # The nominal task, which is one of those that were trained on, and one that is new.
    both = [0, NUM_TASKS]
    unseen = jax.tree.map(lambda leaf: leaf[:, both], drawn[LEFT[0]])
    values = optima.result()[LEFT[0]].values[:, both]
    optimal = np.einsum("i,stij,j->st", PLOTTED_STATE, values, PLOTTED_STATE)
    gaps = _runs(costs - optimal[0, 0], len(plan) + 1, num_seeds)
    left = _curve(gaps[0][:, : META_STEPS + 1], LEFT, f"MAML, model-free, level {LEFT[0]:g}")
    printed = _curve(gaps[-1][:, : META_STEPS + 1], (PRINTED_LEVELS, LEFT[1]), "the same, tasks as printed (0.001)")
    middle = {
        f"level_{level:g}": _curve(rows, (level, step), f"level {level:g}, step {step:g}")
        for (level, step), rows in zip(MIDDLE, gaps[1:-1], strict=True)
    }
    learned = _runs(first.params, len(plan) + 1, num_seeds)[0]
    right = _adaptation(adapt_key, learned, left.diverged, unseen, optimal, progress, units)
    return {"left": {"maml": left, "printed": printed}, "middle": middle, "right": right}


def _curve(gaps: np.ndarray, choice: tuple[float | tuple[float, ...], float], label: str) -> Curve:
    level, step = choice
    settings = {"level": level, "inner_step_size": step, "outer_step_size": step, "num_tasks": NUM_TASKS}
    return Curve(gaps=gaps, label=label, diverged=diverged_from(gaps), settings=settings)


def _adaptation(
    key: Array,
    learned: np.ndarray,
    lost: np.ndarray,
    unseen: LQRTask,
    optimal: np.ndarray,
    progress: bool | None,
    units: Units,
) -> dict[str, Curve]:
    """Adaptation to two tasks for each seed [seeds, 2, ...]; the gap is the mean over both."""
    num_seeds = len(learned)
    unseen = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), unseen)
    # A run that diverged has no gain to start from; it takes part with K0 and is counted as diverged afterwards.
    learned = np.where(lost[:, None, None], boeing_initial_gain(), learned)
    early_key, random_key, meta_key = jax.random.split(key, 3)

    def descend(name: str, start, num_steps: int, step_size: float, oracle: ZerothOrderOracle, run_key: Array):
        # Step size and radius are data: the three calls below share one compiled program.
        run = partial(
            policy_gradient,
            SampledStateCost(),
            start,
            unseen,
            num_steps=num_steps,
            step_size=step_size,
            oracle=oracle,
            key=run_key,
            batched=True,
            guard=None,
        )
        output = Output(metrics=plotted_cost, progress=progress, every=100)
        return units.train(f"released, {name}", run, output)

    initial = np.broadcast_to(boeing_initial_gain(), (2 * num_seeds, 2, 4))
    early = descend("before adaptation", initial, META_STEPS, LEFT[1], START_ORACLE, early_key)
    from_random = descend(
        "random start", early.params, ADAPTATION_STEPS, RANDOM_START_STEP, ADAPTATION_ORACLE, random_key
    )
    twice = np.repeat(learned, 2, axis=0)
    from_learned = descend("meta-learned start", twice, ADAPTATION_STEPS, META_START_STEP, ADAPTATION_ORACLE, meta_key)
    costs = np.stack([run.history["cost"] for run in (from_random, from_learned)]).reshape(2, num_seeds, 2, -1)
    gaps = (costs - optimal[None, :, :, None]).mean(axis=2)
    return {
        name: Curve(
            gaps=rows,
            label=f"{label}, step {step:g}",
            diverged=diverged_from(rows) | (lost & (name == "meta_start")),
            settings={"step_size": step, "radius": ADAPTATION_ORACLE.radius, "num_samples": 50},
        )
        for name, label, step, rows in (
            ("random_start", "from K0", RANDOM_START_STEP, gaps[0]),
            ("meta_start", "meta-learned", META_START_STEP, gaps[1]),
        )
    }


def settings() -> dict[str, Any]:
    """Settings common to the three panels."""
    return {
        "system": "boeing, released variant",
        "num_tasks": NUM_TASKS,
        "oracle": {"num_samples": 20, "radius": 1e-2, "hessian": "printed", "perturbations": "shared"},
        "initial_state": "entries N(0.5, 1e-3^2), one draw for all queries of an estimate",
        "plotted_gap": f"nominal task from x0 = {PLOTTED_STATE}",
        "safeguard": False,
        "random_start": f"policy gradient from K0 on the unseen task, {META_STEPS} iterations at {LEFT[1]:g}, "
        f"{START_ORACLE.num_samples} samples of radius {START_ORACLE.radius:g}",
    }
