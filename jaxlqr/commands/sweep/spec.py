"""The specification of a sweep: a TOML file becomes a list of runs, all checked before the first starts."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.commands.sweep.plants import load_plants
from jaxlqr.commands.train import TrainSettings, check_memory, default_steps
from jaxlqr.core.limits import MOST_SEED, check_seed, check_tasks, shown
from jaxlqr.families.files import check_known, parse_masks, parse_tasks
from jaxlqr.families.text_files import read_toml
from jaxlqr.lqr import LQRTask, optimal_gain
from jaxlqr.lqr.stabilize import average_task, check_stabilizes_all

#: Axes along which runs share one compiled program; each value of another setting needs a separate program.
TRACED = ("level", "task_seed", "seed", "inner_step", "outer_step", "radius")
_OF_TASKS = ("level", "task_seed")
_OF_ONE_RUN = ("max_queries", "checkpoint_every", "resume")  # runs of a batch end together
_OF_TRAINING = tuple(field.name for field in fields(TrainSettings) if field.name not in _OF_ONE_RUN)
AXES = (*_OF_TASKS, *_OF_TRAINING)
MOST_RUNS = 1_000_000
_MOST_TASKS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """A checked sweep.

    Attributes:
        nominal: the system around which each run draws its tasks; of plants, their average.
        plants: the tasks of every run, where they come from files; else None.
        K0: initial gain [m, n] of every run.
        num_tasks, include_nominal, masks: of :func:`jaxlqr.families.perturb`.
        settings: common to all runs.
        axes: names of the settings that differ.
        runs: the values along ``axes``, one tuple for each run.
        batch: runs trained side by side.
    """

    nominal: LQRTask
    plants: LQRTask | None
    K0: Array
    num_tasks: int
    include_nominal: bool
    masks: list[Array] | None
    settings: TrainSettings
    task_settings: dict[str, Any]
    axes: tuple[str, ...]
    runs: list[tuple[Any, ...]]
    batch: int

    def values(self, run: int) -> dict[str, Any]:
        """Level, seed of the tasks, and settings that differ, of one run."""
        return self.task_settings | dict(zip(self.axes, self.runs[run], strict=True))

    def training(self, run: int) -> TrainSettings:
        """Settings of the training of one run."""
        return _training(self.settings, self.values(run))

    def batches(self) -> list[list[int]]:
        """Runs that are trained side by side: neighbours that share a compiled program, ``batch`` at most."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        static = [number for number, name in enumerate(self.axes) if name not in TRACED]
        for run, values in enumerate(self.runs):
            groups.setdefault(tuple(values[number] for number in static), []).append(run)
        return [group[i : i + self.batch] for group in groups.values() for i in range(0, len(group), self.batch)]


def load_spec(path: str | Path) -> SweepSpec:
    """Read and check a sweep; see :func:`parse_spec`. Errors name the file."""
    document = read_toml(path, "sweep file")
    try:
        return parse_spec(document, folder=Path(path).parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_spec(document: Mapping[str, Any], *, folder: Path = Path()) -> SweepSpec:
    """Build the sweep that a TOML document describes, given as a dictionary.

    ``[nominal]``, ``[perturbation]``, ``[initial]``
        as in a tasks file (:func:`jaxlqr.families.files.parse_tasks`); ``level`` and ``seed`` of the perturbation may
        be left to the axes ``level`` and ``task_seed``. Without ``K0`` runs start at the nominal system's optimum.
    ``[tasks]``
        instead of the first two: ``files``, a name, a pattern or a list of them, relative to the sweep file, and
        optionally ``dt``, as for :func:`jaxlqr.families.files.load_tasks`. Every run trains on all of these plants,
        from their ``K0`` or else the optimum of their average.
    ``[settings]``
        what all runs share, under the names of :class:`jaxlqr.commands.train.TrainSettings`.
    ``[grid]``
        lists of values, of which every combination is run; names are those settings, ``level`` and ``task_seed``.
    ``[random]``
        instead of the grid: ``num_runs``, ``seed`` and a table ``ranges`` with ``low``, ``high`` and optionally
        ``scale = "log"`` for each name; seeds are drawn as integers.
    ``batch``
        runs trained side by side; unless given, as many as have 4096 tasks together.

    >>> spec = parse_spec(
    ...     {
    ...         "nominal": {"family": "boeing"},
    ...         "perturbation": {"num_tasks": 4},
    ...         "grid": {"level": [0.001, 0.01], "seed": [0, 1, 2]},
    ...     }
    ... )
    >>> len(spec.runs), spec.values(4)
    (6, {'level': 0.01, 'task_seed': 0, 'seed': 1})
    """
    tables = ("nominal", "perturbation", "tasks", "initial", "settings", "grid", "random")
    check_known(document, (*tables, "batch"), "the file")
    for name in tables:
        if not isinstance(document.get(name, {}), dict):
            raise ValueError(f"{name} must be a table, written [{name}], got {document[name]!r}.")
    axes, runs = _runs(document)
    shared = dict(document.get("settings", {}))
    check_known(shared, _OF_TRAINING, "[settings]")
    for name in axes:
        if name in shared:
            raise ValueError(f"{name} is an axis and in [settings]; give it once.")
    plants = load_plants(document, axes, folder)
    perturbation = dict(document.get("perturbation", {}))
    task_settings: dict[str, Any] = {}
    if plants is None:
        task_settings = {"level": perturbation.pop("level", 0.0), "task_seed": perturbation.pop("seed", 0)}
    for name, key in (("level", "level"), ("task_seed", "seed")):
        if name in axes and key in document.get("perturbation", {}):
            raise ValueError(f"{key} of [perturbation] is also the axis {name}; give it once.")
    perturbation.setdefault("num_tasks", 1)
    system = {name: document[name] for name in ("nominal", "initial") if name in document}
    alone = parse_tasks(system) if plants is None else plants
    nominal = average_task(alone.tasks)  # one task without plants
    K0 = optimal_gain(nominal) if alone.K0 is None else alone.K0
    check_stabilizes_all(K0, alone.tasks, name="K0")
    masks = parse_masks(nominal, perturbation["masks"]) if "masks" in perturbation else None
    settings = _with_steps(_training(TrainSettings(), shared), axes, K0, alone.tasks)
    count = perturbation["num_tasks"] if plants is None else len(plants.tasks.A)
    spec = SweepSpec(
        nominal=nominal,
        plants=None if plants is None else plants.tasks,
        K0=K0,
        num_tasks=count,
        include_nominal=perturbation.get("include_nominal", True),
        masks=masks,
        settings=settings,
        task_settings=task_settings,
        axes=axes,
        runs=runs,
        batch=1,
    )
    if plants is None:
        first = {"level": spec.values(0)["level"], "seed": spec.values(0)["task_seed"]}
        parse_tasks(system | {"perturbation": perturbation | first})  # what is wrong with it is said there
    _check_runs(spec)
    batch = document.get("batch", max(1, _MOST_TASKS_AT_ONCE // count))
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise ValueError(f"batch must be a positive integer, the runs trained side by side, got {batch!r}.")
    spec = replace(spec, batch=min(batch, len(runs)))
    _check_batch(spec)
    return spec


def _check_batch(spec: SweepSpec) -> None:
    """Check the memory that the largest batch takes: its runs are trained side by side."""
    num_states, num_inputs = spec.nominal.B.shape
    check_tasks(spec.batch * spec.num_tasks, num_states, num_inputs, "the tasks of a batch")
    for runs in spec.batches():  # whose runs share the number of steps and of samples
        check_memory(spec.training(runs[0]), (spec.num_tasks, num_states, num_inputs), spec.batch)


def _training(settings: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    chosen = {name: value for name, value in values.items() if name in _OF_TRAINING}
    for name, value in chosen.items():
        _check_type(name, value)
    return replace(settings, **chosen)


def _check_type(name: str, value: Any) -> None:
    default = {"inner_step": 0.1, "outer_step": 0.1, "level": 0.1, "task_seed": 0, "minibatch": 1}.get(
        name, getattr(_DEFAULTS, name, 0)
    )
    kinds = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise ValueError(f"{name} must be of type {type(default).__name__}, like {default!r}, got {value!r}.")


_DEFAULTS = TrainSettings()


def _check_runs(spec: SweepSpec) -> None:
    for run in range(len(spec.runs)):
        values = spec.values(run)
        spec.training(run)
        if spec.plants is not None:
            continue
        if not 0 <= values["task_seed"] <= MOST_SEED:
            raise ValueError(f"task_seed must lie between 0 and 2^32 - 1, got {shown(values['task_seed'])}.")
        if not (np.all(np.asarray(values["level"]) >= 0) and np.all(np.isfinite(values["level"]))):
            raise ValueError(f"level must be finite and not negative, got {values['level']}.")


def _with_steps(settings: TrainSettings, axes: tuple[str, ...], K0: Array, tasks: LQRTask) -> TrainSettings:
    """The settings with both step sizes: those that are neither given nor an axis are chosen for the nominal system."""
    if all(name in axes or getattr(settings, name) is not None for name in ("inner_step", "outer_step")):
        return settings
    inner, outer = default_steps(jnp.asarray(K0), tasks, settings)
    return replace(settings, inner_step=inner, outer_step=outer)


def _runs(document: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    if ("grid" in document) == ("random" in document):
        raise ValueError("the file must have one of the tables [grid] and [random], with the settings that differ.")
    return _grid(document["grid"]) if "grid" in document else _random(document["random"])


def _grid(table: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    check_known(table, AXES, "[grid]")
    for name, values in table.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name} in [grid] must be a list of values, got {values!r}.")
        for value in values:
            _check_type(name, value)
        if len(set(values)) < len(values):
            raise ValueError(f"{name} in [grid] must not repeat a value, got {values!r}.")
    if not table:
        raise ValueError("[grid] must name at least one axis, such as level = [0.001, 0.01].")
    count = math.prod(len(values) for values in table.values())
    if count > MOST_RUNS:
        raise ValueError(f"[grid] has {count} combinations, more than {MOST_RUNS}; use [random].")
    return tuple(table), list(itertools.product(*table.values()))


def _random(table: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    check_known(table, ("num_runs", "seed", "ranges"), "[random]")
    count, ranges = table.get("num_runs"), table.get("ranges")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_RUNS:
        raise ValueError(f"num_runs in [random] must be an integer from 1 to {MOST_RUNS}, got {count!r}.")
    if not isinstance(ranges, dict) or not ranges:
        raise ValueError("[random] must have a table [random.ranges] with low and high for each axis.")
    numeric = tuple(name for name in AXES if name in TRACED)
    check_known(ranges, numeric, "[random.ranges]")
    seed = table.get("seed", 0)
    _check_type("task_seed", seed)
    check_seed(seed)
    # An entropy for each axis: adding one does not change the draws of the others.
    columns = [_drawn(np.random.default_rng([seed, AXES.index(name)]), name, ranges[name], count) for name in ranges]
    return tuple(ranges), list(zip(*columns, strict=True))


def _drawn(generator: np.random.Generator, name: str, table: Any, count: int) -> list[Any]:
    where = f"{name} in [random.ranges]"
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table like {{ low = 1, high = 2 }}, got {table!r}.")
    check_known(table, ("low", "high", "scale"), where)
    scale = table.get("scale")
    for key in ("low", "high"):
        _check_type(name, table.get(key))
    low, high = float(table["low"]), float(table["high"])
    if not math.isfinite(high - low):
        raise ValueError(f"low and high must be finite, and so must be their difference, for {where}.")
    if scale not in (None, "linear", "log"):
        raise ValueError(f'scale of {where} must be "linear" or "log", got {scale!r}.')
    if not (low < high and (scale != "log" or low > 0)):
        raise ValueError(f"low must be below high{' and positive' if scale == 'log' else ''} for {where}.")
    if name in ("seed", "task_seed"):
        return generator.integers(int(low), int(high), size=count, endpoint=True).tolist()
    if scale == "log":
        return np.exp(generator.uniform(np.log(low), np.log(high), size=count)).tolist()
    return generator.uniform(low, high, size=count).tolist()
