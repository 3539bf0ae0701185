"""MATLAB's files from strangers, up to version 7: nothing is decompressed or made dense beyond a limit.

A file is a header of 128 bytes and elements, each a tag (type, bytes) with its content; most are compressed.
"""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from jaxlqr.families.numpy_files import is_of_the_disk

_MOST_BYTES = 2**28  # of a file, and again of all that its compressed elements hold
_MOST_ROWS = 10_000  # of a matrix that was sparse
_HEADER, _TAG, _COMPRESSED = 128, 8, 15
_WHAT = "this cannot be read as a MATLAB file of version 5 to 7; it is of another kind, truncated or corrupt."


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the variables ``names`` that a ``.mat`` file holds, sparse ones as full matrices.

    Raises:
        ValueError: when the file is of another kind (version 7.3 is HDF5; version 4 has no header), truncated or
            corrupt, is larger than 256 MiB or becomes so when it is decompressed, or a variable is no real matrix.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise _Refused(f"this is larger than {_MOST_BYTES} bytes; save the matrices A and B alone.")
        if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:19] == b"MATLAB 7.3 MAT-file":
            raise _Refused("this is of MATLAB's version 7.3, which is HDF5; save it with save(..., '-v7').")
        from scipy.io import loadmat  # on first use: no other way into the package needs it

        found = loadmat(BytesIO(_decompressed(content)), variable_names=list(names), struct_as_record=True)
        return {name: _matrix(found[name], name) for name in names if name in found}
    except _Refused:
        raise
    except Exception as error:  # parsers of strangers' bytes raise anything
        if is_of_the_disk(error):
            raise
        raise ValueError(_WHAT) from None


class _Refused(ValueError):
    pass


def _decompressed(content: bytes) -> bytes:
    """The same file with no element compressed, so that the parser allocates what is there and no more."""
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise _Refused(_WHAT)
    order = "<" if content[126:128] == b"IM" else ">"
    parts, place, left = [content[:_HEADER]], _HEADER, _MOST_BYTES
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        end = place + _TAG + size
        if end > len(content):
            raise _Refused(_WHAT)
        if kind == _COMPRESSED:
            machine = zlib.decompressobj()
            part = machine.decompress(content[place + _TAG : end], left)
            left -= len(part)
            if machine.unconsumed_tail or left <= 0:
                raise _Refused(f"this holds more than {_MOST_BYTES} bytes; save the matrices A and B alone.")
        else:
            part = content[place:end]
        parts.append(part)
        place = end
    return b"".join(parts)


def _matrix(value: Any, name: str) -> np.ndarray:
    if hasattr(value, "toarray"):  # sparse
        if max(value.shape) > _MOST_ROWS:
            raise _Refused(f"{name} must have at most {_MOST_ROWS} rows and columns, got {value.shape}.")
        value = value.toarray()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb" or value.ndim != 2:
        kind = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise _Refused(f"{name} must be a real matrix, got {kind}.")
    return value.astype(float)
