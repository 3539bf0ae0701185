"""Reads NumPy's files from unknown sources: no pickle, and no allocation larger than the content of the file."""

import errno
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxlqr.core.limits import MOST_TASK_BYTES
from jaxlqr.io.disk import check_regular

_MOST_HEADER = 10_000  # characters, NumPy's own limit
_MOST_MEMBERS = 1000


def read_numpy(path: Path, choose: Callable[[list[str]], Sequence[str]] = lambda names: names) -> Any:
    """The array of a ``.npy`` file, or a dictionary of the arrays of a ``.npz`` file, read completely.

    Arguments:
        path: the file.
        choose: from the names in a ``.npz`` those to read; the others are not decompressed. It may raise ValueError.

    Raises:
        ValueError: when the file is of another kind, truncated or corrupt, declares an array that its content does not
            fill, holds more than 256 MiB or two arrays of one name, or needs a pickle.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:  # opened here, because numpy leaves a corrupt file open
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    members = _members(archive)
                    try:
                        chosen = choose(list(members))
                    except ValueError as error:
                        raise _Refused(str(error)) from None
                    _check_archive(archive, [members[name] for name in chosen])
                    return {name: _read_member(archive, members[name]) for name in chosen}
            file.seek(0, 2)
            size = file.tell()
            file.seek(0)
            _check_total(size)
            _check_array(file, size)
            file.seek(0)
            return np.load(file, allow_pickle=False)
    except _Refused:
        raise
    except Exception as error:  # parsers of strangers' bytes raise anything: eleven types were seen by mutating files
        if is_of_the_disk(error):
            raise
        if "Object arrays" in str(error):
            raise ValueError(
                "this holds arrays of Python objects, which are not read because a pickle can run code; save plain "
                "numeric arrays."
            ) from None
        raise ValueError("this cannot be read as a NumPy file; it is of another kind, truncated or corrupt.") from None


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error comes from the operating system, whose message is kept, and not from the content; a corrupt
    offset also causes one."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


class _Refused(ValueError):
    pass


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by the names of the arrays."""
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise _Refused(f"this must hold at most {_MOST_MEMBERS} arrays, got {len(infos)}; save those needed alone.")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise _Refused(f"this must hold one array {name!r}, got two; save it again.")
        members[name] = info
    return members


def _check_archive(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
    _check_total(sum(info.file_size for info in members))
    for info in members:
        with archive.open(info) as member:
            _check_array(member, info.file_size)


def _check_total(size: int) -> None:
    if size > MOST_TASK_BYTES:
        raise _Refused(f"this declares arrays of {size} bytes, more than {MOST_TASK_BYTES}; split it.")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:  # zipfile yields no more bytes than the archive declares
        return np.lib.format.read_array(member, allow_pickle=False, max_header_size=_MOST_HEADER)


def _check_array(file: IO[bytes], size: int) -> None:
    """Hold the shape that a header declares against the bytes that follow it."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=_MOST_HEADER)
    if dtype.hasobject:
        return  # numpy raises with its reason
    declared, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != held:
        raise _Refused(
            f"this declares an array of shape {shape}, {declared} bytes, and holds {held}; it is truncated or corrupt."
        )
