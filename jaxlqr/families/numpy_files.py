"""NumPy's files from strangers: no pickle, no allocation that a header asks for and the content does not fill."""

import errno
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

_MOST_BYTES = 2**34  # of all arrays together
_MOST_HEADER = 10_000  # characters, NumPy's own limit


def read_numpy(path: Path) -> Any:
    """The content of a ``.npy`` file, or a dictionary of that of a ``.npz``, read completely.

    Raises:
        ValueError: when the file is of another kind, truncated or corrupt, declares an array that its content does not
            fill, holds more than 16 GiB, or needs a pickle, which is refused.
    """
    try:
        with path.open("rb") as file:  # opened here, because numpy leaves a corrupt file open
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    _check_archive(archive)
            else:
                file.seek(0, 2)
                size = file.tell()
                file.seek(0)
                _check_array(file, size)
            file.seek(0)
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}
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
    """Whether an error is the system's, to be said in its words, and not the content's: a corrupt offset is one too."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


class _Refused(ValueError):
    pass


def _check_archive(archive: zipfile.ZipFile) -> None:
    total = 0
    for info in archive.infolist():
        total += info.file_size
        if total > _MOST_BYTES:
            raise _Refused(f"this declares arrays of {total} bytes, more than {_MOST_BYTES}; split it.")
        if info.filename.endswith(".npy"):
            with archive.open(info) as member:
                _check_array(member, info.file_size)


def _check_array(file: IO[bytes], size: int) -> None:
    """Hold the shape that a header declares against the bytes that follow it."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=_MOST_HEADER)
    if dtype.hasobject:
        return  # refused by numpy, with its reason
    declared, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != held:
        raise _Refused(
            f"this declares an array of shape {shape}, {declared} bytes, and holds {held}; it is truncated or corrupt."
        )
