"""Reads systems of other packages as matrices; recognises them by their attributes, not by their class."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class ForeignSystem(NamedTuple):
    """The matrices A [n, n], B [n, m], C [p, n] and D [p, m] of a system, its sampling time and names.

    Attributes:
        C, D: None where the system has none.
        dt: 0 for continuous time; for discrete time the sampling time in seconds, or True if it is not specified.
        names: of states, inputs and outputs; each a tuple, or None.
    """

    A: Any
    B: Any
    C: Any
    D: Any
    dt: float
    names: dict[str, tuple[str, ...] | None]


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
    """Whether this is a system of another package, or can be converted to one, and is not a matrix."""
    return (hasattr(value, "A") and hasattr(value, "B") and hasattr(value, "dt")) or hasattr(value, "to_ss")


def read_system(system: Any) -> ForeignSystem:
    """The matrices of a ``control.StateSpace``, a ``scipy.signal.StateSpace`` or anything with ``A``, ``B``, ``dt``.

    Raises:
        ValueError: for transfer functions, which define no states, and if the time domain is not specified.
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
            f"the {kind} has a descriptor matrix E, as in E x' = A x + B u, which is not supported; where E is "
            "invertible, pass the matrices numpy.linalg.solve(E, A) and numpy.linalg.solve(E, B)."
        )
    labels = {"states": "state_labels", "inputs": "input_labels", "outputs": "output_labels"}
    names = {key: _own_names(getattr(system, label, None)) for key, label in labels.items()}
    return ForeignSystem(system.A, system.B, getattr(system, "C", None), getattr(system, "D", None), dt, names)


def _own_names(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names that a user gave; None for those that python-control invents, as x[0] and u[1]."""
    if not labels or all(re.fullmatch(r"[xuy]\[\d+\]", str(label)) for label in labels):
        return None
    return tuple(str(label) for label in labels)


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
    """A torch tensor as a NumPy array (NumPy raises for tensors with gradients or on other devices); other values
    unchanged.

    Lists are the common form of all its types, bfloat16 included.
    """
    if hasattr(value, "detach") and hasattr(value, "tolist"):
        return value.detach().tolist()
    return value
