"""Checks of the arguments of functions of one gain and one task, by their shapes, also while tracing."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

_RANKS = {"A": 2, "B": 2, "Q": 2, "R": 2, "Sigma0": 2}


def check_task(task: Any) -> None:
    """Raise ``ValueError`` unless ``task`` is one task, each of its arrays a matrix."""
    if isinstance(task, list | tuple):
        raise ValueError(
            f"task must be one task, got a {type(task).__name__} of {len(task)}; map over a stack of them, "
            "jaxlqr.stack_tasks(tasks), with jax.vmap."
        )
    for matrix, rank in _RANKS.items():
        if not hasattr(task, matrix):
            raise ValueError(
                f"task must be a task with arrays A, B, Q, R and Sigma0, got {type(task).__name__}; make one with "
                "jaxlqr.make_task(A, B)."
            )
        shape = np.shape(getattr(task, matrix))
        if len(shape) == rank:
            continue
        got = f"a stack with {matrix} of shape {shape}" if len(shape) > rank else f"{matrix} of shape {shape}"
        raise ValueError(
            f"task must be one task, whose {matrix} is a matrix, got {got}; map over a stack of tasks with jax.vmap, "
            "for example jax.vmap(jaxlqr.cost, in_axes=(None, 0))(K, tasks)."
        )


def as_gain(K: Any, task: Any, name: str = "K") -> Array:
    """A gain [m, n] for one task, from an array or nested lists.

    Raises:
        ValueError: if the shape does not equal that of the task's transposed B.
        TypeError: for an array that is not floating.
    """
    if isinstance(K, list | tuple):
        try:
            K = jnp.asarray(K, jnp.result_type(getattr(task, "B", float), float))
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be an array [m, n], got nested lists of another form; check them.") from None
    if not hasattr(K, "dtype"):
        raise ValueError(f"{name} must be an array [m, n], got {type(K).__name__}; write jnp.asarray({name}).")
    if not jnp.issubdtype(K.dtype, jnp.inexact):
        raise TypeError(f"{name} must have a floating dtype, got {K.dtype}; write {name}.astype(float), or 1.0 for 1.")
    n, m = np.shape(task.B)
    if K.shape == (m, n):
        return K
    remedy = f"write {name}.T" if K.shape == (n, m) else "check the order of states and inputs"
    if K.ndim > 2:
        remedy = "map over a batch with jax.vmap, for example jax.vmap(jaxlqr.cost, in_axes=(0, None))(K, task)"
    raise ValueError(
        f"{name} must have shape ({m}, {n}), one row per input and one column per state, got {K.shape}; {remedy}."
    )


def gain_and_task(K: Any, task: Any) -> dict[str, Any]:
    """The checked arguments (K, task), as a dict."""
    check_task(task)
    return {"K": as_gain(K, task)}


def gain_direction_and_task(K: Any, X: Any, task: Any) -> dict[str, Any]:
    """The checked arguments (K, X, task), as a dict; X has the shape of the gain."""
    return gain_and_task(K, task) | {"X": as_gain(X, task, "X")}
