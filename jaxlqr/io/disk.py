"""Files in and out: written whole or not at all, and read only when they are regular and of a bounded size."""

import io
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_MOST_JSON = 2**24  # bytes; what jaxlqr writes as JSON to read it again has some thousands


def check_regular(path: Path) -> int:
    """Size in bytes of a regular file; raises an error for a device, a pipe or a socket before opening it.

    Raises:
        ValueError: when the path leads to anything but a regular file: reading such a thing may never end.
        OSError: when there is no such file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise ValueError(f"{path} must be a regular file, got {what}; save its content in a file first.")
    return status.st_size


def read_bounded(path: Path, most: int) -> bytes:
    """Content of a regular file of at most ``most`` bytes.

    Raises:
        ValueError: when the file is larger, or is no regular file.
        OSError: when it cannot be read.
    """
    size = check_regular(path)
    if size <= most:
        with path.open("rb") as file:
            content = file.read(most + 1)  # the file may have grown, and files in /proc report a size of zero
        if len(content) <= most:
            return content
        size = len(content)
    raise ValueError(f"{path} must not be larger than {most} bytes, got {size}; save only what is needed in it.")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file that jaxlqr wrote.

    Raises:
        ValueError: in one sentence, when the file is too large, or is no JSON, or no object, or repeats a name.
        OSError: when it cannot be read.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "run.json").write_text("[1]")
    ...     read_json(Path(folder) / "run.json")
    Traceback (most recent call last):
    ValueError: it must hold a JSON object, got list
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("it must not repeat a name")
        return dict(pairs)

    try:
        found = json.loads(read_bounded(path, _MOST_JSON), object_pairs_hook=once)
    except RecursionError:
        raise ValueError("it must be JSON of few levels, got too deep a nesting") from None
    if not isinstance(found, dict):
        raise ValueError(f"it must hold a JSON object, got {type(found).__name__}")
    return found


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Arrays by name as the content of a compressed ``.npz`` file.

    >>> npz_bytes({"a": np.zeros(3)})[:2]
    b'PK'
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write_aside(path: Path, content: bytes) -> Path:
    """Write what shall become ``path`` under a temporary name in the same folder, to the disk, and return that name.

    If the write fails, the temporary file is removed. Each process uses its own temporary name.
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
