"""The systems of a ``.mat`` file as a user means them: which matrices are used, and which must not be passed over."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlqr.families.mat_files import read_mat

_USED = ("A", "B", "B1", "B2", "Q", "R", "Sigma0", "K0", "Ts")
#: Matrices that change the meaning of A, B, Q and R, each with its description and the remedy.
_CHANGING = {
    "E": ("descriptor matrix of E x' = A x + B u", "save E\\A as A and E\\B as B, without E, where E is invertible"),
    "N": (
        "cross term 2 x' N u of the cost",
        "save A - B*(R\\N') as A and Q - N*(R\\N') as Q, without N, and add R\\N' to the gains",
    ),
    "S": (
        "cross term 2 x' S u of the cost",
        "save A - B*(R\\S') as A and Q - S*(R\\S') as Q, without S, and add R\\S' to the gains",
    ),
}


def read_system_file(path: Path, dt: float | None) -> dict[str, np.ndarray]:
    """The systems of a ``.mat`` file, A and B as stacks.

    Raises:
        ValueError: if the file has a matrix E, N or S, which changes the system or the cost; if ``dt`` and Ts do not
            fit each other; and as :func:`read_mat`.
    """
    found = read_mat(path, (*_USED, *_CHANGING))
    disturbances, controls = found.pop("B1", None), found.pop("B2", None)
    if "B" not in found and controls is not None:
        found["B"] = controls
    _check_nothing_changes_it(found)
    # Without a sampling time a .npz is in discrete time; MATLAB's systems, as COMPleib's, are not.
    check_time(found.pop("Ts", np.zeros((1, 1))), dt)
    if "B" not in found and disturbances is not None:
        raise ValueError("the file has B1 only, the input of disturbances; save that of the controls as B.")
    # One system where no matrix is a stack, else one matrix for all where A or B is alone.
    counts = {len(value) for name, value in found.items() if name in ("A", "B") and value.ndim == 3}
    count = max(counts, default=1)
    return {
        name: np.broadcast_to(value, (count, *value.shape)) if name in ("A", "B") and value.ndim == 2 else value
        for name, value in found.items()
        if name not in _CHANGING
    }


def _check_nothing_changes_it(found: Mapping[str, np.ndarray]) -> None:
    for name, (what, remedy) in _CHANGING.items():
        value = found.get(name)
        if value is None or value.size == 0:
            continue
        if name == "E":
            neutral = value.shape[-2] == value.shape[-1] and bool(np.all(value == np.eye(value.shape[-1])))
        else:
            # [K, S, e] = lqr(...) of MATLAB leaves the solution of the Riccati equation under this name, too.
            is_solution = name == "S" and "B" in found and found["B"].shape[-1] != value.shape[-1]
            neutral = is_solution or not np.any(value)
        if not neutral:
            raise ValueError(f"the file has {name}, the {what}, which tasks do not have; {remedy}.")


def check_time(Ts: Any, dt: float | None) -> None:
    """Raise ``ValueError`` unless exactly one of the file, by its Ts, and ``dt`` gives a sampling time.

    A positive Ts, or MATLAB's -1 for an unspecified sampling time, means discrete time. 0 means continuous time.
    """
    value = np.asarray(Ts)
    number = float(value.reshape(-1)[0]) if value.size == 1 else None
    if number is None or not np.isfinite(number) or (number < 0 and number != -1):
        got = number if number is not None else value.reshape(-1)[:4].tolist()
        raise ValueError(
            f"Ts must be one sampling time, 0 for continuous time, or -1 where it is not known, got {got}; save the "
            "sampling time as Ts, or leave Ts out."
        )
    discrete = number != 0
    if discrete == (dt is not None):
        raise ValueError(
            "the file has a sampling time Ts, so its system is in discrete time; leave dt out."
            if discrete
            else "the system is in continuous time, as those of COMPleib are; give the sampling time dt of a "
            "zero-order hold, such as 0.1, or, if it is in discrete time, save its sampling time as Ts in the file."
        )
