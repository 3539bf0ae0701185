"""One descent loop for every learner: guarded optax steps in compiled chunks, with a history and a progress bar.

The loop knows a direction to descend along and a test of feasibility; it does not know where they come from. It looks
one step ahead: a candidate is accepted when it is feasible and its own direction, the one the next iteration needs
anyway, is finite. So a safeguarded iteration costs no more than an unguarded one unless it has to backtrack.
"""

import enum
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.meta.layout import RUN_AXIS
from jaxlqr.oracles.protocol import PyTree, all_finite
from jaxlqr.status import check_lanes
from jaxlqr.tables import Variable, to_pandas, to_xarray
from jaxlqr.training.checkpoint import Keeper
from jaxlqr.training.interrupt import stop_requests
from jaxlqr.training.sharding import to_host

if TYPE_CHECKING:
    import optax
    import pandas
    import xarray


class Status(enum.IntEnum):
    """How a run ended, one code per run.

    Attributes:
        COMPLETED: all steps were taken.
        STALLED: the last step was refused, since no fraction of it that was tried was feasible.
        DIVERGED: without a safeguard, an iterate was infeasible or not finite.
    """

    COMPLETED = 0
    STALLED = 1
    DIVERGED = 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Outcome of a training run.

    Attributes:
        params: last iterate.
        history: arrays whose row n describes iterate n, rows 0 to num_steps: ``gradient_norm``; ``accepted_step`` (the
            fraction of the proposed step that led to this iterate, NaN in row 0); ``inner_fraction`` (the smallest
            fraction of an adaptation step that was taken); ``failed_queries`` (cost queries that were not finite);
            ``feasible``; ``loss`` and the task's own metrics (for LQR ``cost``, ``gap``, ``spectral_radius``), these
            with one column per task.
        status: :class:`Status` code.

    For batched runs every array has a leading axis of runs.
    """

    params: PyTree
    history: dict[str, Array]
    status: Array

    def check(self) -> "TrainingResult":
        """Raise ``RuntimeError`` with likely causes and remedies unless every run completed; return self."""
        check_lanes(self.status, _ADVICE, "runs")
        return self

    def to_pandas(self) -> "pandas.DataFrame":
        """The history as a table: a row for each ``step`` (and ``run``, and ``task``), a column for each entry.

        What has no task axis is repeated over the tasks; ``status`` is the name of the run's. Raises ``ValueError``
        where pandas is not installed.

        >>> result = TrainingResult(params=0.0, history={"loss": jnp.ones((3, 2))}, status=jnp.asarray(0))
        >>> result.to_pandas().index.names, len(result.to_pandas())
        (FrozenList(['step', 'task']), 6)
        """
        return to_pandas(self._variables(), ("run", "step", "task"))

    def to_xarray(self) -> "xarray.Dataset":
        """The history with the axes ``run``, ``step`` and ``task``, and the last parameters, as a data set.

        A single array of parameters is ``params`` with axes ``params_0``, ...; of a tree of them each leaf is named by
        its path. Raises ``ValueError`` where xarray is not installed.

        >>> result = TrainingResult(params=jnp.ones((1, 2)), history={"loss": jnp.ones(3)}, status=jnp.asarray(0))
        >>> dict(result.to_xarray().sizes)
        {'step': 3, 'params_0': 1, 'params_1': 2}
        """
        lead, variables = ("run",) * np.ndim(self.status), self._variables()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            name, values = "params" + jax.tree_util.keystr(path), to_host(leaf)
            own = tuple(f"{name}_{number}" for number in range(values.ndim - len(lead)))
            variables[name] = Variable((*lead, *own), values)
        return to_xarray(variables)

    def _variables(self) -> dict[str, Variable]:
        codes = np.asarray(to_host(self.status))
        lead = ("run",) * codes.ndim
        names = np.array([Status(int(code)).name for code in codes.ravel()]).reshape(codes.shape)
        variables = {}
        for name, rows in self.history.items():
            values = to_host(rows)
            further = tuple(f"{name}_{number}" for number in range(values.ndim - len(lead) - 2))
            variables[name] = Variable((*lead, "step", "task", *further)[: values.ndim], values)
        return variables | {"status": Variable(lead, names)}


_ADVICE = {
    Status.STALLED: (
        "every fraction of the step that was tried left the feasible set. The policy is at its boundary, or the "
        "adaptation step leaves it: reduce inner_step_size, or, with a zeroth-order oracle, the radius."
    ),
    Status.DIVERGED: (
        "an iterate was infeasible or not finite. Reduce the step sizes, or leave the safeguard on (safeguard=True)."
    ),
}


class Check(NamedTuple):
    """What a cheap look at an iterate tells: whether it is feasible, and what to record."""

    feasible: Array
    record: dict[str, Array]


class Direction(NamedTuple):
    """What the costly look tells: where to descend from an iterate, and what to record."""

    direction: PyTree
    record: dict[str, Array]
    scale: Array  # factor on the update along it, a scalar


class Problem(Protocol):
    """What is minimised; hashable, so that a compiled loop is found again. ``data`` holds all arrays."""

    def check(self, data: PyTree, params: PyTree, step: Array) -> Check:
        """Look whether iterate number ``step`` is feasible."""
        ...

    def direct(self, data: PyTree, params: PyTree, step: Array) -> Direction:
        """Find the direction at iterate number ``step``."""
        ...

    # Python sets it to None where a class defines equality only.
    __hash__: Callable[[], int]  # type: ignore[assignment]


class Settings(NamedTuple):
    """Static choices of the loop."""

    problem: Problem
    optimizer: "optax.GradientTransformation"
    safeguard: bool
    max_backtracks: int
    sharded: bool = False  # whether the data lie on a mesh


class _State(NamedTuple):
    params: PyTree
    opt_state: PyTree
    direction: PyTree
    scale: Array
    status: Array


def _norm(tree: PyTree) -> Array:
    return jnp.sqrt(sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


class _Candidate(NamedTuple):
    fraction: Array  # of the proposed step
    params: PyTree
    check: Check


class _Found(NamedTuple):
    candidate: _Candidate
    ahead: Direction  # the direction at the candidate, which the next step needs
    acceptable: Array


def _blank(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _search(settings: Settings, data: PyTree, params: PyTree, updates: PyTree, step: Array) -> _Found:
    """Largest fraction 1, 1/2, 1/4, ... of the updates that is acceptable; after the last trial, none of them.

    The direction is asked for at feasible candidates only: it costs some eighty times the check, and at an infeasible
    candidate it would in vain shorten its own inner steps.
    """

    @jax.jit  # traced once, though it is called for its shapes and for its values
    def propose(fraction: Array) -> _Candidate:
        # where, not a product: updates that are not finite must vanish with the fraction.
        moved = jax.tree.map(lambda p, u: jnp.where(fraction > 0, p + fraction * u, p), params, updates)
        return _Candidate(fraction, moved, settings.problem.check(data, moved, step))

    @jax.jit
    def look(candidate: _Candidate) -> _Found:
        ahead = settings.problem.direct(data, candidate.params, step)
        return _Found(candidate, ahead, candidate.check.feasible & all_finite(ahead.direction))

    one = jnp.asarray(1.0)
    if not settings.safeguard:
        return look(propose(one))

    def fraction_of(trial: Array) -> Array:
        return jnp.where(trial < settings.max_backtracks, 0.5**trial, 0.0).astype(one.dtype)

    def next_feasible(carry):
        _, trial = carry
        return propose(fraction_of(trial)), trial + 1

    def infeasible(carry):
        candidate, _ = carry
        return ~candidate.check.feasible & (candidate.fraction > 0)

    def unfinished(carry):
        found, _ = carry
        return ~found.acceptable & (found.candidate.fraction > 0)

    def attempt(carry):
        _, trial = carry
        candidate, trial = lax.while_loop(infeasible, next_feasible, (nothing, trial))
        return look(candidate), trial

    # Blank candidates start both loops, so that check and direction are compiled once each.
    nothing = _blank(jax.eval_shape(propose, one))._replace(fraction=one)
    start = _blank(jax.eval_shape(look, nothing))._replace(candidate=nothing)
    return lax.while_loop(unfinished, attempt, (start, jnp.asarray(0)))[0]


def _advance(settings: Settings, data: PyTree, scale: Array, state: _State, step: Array):
    updates, opt_state = settings.optimizer.update(state.direction, state.opt_state, state.params)
    # Step 0 only looks at the first iterate: the same compiled code, without an update.
    updates = jax.tree.map(lambda u: jnp.where(step > 0, (scale * state.scale).astype(u.dtype) * u, 0), updates)
    opt_state = jax.tree.map(lambda new, old: jnp.where(step > 0, new, old), opt_state, state.opt_state)
    candidate, ahead, acceptable = _search(settings, data, state.params, updates, step)
    if settings.safeguard:
        status = jnp.where(candidate.fraction > 0, Status.COMPLETED, Status.STALLED).astype(jnp.int32)
        # A direction that is not finite would stay in the optimiser's memory: stand still until the next draw instead.
        finite = all_finite(ahead.direction)
        direction = jax.tree.map(lambda d: jnp.where(finite, d, 0), ahead.direction)
    else:
        status = jnp.where(acceptable, state.status, Status.DIVERGED).astype(jnp.int32)
        direction = ahead.direction
    norm = _norm(ahead.direction)
    row = {
        **candidate.check.record,
        **ahead.record,
        "feasible": candidate.check.feasible,
        "gradient_norm": norm,
        "accepted_step": candidate.fraction.astype(norm.dtype),
    }
    return _State(candidate.params, opt_state, direction, ahead.scale.astype(state.scale.dtype), status), row


@partial(jax.jit, static_argnames=("settings", "batched", "length"), donate_argnames=("state",))
def _chunk(settings: Settings, batched: bool, length: int, data, scale, state: _State, first: Array, last: Array):
    advance = partial(_advance, settings)
    if batched:
        # The name matters on a mesh only: there, runs stay on the devices that have their tasks.
        advance = jax.vmap(advance, in_axes=(0, 0, 0, None), spmd_axis_name=RUN_AXIS if settings.sharded else None)
    advance = jax.jit(advance)  # traced once, see below

    def step(state: _State, number: Array):
        # The length is static and the number of steps is not: what lies beyond the last step is passed over, so that no
        # remainder needs a second compilation. The step number is the same for all runs of a batch: a true branch.
        zeros = _blank(jax.eval_shape(advance, data, scale, state, number)[1])
        return lax.cond(number <= last, lambda s: advance(data, scale, s, number), lambda s: (s, zeros), state)

    return lax.scan(step, state, first + jnp.arange(length))


@partial(jax.jit, static_argnames=("optimizer", "batched"))
def _initial_state(optimizer: "optax.GradientTransformation", batched: bool, params: PyTree) -> _State:
    def one(params: PyTree) -> _State:
        direction = jax.tree.map(jnp.zeros_like, params)
        one = jnp.ones((), jnp.result_type(*jax.tree.leaves(params)))
        return _State(params, optimizer.init(params), direction, one, jnp.asarray(Status.COMPLETED, jnp.int32))

    return (jax.vmap(one) if batched else one)(params)


def run(
    settings: Settings,
    data: PyTree,
    params: PyTree,
    scale: Array,
    *,
    num_steps: int,
    batched: bool,
    chunk_size: int,
    progress: bool | None,
    reject: Callable[[dict[str, np.ndarray]], None] | None = None,
    keeper: Keeper | None = None,
    every: int | None = None,
) -> TrainingResult:
    """Take ``num_steps`` steps.

    Arguments:
        settings: static choices.
        data: pytree of arrays handed to ``settings.problem``.
        params: first iterate.
        scale: factor on the optimiser's updates.
        batched: whether ``data``, ``params`` and ``scale`` carry a leading axis of independent runs.
        chunk_size: steps between two updates of the progress bar.
        progress: show the bar; ``None`` shows it in a terminal or a notebook.
        reject: called with row 0 when the first step finds no acceptable iterate for some run, to raise an error.
        keeper: checkpoints to go on from and to add to when a signal asks the process to stop: then
            ``KeyboardInterrupt`` follows.
        every: steps after which the next end of a chunk adds one, too; the last step as well.
    """
    state = _initial_state(settings.optimizer, batched, params)
    axis = 1 if batched else 0
    chunks, begin = [], 0
    if keeper is not None and (saved := keeper.restore()) is not None:
        state = _restored(state, saved.leaves)
        chunks, begin = [saved.history], saved.step + 1
    kept = begin
    with _bar(num_steps, progress) as bar, ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests()) if keeper is not None else None
        bar.update(max(begin - 1, 0))
        for first in range(begin, num_steps + 1, chunk_size):
            taken = min(chunk_size, num_steps + 1 - first)
            state, chunk = _chunk(settings, batched, chunk_size, data, scale, state, first, num_steps)
            # To the host, which also waits for the chunk. Scan stacks steps in front; runs go first.
            chunks.append({name: np.moveaxis(to_host(leaf)[:taken], 0, axis) for name, leaf in chunk.items()})
            if first == 0 and reject is not None:
                start = {name: rows.take(0, axis) for name, rows in chunks[0].items()}
                if not np.all(start["accepted_step"] > 0):
                    reject(start)
            bar.update(taken if first else taken - 1)
            if keeper is None or stop_requested is None:
                continue
            last, stopping = first + taken - 1, stop_requested()
            due = every is not None and (last == num_steps or (last + 1) // every > kept // every)
            if due or (stopping and last < num_steps):
                chunks, kept = [_joined(chunks, axis)], last + 1
                keeper.save(last, jax.tree.leaves(state), chunks[0])
            if stopping and last < num_steps:
                raise KeyboardInterrupt(f"stopped after step {last} of {num_steps}, of which a checkpoint is kept.")
    history = _joined(chunks, axis)
    history["accepted_step"][(slice(None),) * axis + (0,)] = np.nan
    # Not jnp.asarray, which compiles a program for each new shape.
    return TrainingResult(params=state.params, history=jax.device_put(history), status=state.status)


def _joined(chunks: list[dict[str, np.ndarray]], axis: int) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks], axis=axis) for name in chunks[0]}


def _restored(state: _State, leaves: list[np.ndarray]) -> _State:
    """A state of saved leaves, each where its like lies in ``state``."""
    placed = [jax.device_put(new, old.sharding) for new, old in zip(leaves, jax.tree.leaves(state), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(state), placed)


def _bar(total: int, progress: bool | None):
    from tqdm.auto import tqdm

    shown = progress if progress is not None else sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, unit="step", disable=not shown, dynamic_ncols=True)


def hashable(value: Any, name: str) -> Any:
    """``value`` if it can key a compiled function, else a ``TypeError`` that says what to do."""
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{name} must be hashable, so that the compiled loop can be found again, got {type(value).__name__}; use a "
            "function or a frozen dataclass of plain numbers."
        ) from None
    return value
