"""One descent loop for every learner: guarded optax steps in compiled chunks, with a history and a progress bar.

The loop uses a direction of descent and a test of feasibility; it does not depend on their source. It looks one step
ahead: it accepts a candidate if it is feasible and the direction at the candidate is finite. The next iteration needs
this direction anyway. So a safeguarded iteration costs no more than an unguarded one unless it has to backtrack.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.core.layout import RUN_AXIS
from jaxlqr.core.status import SolveStatus
from jaxlqr.core.types import PyTree
from jaxlqr.io.locking import CheckpointError
from jaxlqr.io.progress import open_progress
from jaxlqr.oracles.protocol import all_finite
from jaxlqr.training.checkpoint import Keeper
from jaxlqr.training.interrupt import stop_requests
from jaxlqr.training.metrics import refuse_names_of_the_loop
from jaxlqr.training.options import Output
from jaxlqr.training.result import TrainingResult, named_leaves
from jaxlqr.training.search import Settings, blank, search
from jaxlqr.training.sharding import to_host

if TYPE_CHECKING:
    import optax


class _State(NamedTuple):
    params: PyTree
    opt_state: PyTree
    direction: PyTree
    scale: Array
    status: Array


def _norm(tree: PyTree) -> Array:
    return jnp.sqrt(sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


def _advance(settings: Settings, data: PyTree, scale: Array, state: _State, step: Array):
    updates, opt_state = settings.optimizer.update(state.direction, state.opt_state, state.params)
    # Step 0 only looks at the first iterate: the same compiled code, without an update.
    updates = jax.tree.map(lambda u: jnp.where(step > 0, (scale * state.scale).astype(u.dtype) * u, 0), updates)
    opt_state = jax.tree.map(lambda new, old: jnp.where(step > 0, new, old), opt_state, state.opt_state)
    candidate, ahead, acceptable, queries = search(settings, data, state.params, updates, step)
    if settings.safeguard:
        status = jnp.where(candidate.fraction > 0, SolveStatus.COMPLETED, SolveStatus.STALLED).astype(jnp.int32)
        # A direction that is not finite would stay in the optimiser's memory: stand still until the next draw instead.
        finite = all_finite(ahead.direction)
        direction = jax.tree.map(lambda d: jnp.where(finite, d, 0), ahead.direction)
    else:
        status = jnp.where(acceptable, state.status, SolveStatus.DIVERGED).astype(jnp.int32)
        direction = ahead.direction
    norm = _norm(ahead.direction)
    own = {
        **ahead.record,
        "feasible": candidate.check.feasible,
        "gradient_norm": norm,
        "accepted_step": candidate.fraction.astype(norm.dtype),
        "queries": queries,
    }
    if settings.record_params:
        own |= named_leaves(candidate.params)
    refuse_names_of_the_loop(candidate.check.record, own)
    row = candidate.check.record | own
    return _State(candidate.params, opt_state, direction, ahead.scale.astype(state.scale.dtype), status), row


class _Budget(NamedTuple):
    """Remaining cost queries and the queries of the last row, each [runs] for batched runs."""

    left: Array | np.ndarray
    last: Array | np.ndarray


@partial(jax.jit, static_argnames=("settings", "batched", "length"), donate_argnames=("state",))
def _chunk(
    settings: Settings, batched: bool, length: int, data, scale, state: _State, first, last, budget: _Budget | None
):
    """The state after the chunk, its rows, and which of them were computed: those in front."""
    advance = partial(_advance, settings)
    if batched:
        # The name matters on a mesh only: there, runs stay on the devices that have their tasks.
        advance = jax.vmap(advance, in_axes=(0, 0, 0, None), spmd_axis_name=RUN_AXIS if settings.sharded else None)
    advance = jax.jit(advance)  # traced once, see below

    def step(carry: tuple[_State, _Budget | None], number: Array):
        # The length is static and the number of steps is traced: steps beyond the last one are skipped, so a remainder
        # needs no second compilation. The step number is the same for all runs of a batch: a true branch.
        state, budget = carry
        zeros = blank(jax.eval_shape(advance, data, scale, state, number)[1])
        going_on = number <= last
        if budget is not None:  # the next step takes as many queries as the last one, unless it is shortened
            going_on &= jnp.all(budget.left >= budget.last)
        state, row = lax.cond(going_on, lambda s: advance(data, scale, s, number), lambda s: (s, zeros), state)
        if budget is not None:
            asked = row["queries"]
            budget = _Budget(budget.left - asked, jnp.where(going_on, asked, budget.last))
        return (state, budget), (row, going_on)

    (state, _), (rows, taken) = lax.scan(step, (state, budget), first + jnp.arange(length))
    return state, rows, taken


@partial(jax.jit, static_argnames=("optimizer", "batched"))
def _initial_state(optimizer: "optax.GradientTransformation", batched: bool, params: PyTree) -> _State:
    def one(params: PyTree) -> _State:
        direction = jax.tree.map(jnp.zeros_like, params)
        one = jnp.ones((), jnp.result_type(*jax.tree.leaves(params)))
        return _State(params, optimizer.init(params), direction, one, jnp.asarray(SolveStatus.COMPLETED, jnp.int32))

    return (jax.vmap(one) if batched else one)(params)


def run(
    settings: Settings,
    data: PyTree,
    params: PyTree,
    scale: Array,
    *,
    num_steps: int,
    batched: bool,
    output: Output,
    reject: Callable[[dict[str, np.ndarray]], None] | None = None,
    keeper: Keeper | None = None,
    max_queries: int | None = None,
) -> TrainingResult:
    """The result after ``num_steps`` steps, or fewer where the callback or ``max_queries`` ends the run.

    Arguments:
        settings: static choices.
        data: pytree of arrays for ``settings.problem``.
        params: first iterate.
        scale: factor on the optimiser's updates.
        batched: whether ``data``, ``params`` and ``scale`` carry a leading axis of independent runs.
        output: what is shown and stored; the keeper has its checkpoints.
        reject: called with row 0 when the first step finds no acceptable iterate for some run, to raise an error.
        keeper: checkpoints to continue from. If a signal stops the process, the loop adds a checkpoint and raises
            ``KeyboardInterrupt``.
        max_queries: as in :class:`jaxlqr.Limits`.
    """
    every, callback = None if output.checkpoints is None else output.checkpoints.every, output.callback
    chunk_size = min(output.every, num_steps + 1, every or num_steps + 1)
    state = _initial_state(settings.optimizer, batched, params)
    axis = 1 if batched else 0
    chunks, begin = [], 0
    if keeper is not None and (saved := keeper.restore()) is not None:
        state = _restored(state, saved.leaves)
        chunks, begin = [saved.history], saved.step + 1
        if saved.step > num_steps:
            raise CheckpointError(
                f"num_steps must be at least {saved.step}, the steps that the checkpoint has taken, got {num_steps}; "
                "resume with as many steps or more, or begin in another folder."
            )
    kept = begin
    with open_progress(num_steps, "step", output.progress) as bar, ExitStack() as stack:
        stop_requested = stack.enter_context(stop_requests()) if keeper is not None else None
        bar.update(max(begin - 1, 0))
        for first in range(begin, num_steps + 1, chunk_size):
            budget = None if max_queries is None else _budget(max_queries, state.status.shape, chunks, axis)
            state, chunk, allowed = _chunk(settings, batched, chunk_size, data, scale, state, first, num_steps, budget)
            taken = min(chunk_size, num_steps + 1 - first)
            if budget is not None:
                taken = int(np.sum(allowed))
            exhausted = first + taken <= min(first + chunk_size - 1, num_steps)
            # To the host, which also waits for the chunk. Scan stacks steps in front; runs go first.
            rows = {name: np.moveaxis(to_host(leaf)[:taken], 0, axis) for name, leaf in chunk.items()}
            chunks.append(rows)
            if first == 0 and reject is not None:
                start = {name: values.take(0, axis) for name, values in rows.items()}
                if not np.all(start["accepted_step"] > 0):
                    reject(start)
            if first == 0 and max_queries is not None and np.any(rows["queries"].take(0, axis) > max_queries):
                raise ValueError(
                    f"max_queries must be at least {rows['queries'].take(0, axis).max()}, the cost queries at the "
                    f"first iterate, got {max_queries}."
                )
            bar.update(taken if first else taken - 1)
            last = first + taken - 1
            ended = exhausted or last == num_steps
            if callback is not None and taken:
                # A copy: the next chunk computes in the memory of these parameters.
                ended |= bool(callback(last, jax.tree.map(lambda leaf: np.array(to_host(leaf)), state.params), rows))
            stopping = stop_requested is not None and stop_requested() and not ended
            due = every is not None and (ended or (last + 1) // every > kept // every)
            if keeper is not None and (due or stopping) and last + 1 > kept:
                chunks, kept = [_joined(chunks, axis)], last + 1
                keeper.save(last, jax.tree.leaves(state), chunks[0])
            if stopping:
                raise KeyboardInterrupt(f"stopped after step {last} of {num_steps}, of which a checkpoint is kept.")
            if ended:
                break
    history = _joined(chunks, axis)
    history["accepted_step"][(slice(None),) * axis + (0,)] = np.nan
    # Not jnp.asarray, which compiles a program for each new shape.
    return TrainingResult(params=state.params, history=jax.device_put(history), status=state.status)


def _budget(max_queries: int, lead: tuple[int, ...], chunks: list[dict[str, np.ndarray]], axis: int) -> _Budget:
    """The remaining budget after the rows of ``chunks``; before the first row any budget allows one evaluation."""
    rows = [chunk["queries"] for chunk in chunks if chunk["queries"].shape[axis]]
    spent = sum((row.sum(axis=axis, dtype=np.int64) for row in rows), np.zeros(lead, np.int64))
    left = np.clip(max_queries - spent, 0, np.iinfo(np.int32).max)
    last = rows[-1].take(-1, axis) if rows else np.zeros(lead)
    return _Budget(left.astype(np.int32), last.astype(np.int32))


def _joined(chunks: list[dict[str, np.ndarray]], axis: int) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks], axis=axis) for name in chunks[0]}


def _restored(state: _State, leaves: list[np.ndarray]) -> _State:
    """A state of saved leaves, each where its like lies in ``state``."""
    placed = [jax.device_put(new, old.sharding) for new, old in zip(leaves, jax.tree.leaves(state), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(state), placed)
