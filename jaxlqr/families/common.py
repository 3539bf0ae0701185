"""Families of scalar tasks, and of tasks that share their dynamics."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.lqr.task import LQRTask, make_task, stack_tasks


def scalar(a: Any, b: Any = 1.0, q: Any = 1.0, r: Any = 1.0, sigma0: Any = 1.0) -> LQRTask:
    r"""Stack of tasks with one state and one input, :math:`x_{t+1} = a x_t + b u_t`, cost
    :math:`\sum_t q x_t^2 + r u_t^2` and :math:`E[x_0^2] = \sigma_0`.

    Every argument is a number for all tasks or a sequence with one number for each. The cost of the gain k has the
    closed form :math:`J(k) = \sigma_0 (q + r k^2) / (1 - (a - bk)^2)` where :math:`|a - bk| < 1`.

    >>> import jaxlqr
    >>> scalar(a=0.9, q=[1.0, 2.0, 3.0]).Q.shape
    (3, 1, 1)

    Source: molybog2021, section 2 (all of its figures).
    """
    given = {"a": a, "b": b, "q": q, "r": r, "sigma0": sigma0}
    arrays = {name: np.asarray(value, dtype=float) for name, value in given.items()}
    wrong = {name: array.shape for name, array in arrays.items() if array.ndim > 1}
    sizes = {array.size for array in arrays.values() if array.ndim == 1}
    if wrong or len(sizes) > 1:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"a, b, q, r and sigma0 must be numbers or sequences of one common length, got {shapes}.")
    rows = zip(*(np.broadcast_to(array, max(sizes, default=1)) for array in arrays.values()), strict=True)
    return stack_tasks([make_task(*([[float(number)]] for number in row)) for row in rows])


def common_dynamics(A: Any, B: Any, Q: Any, R: Any, Sigma0: Any = None) -> LQRTask:
    """Stack of tasks with the same A and B and different costs.

    Arguments:
        A, B: matrices [n, n] and [n, m] of all tasks.
        Q, R: costs [M, n, n] and [M, m, m], one for each task.
        Sigma0: second moment of the initial state [n, n] of all tasks; the identity unless given.

    >>> import numpy as np
    >>> tasks = common_dynamics([[0.9]], [[1.0]], Q=[[[1.0]], [[2.0]]], R=[[[1.0]], [[1.0]]])
    >>> tasks.A.shape
    (2, 1, 1)

    Source: musavi2023, Assumption 1; molybog2021, section 2.4.
    """
    Q, R = np.asarray(Q, dtype=float), np.asarray(R, dtype=float)
    if Q.ndim != 3 or R.ndim != 3 or len(Q) != len(R):
        raise ValueError(
            f"Q and R must have shapes [M, n, n] and [M, m, m] with one matrix for each of M tasks, got {Q.shape} and "
            f"{R.shape}."
        )
    return stack_tasks([make_task(A, B, q, r, Sigma0) for q, r in zip(Q, R, strict=True)])


def combinations(key: Array, bases: Sequence[Any], num_tasks: int, *, low: float = 0.0, high: float = 10.0) -> Array:
    r"""Random combinations :math:`\sum_j \alpha_{ij} X_j` of matrices, with :math:`\alpha_{ij}` uniform on (low, high).

    Arguments: ``bases`` X_j, matrices of one shape. Returns: [num_tasks, ...]. Positive definite when the bases are and
    ``low`` is not negative.

    >>> import jax, numpy as np
    >>> combinations(jax.random.key(0), [np.eye(2), np.diag([1.0, 2.0])], 10).shape
    (10, 2, 2)

    Source: musavi2023, section V.
    """
    if num_tasks < 1:
        raise ValueError(f"num_tasks must be at least 1, got {num_tasks}.")
    stack = jnp.stack([jnp.asarray(base, jnp.result_type(float)) for base in bases])
    # minval alone is included in the interval, and a weight of zero would make the cost singular.
    smallest = low + (high - low) * float(jnp.finfo(stack.dtype).eps)
    weights = jax.random.uniform(key, (num_tasks, len(stack)), stack.dtype, smallest, high)
    return jnp.tensordot(weights, stack, axes=1)


def check_common_dynamics(tasks: LQRTask) -> None:
    """Raise ``ValueError``, naming the first task that differs, unless all tasks of a stack have the same A and B.

    A stack [M, ...], or several [runs, M, ...] with different dynamics. Outside ``jit`` only.
    """
    for name in ("A", "B"):
        stack = np.asarray(getattr(tasks, name))
        distance = np.max(np.abs(stack - stack[..., :1, :, :]), axis=(-2, -1))
        if np.any(distance > 0):
            first = tuple(np.argwhere(distance > 0)[0])
            raise ValueError(
                f"tasks must have common dynamics, but {name} of task {first[-1]} differs from that of task 0 by "
                f"{distance[first]:.3g}; use families.common_dynamics, or a rule that does not assume it."
            )
