"""Families of similar tasks around a nominal one."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations.checks import refuse_half

_MATRICES = ("A", "B", "Q", "R")


def perturb(
    key: Array,
    task: LQRTask,
    num_tasks: int,
    level: float | Array | np.ndarray | Sequence[float],
    *,
    masks: Sequence[Array] | None = None,
    scale: float = 0.6,
    include_nominal: bool = True,
) -> LQRTask:
    r"""Stack of ``num_tasks`` tasks that differ from ``task`` by a heterogeneity ``level``.

    Without masks, each of X = A, B, Q, R becomes :math:`X + 0.6\,\epsilon\,P/\|P\|_2` with P Gaussian (symmetrised for
    Q and R), and a draw is rejected unless its spectral distance to every task already drawn is below
    :math:`\epsilon`, which is what heterogeneity level means in the theory. With masks, :math:`X + a Z` with one
    number a uniform on :math:`[0, \epsilon]` for each task and matrix.

    Arguments:
        key: random key.
        task: the nominal task, unbatched.
        num_tasks: number M of tasks.
        level: :math:`\epsilon`, in units of the matrix entries: one number, or four for A, B, Q, R. Zero leaves that
            matrix alone.
        masks: four matrices Z of the shapes of A, B, Q, R.
        scale: the factor 0.6 above, in (0, 1); not used with masks.
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
    if num_tasks < 1:
        raise ValueError(f"num_tasks must be at least 1, got {num_tasks}.")
    if masks is None and not 0 < scale < 1:
        raise ValueError(f"scale must lie in (0, 1), or every second draw would be rejected for ever; got {scale}.")
    if not isinstance(level, Tracer) and not np.all(np.asarray(level) >= 0):
        raise ValueError(f"level must not be negative, got {level}.")
    levels = jnp.broadcast_to(jnp.asarray(level, task.A.dtype), (len(_MATRICES),))
    shapes = [getattr(task, name).shape for name in _MATRICES]
    if masks is not None:
        if [jnp.shape(mask) for mask in masks] != shapes:
            raise ValueError(
                f"masks must be four matrices of the shapes of A, B, Q, R, {shapes}, got "
                f"{[jnp.shape(mask) for mask in masks]}."
            )
        masks = tuple(jnp.asarray(mask, task.A.dtype) for mask in masks)
    return _draw(key, task, levels, masks, num_tasks=num_tasks, scale=scale, include_nominal=include_nominal)


@partial(jax.jit, static_argnames=("num_tasks", "scale", "include_nominal"))
def _draw(key, task: LQRTask, levels, masks, *, num_tasks: int, scale: float, include_nominal: bool) -> LQRTask:
    nominal = [getattr(task, name) for name in _MATRICES]
    if masks is None:
        changes = _separated(key, nominal, num_tasks, scale, include_nominal)
    else:
        sizes = jax.random.uniform(key, (len(_MATRICES), num_tasks), task.A.dtype)
        sizes = sizes.at[:, 0].set(0) if include_nominal else sizes
        changes = [size[:, None, None] * mask[None] for size, mask in zip(sizes, masks, strict=True)]
    A, B, Q, R = (x[None] + level * change for x, level, change in zip(nominal, levels, changes, strict=True))
    return LQRTask(A, B, Q, R, jnp.broadcast_to(task.Sigma0, (num_tasks, *task.Sigma0.shape)))


def _separated(key: Array, nominal: list[Array], num_tasks: int, scale: float, include_nominal: bool) -> list[Array]:
    """Changes [M, ...] of spectral norm ``scale``, pairwise nearer than 1, in units of the level."""
    ends = np.cumsum([matrix.size for matrix in nominal])

    def propose(draw_key: Array) -> list[Array]:
        # One draw for all four matrices: compiling a draw takes as long as compiling all the rest.
        draws = jnp.split(jax.random.normal(draw_key, (int(ends[-1]),), nominal[0].dtype), ends[:-1])
        draws = [draw.reshape(matrix.shape) for draw, matrix in zip(draws, nominal, strict=True)]
        draws[2:] = [(draw + draw.T) / 2 for draw in draws[2:]]  # Q and R
        return [scale * draw / jnp.linalg.norm(draw, 2) for draw in draws]

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
