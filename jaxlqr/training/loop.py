"""One descent loop for every learner: guarded optax steps in compiled chunks, with a history and a progress bar.

The loop knows a direction to descend along and a test of feasibility; it does not know where they come from. It looks
one step ahead: a candidate is accepted when it is feasible and its own direction, the one the next iteration needs
anyway, is finite. So a safeguarded iteration costs no more than an unguarded one unless it has to backtrack.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.meta.layout import RUN_AXIS
from jaxlqr.oracles.protocol import PyTree, all_finite
from jaxlqr.training.checkpoint import Keeper
from jaxlqr.training.interrupt import stop_requests
from jaxlqr.training.locking import CheckpointError
from jaxlqr.training.result import Status, TrainingResult
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
    candidate, ahead, acceptable = search(settings, data, state.params, updates, step)
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
        zeros = blank(jax.eval_shape(advance, data, scale, state, number)[1])
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
        if saved.step > num_steps:
            raise CheckpointError(
                f"num_steps must be at least {saved.step}, the steps that the checkpoint has taken, got {num_steps}; "
                "resume with as many steps or more, or begin in another folder."
            )
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
