"""Families of similar tasks around a nominal one."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.checks import refuse_half
from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.checks import check_task
from jaxlqr.lqr.task import LQRTask

_MATRICES = ("A", "B", "Q", "R")
_REJECTED = 256  # most tasks whose draws are tested against each other


def perturb(
    key: Array,
    task: LQRTask,
    num_tasks: int,
    level: float | Array | np.ndarray | Sequence[float],
    *,
    masks: Sequence[Array] | None = None,
    scale: float | None = None,
    include_nominal: bool = True,
) -> LQRTask:
    r"""Stack of ``num_tasks`` tasks that differ from ``task`` by a heterogeneity ``level``.

    Without masks, each of X = A, B, Q, R becomes :math:`X + s\,\epsilon\,P/\|P\|_2` with P Gaussian (symmetrised for
    Q and R), and the spectral distance of any two tasks is below :math:`\epsilon`, which is what heterogeneity level
    means in the theory: with s below 1/2 it always is, and from 1/2 on a draw is rejected unless it is that near to
    every task already drawn. With masks, :math:`X + a Z` with one number a uniform on :math:`[0, \epsilon]` for each
    task and matrix.

    Arguments:
        key: random key.
        task: the nominal task, unbatched.
        num_tasks: number M of tasks.
        level: :math:`\epsilon`, in units of the matrix entries: one number, or four for A, B, Q, R. Zero leaves that
            matrix alone.
        masks: four matrices Z of the shapes of A, B, Q, R.
        scale: the factor s above, in (0, 1); not used with masks. Unless given 0.6 for up to 256 tasks, and 0.499 for
            more: the work of rejection grows with the square of their number, so that larger families are drawn
            without.
        include_nominal: whether task 0 is the nominal one.

    Returns:
        A stack of tasks, leading axis M, with the nominal Sigma0. Runs inside ``jit`` and ``vmap``. Q and R stay
        definite as long as ``level`` is below their smallest eigenvalue.

    >>> import jax, jaxlqr
    >>> tasks = perturb(jax.random.key(0), jaxlqr.families.boeing(), 10, level=0.01)
    >>> tasks.A.shape
    (10, 4, 4)

    Source: toso2024, section 7 (masks), section 2.2 (levels); docs/errata.md, T8 (rejection).
    """
    refuse_half("perturb", task=task)
    check_count("num_tasks", num_tasks)
    if scale is None:
        scale = 0.6 if num_tasks <= _REJECTED else 0.499
    if masks is None and not 0 < scale < 1:
        raise ValueError(f"scale must lie in (0, 1), or every second draw would be rejected for ever; got {scale}.")
    if masks is None and scale >= 0.5 and num_tasks > _REJECTED:
        raise ValueError(
            f"scale must be below 0.5 for more than {_REJECTED} tasks, got {scale} for {num_tasks}, because all pairs "
            "would have to be compared; leave it out, or draw fewer tasks."
        )
    if not isinstance(level, Tracer) and not np.all(np.asarray(level) >= 0):
        raise ValueError(f"level must not be negative, got {level}.")
    check_task(task)
    levels = jnp.broadcast_to(jnp.asarray(level, task.A.dtype), (len(_MATRICES),))
    shapes = [getattr(task, name).shape for name in _MATRICES]
    if masks is not None:
        if [jnp.shape(mask) for mask in masks] != shapes:
            raise ValueError(
                f"masks must be four matrices of the shapes of A, B, Q, R, {shapes}, got "
                f"{[jnp.shape(mask) for mask in masks]}."
            )
        masks = tuple(jnp.asarray(mask, task.A.dtype) for mask in masks)
    return _draw(as_key(key), task, levels, masks, num_tasks=num_tasks, scale=scale, include_nominal=include_nominal)


@compiled(static=("num_tasks", "scale", "include_nominal"))
def _draw(key, task: LQRTask, levels, masks, *, num_tasks: int, scale: float, include_nominal: bool) -> LQRTask:
    nominal = [getattr(task, name) for name in _MATRICES]
    if masks is None:
        draw = _separated if scale >= 0.5 else _free
        changes = draw(key, nominal, num_tasks, scale, include_nominal)
    else:
        sizes = jax.random.uniform(key, (len(_MATRICES), num_tasks), task.A.dtype)
        sizes = sizes.at[:, 0].set(0) if include_nominal else sizes
        changes = [size[:, None, None] * mask[None] for size, mask in zip(sizes, masks, strict=True)]
    A, B, Q, R = (x[None] + level * change for x, level, change in zip(nominal, levels, changes, strict=True))
    return LQRTask(A, B, Q, R, jnp.broadcast_to(task.Sigma0, (num_tasks, *task.Sigma0.shape)))


def _proposal(draw_key: Array, nominal: list[Array], scale: float) -> list[Array]:
    """Changes of the four matrices, each of spectral norm ``scale``."""
    ends = np.cumsum([matrix.size for matrix in nominal])
    # One draw for all four matrices: compiling a draw takes as long as compiling all the rest.
    draws = jnp.split(jax.random.normal(draw_key, (int(ends[-1]),), nominal[0].dtype), ends[:-1])
    draws = [draw.reshape(matrix.shape) for draw, matrix in zip(draws, nominal, strict=True)]
    draws[2:] = [(draw + draw.T) / 2 for draw in draws[2:]]  # Q and R
    return [scale * draw / jnp.linalg.norm(draw, 2) for draw in draws]


def _free(key: Array, nominal: list[Array], num_tasks: int, scale: float, include_nominal: bool) -> list[Array]:
    """Changes [M, ...] of spectral norm ``scale`` below 1/2, which are pairwise nearer than 1 without a test."""
    first = 1 if include_nominal else 0

    def split(key: Array, _) -> tuple[Array, Array]:
        key, draw_key = jax.random.split(key)
        return key, draw_key

    # The keys of _separated when it rejects nothing.
    _, keys = lax.scan(split, key, length=num_tasks - first)
    changes = lax.map(lambda draw_key: _proposal(draw_key, nominal, scale), keys, batch_size=4096)
    return [jnp.concatenate([jnp.zeros((first, *change.shape[1:]), change.dtype), change]) for change in changes]


def _separated(key: Array, nominal: list[Array], num_tasks: int, scale: float, include_nominal: bool) -> list[Array]:
    """Changes [M, ...] of spectral norm ``scale``, pairwise nearer than 1, in units of the level."""
    propose = partial(_proposal, nominal=nominal, scale=scale)

    def add(index: Array, state):
        drawn, key = state
        known = jnp.arange(num_tasks) < index

        def redraw(carry):
            candidates, far, key = carry
            key, draw_key = jax.random.split(key)
            candidates = [
                jnp.where(again, fresh, candidate)
                for again, fresh, candidate in zip(far, propose(draw_key), candidates, strict=True)
            ]
            distances = [
                jnp.linalg.norm(before - candidate[None], 2, axis=(1, 2))
                for before, candidate in zip(drawn, candidates, strict=True)
            ]
            return candidates, jnp.stack([jnp.any(known & (distance >= 1)) for distance in distances]), key

        # Ends with probability one: a neighbourhood of every task already drawn is acceptable.
        start = ([jnp.zeros_like(matrix) for matrix in nominal], jnp.ones(len(nominal), bool), key)
        candidates, _, key = lax.while_loop(lambda carry: jnp.any(carry[1]), redraw, start)
        return [before.at[index].set(new) for before, new in zip(drawn, candidates, strict=True)], key

    blank = [jnp.zeros((num_tasks, *matrix.shape), matrix.dtype) for matrix in nominal]
    return lax.fori_loop(1 if include_nominal else 0, num_tasks, add, (blank, key))[0]
