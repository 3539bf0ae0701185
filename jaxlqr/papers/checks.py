"""Checks of a gain and of tasks for constants that hold at a gain: outside jit, with one sentence for each error."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxlqr.lqr.stabilize import check_stabilizes_all
from jaxlqr.lqr.task import LQRTask, as_stack

#: Of a formula of a paper: as printed there, or with the errata of docs/papers mended.
Form = Literal["printed", "corrected"]
_MATRICES = ("A", "B", "Q", "R", "Sigma0")


def check_inputs(K: Array, tasks: LQRTask) -> None:
    """Raise ``ValueError`` for wrong shapes and, unless traced, for values that the theory excludes.

    The values: a gain that does not stabilise every task, and a Q, R or Sigma0 that is not positive definite (the paper
    assumes all three; make_task also takes a semidefinite Q and Sigma0).
    """
    check_shapes(K, tasks)
    if any(isinstance(leaf, Tracer) for leaf in (K, *jax.tree.leaves(tasks))):
        return
    symbols = {"Sigma0": "mu, the least eigenvalue of Sigma0,", "Q": "sigma_min(Q)", "R": "sigma_min(R)"}
    for name, symbol in symbols.items():
        least = np.asarray(jnp.linalg.eigvalsh(getattr(tasks, name)))[:, 0]
        if not np.all(least > 0):
            task = int(np.argmin(least))
            raise ValueError(
                f"{symbol} must be positive for every task, because the constants divide by it, got {least[task]:.3g} "
                f"for task {task}; make {name} positive definite."
            )
    check_stabilizes_all(K, tasks, name="K")


def gain_and_tasks(K: Any, tasks: Any) -> dict[str, Any]:
    """``K`` as an array and ``tasks`` as a stack, of shapes that fit; what a function of (K, tasks) begins with."""
    tasks = as_stack(tasks)
    K = jnp.asarray(K, getattr(K, "dtype", tasks.B.dtype))
    check_shapes(K, tasks)
    return {"K": K, "tasks": tasks}


def assumed(K: Any, tasks: Any) -> dict[str, Any]:
    """:func:`gain_and_tasks`, whose values meet the assumptions of :func:`check_inputs` unless they are traced."""
    checked = gain_and_tasks(K, tasks)
    check_inputs(**checked)
    return checked


def check_shapes(K: Array, tasks: LQRTask) -> None:
    """Raise ``ValueError`` unless ``tasks`` is a stack and ``K`` fits it."""
    shapes = {name: jnp.shape(getattr(tasks, name)) for name in _MATRICES}
    if any(len(shape) != 3 for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) != 1:
        raise ValueError(
            f"tasks must be a stack of tasks of one size, with one leading axis M, got {shapes}; use "
            "jaxlqr.stack_tasks([...])."
        )
    wanted = (shapes["B"][2], shapes["B"][1])
    if jnp.shape(K) != wanted:
        raise ValueError(f"K must have shape {wanted}, one row per input and one column per state, got {jnp.shape(K)}.")


def check_several(tasks: LQRTask) -> None:
    """Raise ``ValueError`` with fewer than two tasks."""
    count = tasks.A.shape[0]
    if count < 2:
        raise ValueError(f"tasks must hold at least two tasks to differ, got {count}; heterogeneity is about pairs.")
