"""Systems of other packages as matrices, by what they have and not by their class, and the hold that samples them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.lqr.hold import held, held_float64
from jaxlqr.matrix_equations.checks import MatrixLike, as_matrices, check_shapes, refuse_half


class StateSpace(NamedTuple):
    """The matrices A [n, n] and B [n, m] that a system holds, and its sampling time.

    Attributes:
        dt: 0 for continuous time; the sampling time in seconds, or True where it is not said, for discrete time.
    """

    A: Any
    B: Any
    dt: float


def zero_order_hold(A: MatrixLike, B: MatrixLike, dt: ArrayLike) -> tuple[Float[Array, "n n"], Float[Array, "n m"]]:
    r"""Discrete matrices of :math:`\dot x = A x + B u` when the input is held between samples.

    .. math:: \begin{bmatrix} A_d & B_d \\ 0 & I \end{bmatrix} =
              \exp\left(\begin{bmatrix} A & B \\ 0 & 0 \end{bmatrix} dt\right),
              \qquad x((t + 1)\,dt) = A_d\, x(t\,dt) + B_d\, u_t .

    Arguments:
        A: state matrix [n, n], in 1/seconds where ``dt`` is in seconds.
        B: input matrix [n, m].
        dt: sampling time, a scalar; it may be traced.

    Returns:
        The pair A_d [n, n], B_d [n, m]. Differentiable in all three, to any order and in both modes. Modes that decay
        within dt have their limit, zero. NaN, or an infinity, where an unstable mode overflows, and where A dt is
        beyond 2^127. A change of the units of states, inputs or time by powers of two changes no digit of the result.

    Raises:
        ValueError, TypeError: where shapes or dtypes do not fit.

    >>> A_d, B_d = zero_order_hold([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], 0.5)
    >>> A_d.tolist(), B_d.tolist()
    ([[1.0, 0.5], [0.0, 1.0]], [[0.125], [0.5]])

    Source: Van Loan, IEEE Trans. Automat. Control 23 (1978), section II, for the formula; the method is that of
    :mod:`jaxlqr.lqr.hold`.
    """
    a, b = as_matrices("zero_order_hold", A=A, B=B)
    check_shapes("zero_order_hold", A=(a, "nn"), B=(b, "nm"))
    refuse_half("zero_order_hold", dt=dt)
    step = jnp.asarray(dt, jnp.finfo(a.dtype).dtype)
    if step.ndim:
        raise ValueError(f"dt must be a scalar, got shape {step.shape}; use jax.vmap for several sampling times.")
    return held(a, b, step)


def sampled(A: np.ndarray, B: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """:func:`zero_order_hold` in float64 whatever the precision of JAX, for values that are checked afterwards."""
    a_d, b_d = held_float64(A, B, dt)
    if not (np.all(np.isfinite(a_d)) and np.all(np.isfinite(b_d))):
        raise ValueError(
            f"A, held over dt = {dt:g}, must stay finite, but exp(A dt) overflows; give a shorter dt, in the unit of "
            "time of A."
        )
    return a_d, b_d


def check_dt(dt: Any) -> float:
    """``dt`` as a positive, finite number of time units, or ``ValueError``."""
    try:
        if isinstance(dt, str | bytes):
            raise TypeError
        number = float(np.asarray(dt))
    except (TypeError, ValueError):
        raise ValueError(f"dt must be a number, the sampling time, got {dt!r}; write dt=0.01.") from None
    if isinstance(dt, bool) or not 0 < number < float("inf"):
        raise ValueError(f"dt must be a positive and finite sampling time, got {dt!r}.")
    return number


def is_system(value: Any) -> bool:
    """Whether this is a system of another package, or says that it can become one, and not a matrix."""
    return (hasattr(value, "A") and hasattr(value, "B") and hasattr(value, "dt")) or hasattr(value, "to_ss")


def read_system(system: Any) -> StateSpace:
    """The matrices of a ``control.StateSpace``, a ``scipy.signal.StateSpace`` or anything with ``A``, ``B``, ``dt``.

    Raises:
        ValueError: for transfer functions, whose states are nobody's, and where it is not said whether time is
            continuous.
    """
    kind = type(system).__name__
    if not hasattr(system, "A"):
        raise ValueError(
            f"a {kind} has no states to feed back; choose some first, with system.to_ss() or control.ss(system)."
        )
    dt = system.dt
    if dt is None and hasattr(system, "to_discrete"):
        dt = 0  # SciPy's continuous systems are those that can be made discrete
    if dt is None:
        raise ValueError(
            f"the {kind} does not say whether its time is continuous or discrete (dt is None); set its dt to 0 or to "
            "the sampling time."
        )
    if not _is_sampling_time(dt):
        raise ValueError(
            f"dt of the {kind} must be a sampling time, 0 for continuous time, or True where it is not known, "
            f"got {dt!r}; set it."
        )
    if not _is_identity(getattr(system, "E", None)):
        raise ValueError(
            f"the {kind} has a descriptor matrix E, as in E x' = A x + B u, which tasks do not have; where E is "
            "invertible, pass the matrices numpy.linalg.solve(E, A) and numpy.linalg.solve(E, B)."
        )
    return StateSpace(system.A, system.B, dt)


def _is_sampling_time(dt: Any) -> bool:
    try:
        return bool(0 <= float(dt) < float("inf"))  # True and 0 are numbers, too
    except (TypeError, ValueError):
        return False


def _is_identity(matrix: Any) -> bool:
    """Whether a descriptor matrix is absent, or the identity; an operator of another package is not."""
    if matrix is None:
        return True
    try:
        array = np.asarray(matrix, dtype=float)
    except (TypeError, ValueError):
        return False
    return array.ndim == 2 and array.shape[0] == array.shape[1] and bool(np.all(array == np.eye(len(array))))


def plain(value: Any) -> Any:
    """A tensor of torch, which NumPy refuses while it has a gradient or lies on another device, as NumPy's; else as is.

    Lists are the common form of all its types, bfloat16 included.
    """
    if hasattr(value, "detach") and hasattr(value, "tolist"):
        return value.detach().tolist()
    return value
