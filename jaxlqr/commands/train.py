"""Meta-training on a user's own systems: what ``jaxlqr train`` runs."""

import math
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.commands.settings import TrainSettings as TrainSettings
from jaxlqr.core.limits import check_history, check_samples
from jaxlqr.core.status import SolveStatus
from jaxlqr.families.files import load_gain
from jaxlqr.families.several_files import find_files, load_several
from jaxlqr.io.output import OutputFolder
from jaxlqr.io.workspace import check_workspace
from jaxlqr.lqr import LQRTask, cost
from jaxlqr.lqr.stabilize import average_task_gain, check_stabilizes_all
from jaxlqr.meta import Maml, maml_loss
from jaxlqr.oracles import ExactOracle, ZerothOrderOracle
from jaxlqr.training import Checkpoints, Guard, Limits, Output, TrainingResult, meta_train
from jaxlqr.training.automatic import automatic_steps
from jaxlqr.training.checkpoint import KIND, holds_checkpoints

if TYPE_CHECKING:
    import optax

    from jaxlqr.oracles import Oracle

RESULT_FILES = ("gain.npz", "history.npz", "training.png", "summary.json")
CHECKPOINTS = "checkpoints"
ADAM_STEP = 1e-3  # default step of Adam, which moves each entry of the gain by about this much a step


def check_memory(settings: TrainSettings, B_shape: tuple[int, ...], num_runs: int = 1) -> None:
    """Check that the run fits in memory, for tasks with B of shape [M, n, m].

    Raises:
        ValueError: naming the setting, its limit and a remedy.
    """
    num_tasks, num_states, num_inputs = B_shape
    check_history(settings.steps, num_runs, num_tasks)
    if settings.oracle == "zeroth-order":
        check_samples(settings.samples, num_runs * num_tasks, num_states, num_inputs)


class TrainStart(NamedTuple):
    """Where training starts: the tasks, the gain K0 [m, n], and where that came from."""

    tasks: LQRTask
    K0: Array
    source: str


def load_start(
    tasks_file: str | Path | Sequence[str | Path], gain_file: str | Path | None = None, *, dt: float | None = None
) -> TrainStart:
    """Tasks and an initial gain that stabilises them all: from ``gain_file``, else from the tasks file, else the
    optimum of the average task. ``dt`` is the sampling time of systems in continuous time.

    Raises ``ValueError`` listing the tasks, with their spectral radii, that the initial gain does not stabilise.
    """
    tasks, K0 = load_several(tasks_file, dt=dt)
    source = "tasks file"
    if gain_file is not None:
        K0, source = load_gain(gain_file), "gain file"
    name = "K0"
    hint = "" if dt is not None else _hint_at_continuous_time(tasks)
    if K0 is None:
        K0, source = average_task_gain(tasks), "optimum of the average task"
        if not bool(jnp.all(jnp.isfinite(K0))):
            raise ValueError(
                f"no K0 is given and the average task has no stabilising optimum to start from; give a K0{hint}."
            )
        name = "the optimum of the average task, taken because no K0 is given,"
    check_stabilizes_all(K0, tasks, name=name, hint_if_none=hint)
    return TrainStart(tasks, K0, source)


def _hint_at_continuous_time(tasks: LQRTask) -> str:
    """A remedy for the end of a message, where some eigenvalue of every A lies left of -1, far from discrete time."""
    leftmost = np.linalg.eigvals(np.asarray(tasks.A)).real.min(axis=1)
    if not np.all(leftmost < -1):
        return ""
    return (
        "; if the systems are in continuous time, as an eigenvalue of every A suggests whose real part is below -1, "
        f"here {leftmost.min():.3g}, give the sampling time dt (--dt)"
    )


def default_steps(K0: Array, tasks: LQRTask, settings: TrainSettings) -> tuple[float, float]:
    """Inner and outer step size from the settings; by default :func:`automatic_steps` computes them.

    Adam, whose steps have the unit of the gain, takes 1e-3 outside.
    """
    inner, outer = settings.inner_step, settings.outer_step
    if outer is None and settings.optimizer == "adam":
        outer = ADAM_STEP
    if inner is not None and outer is not None:
        return inner, outer
    steps = automatic_steps(cost, K0, tasks, oracle=make_oracle(settings))
    return inner or float(steps.inner), outer or float(steps.outer)


def train(
    tasks_file: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: TrainSettings | None = None,
    *,
    gain_file: str | Path | None = None,
    dt: float | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Meta-train one gain for the tasks of a file and write it, the history, a figure and a summary to ``out``.

    Arguments:
        tasks_file: one file or several, see :func:`jaxlqr.families.files.load_tasks` and
            :func:`jaxlqr.families.several_files.find_files`.
        out: output folder; files of earlier runs are replaced, and only by a run that succeeds.
        settings: see :class:`TrainSettings`.
        gain_file: initial gain; by default the gain of the tasks file, or the optimum of the average task.
        dt: sampling time, where the file holds systems in continuous time.
        progress: show a progress bar; None shows it in a terminal.

    Returns:
        The content of ``summary.json``: settings, step sizes, status and number of steps; first and last values of the
        objective, of the mean, worst and median cost over tasks, of the median gap and of the largest spectral radius;
        cost queries, wall time, versions.
    """
    began = time.perf_counter()
    settings = settings or TrainSettings()
    tasks_files = find_files(tasks_file)
    folder = OutputFolder(out, RESULT_FILES, inputs=(*tasks_files, gain_file))
    checkpoints = _checkpoints(folder.path / CHECKPOINTS, settings)
    tasks, K0, gain_source = load_start(tasks_files, gain_file, dt=dt)
    check_memory(settings, tasks.B.shape)
    inner, outer = default_steps(K0, tasks, settings)
    result = meta_train(
        cost,
        K0,
        tasks,
        num_steps=settings.steps,
        objective=Maml(inner_step_size=inner, num_inner_steps=settings.inner_steps, first_order=settings.first_order),
        oracle=make_oracle(settings),
        key=jax.random.key(settings.seed),
        guard=Guard() if settings.safeguard else None,
        limits=Limits(minibatch_size=settings.minibatch, max_queries=settings.max_queries),
        output=Output(progress=progress, checkpoints=checkpoints),
        **outer_rule(settings, outer),
    )
    summary = _summary(tasks, result) | _objective(K0, tasks, result, inner, settings.inner_steps)
    summary = {
        "command": "train",
        "tasks_files": [str(path) for path in tasks_files],
        "dt": dt,
        "settings": {**asdict(settings), "inner_step": inner, "outer_step": outer},
        "steps_chosen_automatically": [
            name for name in ("inner_step", "outer_step") if getattr(settings, name) is None
        ],
        "initial_gain": gain_source,
        **summary,
        "wall_seconds": round(time.perf_counter() - began, 3),
        "versions": _versions(),
    }
    from jaxlqr.plots import plot_training  # matplotlib is slow to import, and not needed before

    with folder:
        folder.write_arrays("gain.npz", {"K": result.params, "K0": K0})
        folder.write_arrays("history.npz", result.history)
        folder.write_figure("training.png", plot_training(result))
        folder.write_json("summary.json", summary)
    checkpoints.clear()  # only now: the results are on the disk
    return summary


def _checkpoints(folder: Path, settings: TrainSettings) -> Checkpoints:
    check_workspace(folder, KIND)
    if holds_checkpoints(folder):
        if settings.checkpoint_every is None and not settings.resume:
            raise ValueError(f"{folder} holds checkpoints of a run that was stopped; resume it, or remove that folder.")
    elif settings.resume and settings.checkpoint_every is None:
        # With both options it begins: a job that the cluster may start again has one command line.
        raise ValueError(f"resume needs a checkpoint in {folder}, got none; leave out resume to start a new run.")
    return Checkpoints(folder=folder, every=settings.checkpoint_every, resume=settings.resume)


def make_oracle(settings: TrainSettings, *, radius: Any = None) -> "Oracle":
    """The oracle of the settings; ``radius`` gives each run of a batch a different one."""
    if settings.oracle == "exact":
        return ExactOracle()
    return ZerothOrderOracle(num_samples=settings.samples, radius=settings.radius if radius is None else radius)


def outer_rule(settings: TrainSettings, outer: Any) -> dict[str, Any]:
    """The outer update of the settings as arguments of :func:`jaxlqr.meta_train`."""
    return {"outer_step_size": outer, **({"optimizer": unit_adam()} if settings.optimizer == "adam" else {})}


@lru_cache(maxsize=1)
def unit_adam() -> "optax.GradientTransformation":
    """Adam with a step size of one, always the same object: times a traced step size it is compiled once."""
    import optax

    return optax.adam(1.0)


def _summary(tasks: LQRTask, result: TrainingResult) -> dict[str, Any]:
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    num_tasks, num_states, num_inputs = tasks.B.shape
    status = SolveStatus(int(result.status))
    ends = {"first": 0, "last": -1}
    return {
        "num_tasks": num_tasks,
        "num_states": num_states,
        "num_inputs": num_inputs,
        "status": status.name,
        "advice": status.advice or None,
        "steps_taken": len(history["gradient_norm"]) - 1,
        "cost_mean": {end: float(np.mean(_pessimistic(history["cost"][i]))) for end, i in ends.items()},
        "cost_worst": {end: float(np.max(_pessimistic(history["cost"][i]))) for end, i in ends.items()},
        **{f"{name}_median": {end: _median(history[name][i]) for end, i in ends.items()} for name in ("cost", "gap")},
        "gradient_norm": {end: float(history["gradient_norm"][i]) for end, i in ends.items()},
        "spectral_radius_max": {end: float(np.max(history["spectral_radius"][i])) for end, i in ends.items()},
        "queries": int(np.sum(history["queries"], dtype=np.int64)),
        "failed_queries": int(np.sum(history["failed_queries"])),
        "outer_steps_shortened": int(np.sum(history["accepted_step"][1:] < 1)),
        "inner_steps_shortened": int(np.sum(history["inner_fraction"] < 1)),
    }


def _objective(K0: Array, tasks: LQRTask, result: TrainingResult, inner: float, inner_steps: int) -> dict[str, Any]:
    """The objective of training, the mean cost after adaptation, at both ends of the run."""
    value = jax.jit(lambda gain: maml_loss(cost, gain, tasks, inner_step_size=inner, num_inner_steps=inner_steps))
    ends = {"first": float(value(K0)), "last": float(value(result.params))}
    return {"objective": {end: math.inf if math.isnan(number) else number for end, number in ends.items()}}


def _median(values: np.ndarray) -> float:
    return float(np.median(_pessimistic(values)))


def _pessimistic(values: np.ndarray) -> np.ndarray:
    # A task that diverged counts as infinitely bad: the mean and median of the others would flatter the run.
    return np.where(np.isnan(values), np.inf, values)


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("jaxlqr", "jax", "jaxlib", "numpy", "optax")}
    return {**packages, "python": platform.python_version()}
