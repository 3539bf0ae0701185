"""Families of similar tasks around a nominal one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.lqr.task import LQRTask

_MATRICES = ("A", "B", "Q", "R")


def perturb(
    key: Array,
    task: LQRTask,
    num_tasks: int,
    level: float | Array | Sequence[float],
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
    if num_tasks < 1:
        raise ValueError(f"num_tasks must be at least 1, got {num_tasks}.")
    if masks is None and not 0 < scale < 1:
        raise ValueError(f"scale must lie in (0, 1), or every second draw would be rejected for ever; got {scale}.")
    levels = jnp.broadcast_to(jnp.asarray(level, task.A.dtype), (len(_MATRICES),))
    nominal = [getattr(task, name) for name in _MATRICES]
    if masks is not None and [jnp.shape(mask) for mask in masks] != [matrix.shape for matrix in nominal]:
        raise ValueError(
            f"masks must be four matrices of the shapes of A, B, Q, R, {[matrix.shape for matrix in nominal]}, got "
            f"{[jnp.shape(mask) for mask in masks]}."
        )
    keys = jax.random.split(key, len(_MATRICES))
    changes = []
    for index, (name, matrix) in enumerate(zip(_MATRICES, nominal, strict=True)):
        if masks is not None:
            change = _masked(keys[index], jnp.asarray(masks[index], matrix.dtype), num_tasks, include_nominal)
        else:
            change = _separated(keys[index], matrix, num_tasks, name in ("Q", "R"), scale, include_nominal)
        changes.append(matrix + levels[index] * change)
    sigma0 = jnp.broadcast_to(task.Sigma0, (num_tasks, *task.Sigma0.shape))
    A, B, Q, R = changes
    return LQRTask(A, B, Q, R, sigma0)


def _masked(key: Array, mask: Array, num_tasks: int, include_nominal: bool) -> Array:
    size = jax.random.uniform(key, (num_tasks,), mask.dtype)
    if include_nominal:
        size = size.at[0].set(0)
    return size[:, None, None] * mask


def _separated(
    key: Array, matrix: Array, num_tasks: int, symmetric: bool, scale: float, include_nominal: bool
) -> Array:
    """Changes [M, ...] of spectral norm ``scale``, pairwise nearer than 1, in units of the level."""

    def propose(draw_key: Array) -> Array:
        draw = jax.random.normal(draw_key, matrix.shape, matrix.dtype)
        draw = (draw + draw.T) / 2 if symmetric else draw
        return scale * draw / jnp.linalg.norm(draw, 2)

    def add(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        drawn, key = state
        known = jnp.arange(num_tasks) < index

        def too_far(candidate: Array) -> Array:
            distances = jnp.linalg.norm(drawn - candidate, 2, axis=(1, 2))
            return jnp.any(known & (distances >= 1))

        def redraw(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            next_key, draw_key = jax.random.split(carry[1])
            return propose(draw_key), next_key

        # Ends with probability one: a neighbourhood of every task already drawn is acceptable.
        candidate, key = lax.while_loop(lambda carry: too_far(carry[0]), redraw, redraw((drawn[0], key)))
        return drawn.at[index].set(candidate), key

    start = jnp.zeros((num_tasks, *matrix.shape), matrix.dtype)
    return lax.fori_loop(1 if include_nominal else 0, num_tasks, add, (start, key))[0]
