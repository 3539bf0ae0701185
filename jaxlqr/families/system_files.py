"""One linear system in a file: matrices A, B, C, D and a sampling time, for NumPy and for MATLAB."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from jaxlqr.families.mat_files import read_mat
from jaxlqr.families.numpy_files import read_numpy
from jaxlqr.io.disk import npz_bytes, write_whole
from jaxlqr.systems import StateSpace, ss

_MATRICES = ("A", "B", "C", "D")
_NAMES = ("states", "inputs", "outputs")


def load_system(path: str | Path) -> StateSpace:
    """The :class:`jaxlqr.systems.StateSpace` in a ``.npz`` or ``.mat`` file.

    Arguments:
        path: a file with matrices ``A`` and ``B``, and, where the system has them, ``C``, ``D`` and the sampling time
            ``Ts``. Ts is 0, or is left out, for continuous time; -1 stands for a sampling time that is not known and
            becomes 1. A ``.npz`` may hold the names ``states``, ``inputs`` and ``outputs`` as arrays of text.

    Raises:
        ValueError: if the file is of another kind, truncated or corrupt, lacks A or B, or has a descriptor matrix E;
            and as :func:`jaxlqr.systems.ss`. The message names the file.
        OSError: where the file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_system(Path(folder) / "plant.npz", ss([[0.5]], [[1.0]], dt=0.1, inputs=["force"]))
    ...     load_system(Path(folder) / "plant.npz").inputs
    ('force',)
    """
    path = Path(path)
    try:
        return _system(_arrays(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_system(path: str | Path, system: StateSpace) -> None:
    """Write a system to a ``.npz`` or ``.mat`` file, whole or not at all; :func:`load_system` reads it.

    A ``.mat`` file, of version 5, holds A, B, C, D and Ts, which is 0 for continuous time: ``ss(A, B, C, D, Ts)`` in
    MATLAB. It does not hold names of signals.

    Raises:
        ValueError: for a stack of systems, and another ending of the name.
    """
    path = Path(path)
    if np.ndim(system.A) != 2:
        raise ValueError(f"system must be one system, got a stack with A of shape {np.shape(system.A)}; take one out.")
    arrays: dict[str, Any] = {name: np.asarray(getattr(system, name)) for name in _MATRICES}
    arrays["Ts"] = np.zeros((1, 1)) if system.dt is None else np.asarray(system.dt, float).reshape(1, 1)
    if path.suffix == ".npz":
        named = {name: getattr(system, name) for name in _NAMES}
        write_whole(
            path, npz_bytes(arrays | {key: np.array(value) for key, value in named.items() if value is not None})
        )
    elif path.suffix == ".mat":
        content = io.BytesIO()
        scipy.io.savemat(content, {name: np.asarray(value, float) for name, value in arrays.items()})
        write_whole(path, content.getvalue())
    else:
        raise _unknown(path)


def _unknown(path: Path) -> ValueError:
    return ValueError(f"path must end in .npz or .mat, got {path.name!r}; rename the file.")


def _arrays(path: Path) -> dict[str, Any]:
    wanted = (*_MATRICES, "Ts", "E")
    if path.suffix == ".mat":
        return read_mat(path, wanted)
    if path.suffix != ".npz":
        raise _unknown(path)
    wanted = (*wanted, *_NAMES)
    found = read_numpy(path, lambda names: [name for name in names if name in wanted])
    if not isinstance(found, dict):
        raise ValueError("this must be a .npz file, got a single array; save it with numpy.savez.")
    return found


def _system(found: dict[str, Any]) -> StateSpace:
    missing = [name for name in ("A", "B") if name not in found]
    if missing:
        raise ValueError(f"the file must hold A and B, got no {' and no '.join(missing)}; save the matrices by name.")
    e = found.get("E")
    if e is not None and e.size and not (e.ndim == 2 and e.shape[0] == e.shape[1] and np.all(e == np.eye(len(e)))):
        raise ValueError("the file has E, a descriptor matrix; save E\\A as A and E\\B as B, without E.")
    ts = np.asarray(found.get("Ts", 0.0))
    if ts.size != 1:
        raise ValueError(f"Ts must be one sampling time, got {ts.size} numbers; save one.")
    number = float(ts.reshape(-1)[0])
    names = {key: [str(name) for name in found[key]] for key in _NAMES if key in found}
    return ss(*(found.get(name) for name in _MATRICES), dt=True if number == -1 else number or None, **names)
