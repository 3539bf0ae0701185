"""One discrete-time linear-quadratic task, and stacks of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlqr.core.checks import MatrixLike, real_array
from jaxlqr.core.optional import optional
from jaxlqr.core.result import short_repr
from jaxlqr.lqr.admissible import rounding_unit, symmetric_part, unstabilizable_modes
from jaxlqr.systems._reading import check_dt, is_system, plain, read_system
from jaxlqr.systems._sampling import sampled
from jaxlqr.systems._state_space import StateSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LQRTask:
    r"""A linear-quadratic task, a pytree of arrays; build it with :func:`make_task`, which checks it.

    Dynamics :math:`x_{t+1} = A x_t + B u_t` with :math:`u_t = -K x_t`, cost
    :math:`J(K) = E \sum_t x_t^\top Q x_t + u_t^\top R u_t` with :math:`E[x_0 x_0^\top] = \Sigma_0`.

    Attributes:
        A: state matrix [n, n].
        B: input matrix [n, m].
        Q: state cost [n, n], symmetric positive semidefinite.
        R: input cost [m, m], symmetric positive definite.
        Sigma0: second moment of the initial state [n, n], symmetric positive semidefinite.

    A stack of tasks (:func:`stack_tasks`) is the same class with one leading axis on every array.
    """

    A: Float[Array, "*tasks n n"]
    B: Float[Array, "*tasks n m"]
    Q: Float[Array, "*tasks n n"]
    R: Float[Array, "*tasks m m"]
    Sigma0: Float[Array, "*tasks n n"]

    def __repr__(self) -> str:
        return short_repr(self)

    def to_control(self, *, dt: float | bool = True) -> Any:
        """The system x[t+1] = A x[t] + B u[t], y = x as a ``control.StateSpace``; its costs stay behind.

        A gain K [m, n] closes the loop as ``control.feedback(task.to_control(), numpy.asarray(K))``, whose poles are
        the eigenvalues of A - B K.

        Arguments:
            dt: sampling time in seconds; True, where it is not known.

        Raises:
            ValueError: for a stack of tasks, and where python-control is not installed.

        >>> make_task([[1.0, 1.0], [0.0, 1.0]], [[0.0], [1.0]]).to_control(dt=0.1).nstates
        2
        """
        if np.ndim(self.A) != 2:
            raise ValueError(
                f"to_control takes one task, got a stack with A of shape {np.shape(self.A)}; take one out with "
                "jax.tree.map(lambda leaf: leaf[i], tasks)."
            )
        n, m = self.B.shape
        state_space = optional("control", "control", "to_control").StateSpace
        return state_space(np.asarray(self.A), np.asarray(self.B), np.eye(n), np.zeros((n, m)), dt)


class Tensor(Protocol):
    """A tensor of torch, as far as it is known here."""

    def detach(self) -> Any: ...

    def tolist(self) -> Any: ...


class LinearSystem(Protocol):
    """A state-space system: :class:`jaxlqr.systems.StateSpace`, of python-control or of SciPy."""

    A: Any
    B: Any

    @property
    def dt(self) -> Any: ...


TaskMatrix = MatrixLike | Tensor


def make_task(
    A: TaskMatrix | LinearSystem,
    B: TaskMatrix | None = None,
    Q: TaskMatrix | None = None,
    R: TaskMatrix | None = None,
    Sigma0: TaskMatrix | None = None,
    *,
    dt: float | None = None,
) -> LQRTask:
    """Checked :class:`LQRTask`, from matrices or from a system; ``Q``, ``R`` and ``Sigma0`` default to the identity.

    Arguments:
        A: state matrix [n, n]: nested lists or an array of NumPy, JAX or torch (its values; gradients stay behind). Or
            a system (:class:`jaxlqr.systems.StateSpace`, or one of python-control or SciPy), whose A and B are taken,
            and whose outputs are not.
        B: input matrix [n, m]; not with a system.
        Q, R, Sigma0: costs [n, n], [m, m] and second moment of the initial state [n, n].
        dt: for systems x' = A x + B u in continuous time: sampling time of a zero-order hold, in the unit of time of A.
            :func:`jaxlqr.zero_order_hold` is the same with derivatives. Q and R weigh the samples.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, a cost is not symmetric or not (semi)definite, (A,
            B) is not stabilizable, or a continuous-time system comes without ``dt``. The message names the argument,
            the expectation, the value and a remedy.

        TypeError: for masked arrays, and inside ``jit``.

    No verdict depends on the units of states, inputs and costs. (A, B) is stabilizable where the Riccati solver finds
    a gain. Arrays of half precision are converted, like all others, to the default precision of JAX.

    It looks at values, so it runs outside ``jit``; inside, construct :class:`LQRTask` from checked arrays.

    >>> task = make_task([[1.0, 1.0], [0.0, 1.0]], [[0.0], [1.0]])
    >>> task.R.shape
    (1, 1)
    >>> make_task([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], dt=0.5).A.tolist()
    [[1.0, 0.5], [0.0, 1.0]]
    """
    a, b, own = read_plant(A, B)
    if own is not None:
        _check_time(type(A).__name__, own, dt)
    n, m = b.shape
    if dt is not None:
        a, b = sampled(a, b, check_dt(dt))
    q = symmetric_matrix(Q, "Q", n, definite=False)
    r = symmetric_matrix(R, "R", m, definite=True)
    sigma0 = symmetric_matrix(Sigma0, "Sigma0", n, definite=False)
    stuck = unstabilizable_modes(a, b)
    if stuck.size:
        raise ValueError(
            f"(A, B) must be stabilizable, but no input moves the eigenvalues {np.array2string(stuck, precision=4)} of "
            "A, which lie on or outside the unit circle; add an actuator that reaches them, or drop those states."
        )
    dtype = jnp.result_type(float)
    return LQRTask(*(jnp.asarray(value, dtype) for value in (a, b, q, r, sigma0)))


def stack_tasks(tasks: Sequence[LQRTask]) -> LQRTask:
    """One :class:`LQRTask` whose arrays carry a leading task axis; all tasks must have the same n and m.

    >>> task = make_task([[0.5]], [[1.0]])
    >>> stack_tasks([task, task]).A.shape
    (2, 1, 1)
    """
    tasks = list(tasks)
    if not tasks:
        raise ValueError("tasks must hold at least one task, got an empty sequence.")
    sizes = {tuple(task.B.shape) for task in tasks}
    if len(sizes) > 1:
        raise ValueError(f"tasks must all have the same numbers of states and inputs, got (n, m) in {sorted(sizes)}.")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *tasks)


def as_stack(tasks: Any) -> Any:
    """``tasks`` as a stack with a leading task axis. A list is stacked; one task or a deeper stack raises
    ``ValueError``.

    Other pytrees than :class:`LQRTask` are returned unchanged: they may be stacks.

    >>> as_stack([make_task([[0.5]], [[1.0]])]).A.shape
    (1, 1, 1)
    """
    if isinstance(tasks, list | tuple) and tasks and all(isinstance(task, LQRTask) for task in tasks):
        tasks = stack_tasks(tasks)
    if not isinstance(tasks, LQRTask):
        return tasks
    shape = np.shape(tasks.A)
    if len(shape) == 2:
        raise ValueError(
            f"tasks must be a stack of tasks, whose A is [M, n, n], got one task with A of shape {shape}; use "
            "jaxlqr.stack_tasks([task])."
        )
    if len(shape) != 3:
        raise ValueError(
            f"tasks must be a stack of tasks, whose A is [M, n, n], got A of shape {shape}; take out the further axes "
            "with jax.tree.map(lambda leaf: leaf[:, 0], tasks), or map over them with jax.vmap."
        )
    return tasks


def read_plant(A: Any, B: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Checked matrices A [n, n] and B [n, m] of a system or of matrices, and the sampling time of a system.

    The sampling time is 0 in continuous time, True if the system does not specify it, and None for matrices.
    """
    own = None
    if is_system(A):
        if B is not None:
            raise ValueError("B must not be given with a system, which has its own; write Q=..., R=... for the costs.")
        found = A if isinstance(A, StateSpace) else read_system(A)
        A, B, own = found.A, found.B, 0 if found.dt is None else found.dt
    elif B is None:
        raise ValueError("B must be given with a matrix A, [n, m]; only a system has its own.")
    a, b = checked_matrix(A, "A"), checked_matrix(B, "B")
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(
            f"A must be a square matrix [n, n], got shape {a.shape}; stack_tasks([...]) makes a batch of tasks."
        )
    if b.ndim != 2 or b.shape[0] != len(a) or b.shape[1] == 0:
        raise ValueError(f"B must have shape [{len(a)}, m] with as many rows as A and m >= 1, got {b.shape}.")
    return a, b, own


def _check_time(kind: str, own: Any, dt: float | None) -> None:
    """Check that ``dt`` is given for a system in continuous time, and for no other; ``own`` is the system's sampling
    time."""
    if not own and dt is None:
        raise ValueError(
            f"the {kind} is in continuous time and a task in discrete time; give the sampling time of a zero-order "
            "hold, dt=0.1."
        )
    if own and dt is not None:
        raise ValueError(
            f"dt must not be given with a {kind} in discrete time, which has its sampling time ({own}), got dt={dt!r}; "
            "leave it out."
        )


def checked_matrix(value: Any, name: str) -> np.ndarray:
    """The value in float64: real and finite, of any shape, or one sentence with its ``name``."""
    return real_array(plain(value), name, function="make_task", result="LQRTask", kind="a real matrix")


def symmetric_matrix(value: Any, name: str, size: int, *, definite: bool) -> np.ndarray:
    """The symmetric part of a (semi)definite matrix [size, size]; the identity for None."""
    if value is None:
        return np.eye(size)
    array = checked_matrix(value, name)
    if array.shape != (size, size):
        raise ValueError(f"{name} must have shape ({size}, {size}), got {array.shape}.")
    return symmetric_part(array, name, definite=definite, eps=rounding_unit(value))
