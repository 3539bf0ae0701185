"""Files that are complete, old or new, whatever happens: written aside, brought to the disk, then renamed."""

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Arrays by name as the content of a compressed ``.npz`` file.

    >>> npz_bytes({"a": np.zeros(3)})[:2]
    b'PK'
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write_aside(path: Path, content: bytes) -> Path:
    """Write what shall become ``path`` under a name of its own in the same folder, to the disk, and return that name.

    Whoever fails leaves nothing behind; two processes that write the same file do not meet.
    """
    handle, made = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename may otherwise reach the disk before the content does
        Path(made).chmod(0o666 & ~_umask())  # mkstemp is private; results are as shared as any new file
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
    return Path(made)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is complete, old or new, whatever happens.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "a", b"content")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a']
    """
    partial = write_aside(path, content)
    try:
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
