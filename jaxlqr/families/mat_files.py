"""MATLAB's files from strangers, versions 5 to 7: the real matrices in them, and nothing else of them.

Read here and not by ``scipy.io.loadmat``, which ends the process with a bus error for some corrupt files. A file is a
header of 128 bytes and elements, each a tag (type, bytes) with its content: a matrix, whose parts are elements again,
or the compressed form of one. What a count declares is held against the bytes that are there before anything is made.

Source: MathWorks, MAT-File Format, chapter 1.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_MOST_BYTES = 2**28  # of a file, of all that its compressed elements hold, and of a matrix that was sparse
_HEADER, _MATRIX, _COMPRESSED = 128, 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_SPARSE, _NUMERIC, _COMPLEX = 5, range(6, 16), 0x800
_NOTHING = (0, b"")  # in place of an element that is missing; no type is 0
_OTHER = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text"}


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the variables ``names`` that a ``.mat`` file holds, sparse ones as full matrices of float64.

    Raises:
        ValueError: when the file is of another kind (version 7.3 is HDF5; version 4 has no header), truncated or
            corrupt, is larger than 256 MiB or becomes so when it is decompressed, or a variable is no real matrix.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _Refused(f"this is larger than {_MOST_BYTES} bytes; save the matrices A and B alone.")
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:15] == b"MATLAB 7.3 MAT-":
        raise _Refused("this is of MATLAB's version 7.3, which is HDF5; save it with save(..., '-v7').")
    try:
        found = {}
        for matrix, order in _matrices(content):
            name, value = _matrix(matrix, order, names)
            if name in names:
                found[name] = value
        return found
    except _Refused:
        raise
    except (ValueError, KeyError, struct.error, zlib.error, OverflowError):
        raise ValueError(
            "this cannot be read as a MATLAB file of version 5 to 7; it is of another kind, truncated or corrupt."
        ) from None


class _Refused(ValueError):
    pass


def _matrices(content: bytes) -> Iterator[tuple[bytes, str]]:
    """The content of each matrix element, decompressed, and the byte order."""
    order = {b"IM": "<", b"MI": ">"}[content[126:128]]
    left = _MOST_BYTES
    for kind, data in _elements(content[_HEADER:], order):
        if kind == _COMPRESSED:
            machine = zlib.decompressobj()
            inner = machine.decompress(data, left)
            left -= len(inner)
            if machine.unconsumed_tail or left <= 0:
                raise _Refused(f"this holds more than {_MOST_BYTES} bytes; save the matrices A and B alone.")
            yield from ((part, order) for what, part in _elements(inner, order) if what == _MATRIX)
        elif kind == _MATRIX:
            yield data, order


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element of ``data``."""
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        begin = place + 8
        if kind >> 16:  # a small element: size and type share a word, and the content is in the next
            kind, size, begin = kind & 0xFFFF, kind >> 16, place + 4
            if size > 4:
                raise ValueError("a small element holds four bytes")
            place += 8
        else:
            # Compressed elements alone are not padded to eight bytes.
            place = begin + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if begin + size > len(data):
            raise ValueError("an element is longer than the file")
        yield kind, data[begin : begin + size]


def _matrix(data: bytes, order: str, names: tuple[str, ...]) -> tuple[str, np.ndarray]:
    """Name and value of a matrix; the value is empty unless the name is one of ``names``."""
    parts = _elements(data, order)
    (flags, _), shape, name = (_numbers(next(parts, _NOTHING), order) for _ in range(3))
    label = bytes(name.astype(np.uint8)).decode("latin-1")
    kind = int(flags) & 0xFF
    if label not in names:
        return label, np.empty((0, 0))
    if kind not in (_SPARSE, *_NUMERIC) or shape.size != 2 or int(flags) & _COMPLEX:
        what = "complex numbers" if int(flags) & _COMPLEX else _OTHER.get(kind, f"an array with {shape.size} axes")
        raise _Refused(f"{label} must be a real matrix, got {what}.")
    rows, columns = (int(size) for size in shape)
    if kind == _SPARSE:
        return label, _full(label, rows, columns, *(_numbers(next(parts, _NOTHING), order) for _ in range(3)))
    values = _numbers(next(parts, _NOTHING), order)
    if min(rows, columns) < 0 or values.size != rows * columns:
        raise ValueError("the matrix does not fill its shape")
    return label, values.astype(float).reshape(rows, columns, order="F")


def _full(
    name: str, rows: int, columns: int, indices: np.ndarray, starts: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The full matrix with ``values`` in the rows ``indices``; a column begins at its entry of ``starts``."""
    if min(rows, columns) < 0 or starts.size != columns + 1:
        raise ValueError("the columns do not fill the shape")
    if rows * columns * 8 > _MOST_BYTES:
        raise _Refused(f"{name} must be small enough to be a full matrix, got shape {(rows, columns)}.")
    counts, entries = np.diff(starts.astype(np.int64)), int(starts[-1])
    rows_of = indices[:entries].astype(np.int64)
    if starts[0] != 0 or np.any(counts < 0) or not entries == rows_of.size <= values.size:
        raise ValueError("the columns do not follow each other")
    if entries and not 0 <= rows_of.min() <= rows_of.max() < rows:
        raise ValueError("an index lies outside the matrix")
    full = np.zeros((rows, columns))
    full[rows_of, np.repeat(np.arange(columns), counts)] = values[:entries]
    return full


def _numbers(element: tuple[int, bytes], order: str) -> np.ndarray:
    kind, data = element
    return np.frombuffer(data, np.dtype(f"{order}{_TYPES[kind]}"))
