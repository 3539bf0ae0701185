"""MATLAB's files from strangers, versions 5 to 7: the real matrices in them, and nothing else of them.

Read here and not by ``scipy.io.loadmat``, which ends the process with a bus error for some corrupt files. A file is a
header of 128 bytes and elements, each a tag (type, bytes) with its content: a matrix, whose parts are elements again,
or the compressed form of one. Each declared count is compared with the available bytes before any allocation.

Source: MathWorks, MAT-File Format, chapter 1.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxlqr.core.limits import MOST_STATES, MOST_TASK_BYTES
from jaxlqr.io.disk import read_bounded

_MOST_BYTES = MOST_TASK_BYTES  # of a file, of all that its compressed elements hold, and of a matrix that was sparse
_HEADER, _MATRIX, _COMPRESSED = 128, 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_SPARSE, _NUMERIC, _COMPLEX = 5, range(6, 16), 0x800
_NOTHING = (0, b"")  # in place of an element that is missing; no type is 0
_CELL, _MOST_CELLS = 1, 100_000
_OTHER = {2: "a struct", 3: "an object", 4: "text"}


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The variables of a ``.mat`` file that are in ``names``: full matrices [n, m] of float64, also for sparse ones,
    and stacks of them [M, n, m] for arrays with three axes, whose last one comes first, and for cell arrays.

    Raises:
        ValueError: when the file is of another kind (version 7.3 is HDF5; version 4 has no header), truncated or
            corrupt, is larger than 256 MiB or becomes so when it is decompressed, or a variable is no real matrix.
    """
    content = read_bounded(path, _MOST_BYTES)
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:15] == b"MATLAB 7.3 MAT-":
        raise _Refused("this is of MATLAB's version 7.3, which is HDF5; save it with save(..., '-v7').")
    try:
        found = {}
        for matrix, order in _matrices(content):
            name, value = _matrix(matrix, order, names)
            if name in found:
                raise _Refused(f"this must hold one variable {name}, got two; save it again.")
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
            if not machine.eof:  # zlib raises nothing if the checksum at the end is missing too
                raise ValueError("a compressed element was cut off")
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
    """Name and value of a variable; the value is empty unless the name is one of ``names``."""
    parts = _elements(data, order)
    (flags, _), shape, name = (_numbers(next(parts, _NOTHING), order) for _ in range(3))
    label = bytes(name.astype(np.uint8)).decode("latin-1")
    if label not in names:
        return label, np.empty((0, 0))
    return label, _value(label, int(flags), [int(size) for size in shape], parts, order)


def _value(label: str, flags: int, shape: list[int], parts: Iterator[tuple[int, bytes]], order: str) -> np.ndarray:
    """A real matrix, or a stack of them: MATLAB's A(:, :, k) and A{k} are entry k."""
    kind = flags & 0xFF
    if kind == _CELL:
        return _stacked_cells(label, math.prod(shape), parts, order)
    if kind not in (_SPARSE, *_NUMERIC) or len(shape) not in (2, 3) or flags & _COMPLEX:
        what = "complex numbers" if flags & _COMPLEX else _OTHER.get(kind, f"an array with {len(shape)} axes")
        raise _Refused(f"{label} must be a real matrix, an array A(:, :, k) or a cell array of matrices, got {what}.")
    if kind == _SPARSE:
        rows, columns = shape
        return _full(label, rows, columns, *(_numbers(next(parts, _NOTHING), order) for _ in range(3)))
    values = _numbers(next(parts, _NOTHING), order)
    if min(shape) < 0 or values.size != math.prod(shape):
        raise ValueError("the matrix does not fill its shape")
    full = values.astype(float).reshape(shape, order="F")
    return full if len(shape) == 2 else np.moveaxis(full, 2, 0)


def _stacked_cells(label: str, count: int, parts: Iterator[tuple[int, bytes]], order: str) -> np.ndarray:
    """The matrices of a cell array, one behind the other."""
    if not 0 < count <= _MOST_CELLS:
        raise _Refused(f"{label} must be a cell array of 1 to {_MOST_CELLS} matrices, got {count} cells.")
    matrices = []
    for number in range(count):
        content = _elements(next(parts, _NOTHING)[1], order)
        (flags, _), shape, _ = (_numbers(next(content, _NOTHING), order) for _ in range(3))
        if int(flags) & 0xFF not in _NUMERIC or shape.size != 2:
            raise _Refused(f"{label} must be a cell array of full real matrices, got something else in cell {number}.")
        matrices.append(_value(label, int(flags), [int(size) for size in shape], content, order))
    shapes = sorted({matrix.shape for matrix in matrices})
    if len(shapes) > 1:
        raise _Refused(f"{label} must be a cell array of matrices of one shape, got {shapes[0]} and {shapes[1]}.")
    return np.stack(matrices)


def _full(
    name: str, rows: int, columns: int, indices: np.ndarray, starts: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The full matrix with ``values`` in the rows ``indices``; a column begins at its entry of ``starts``."""
    if min(rows, columns) < 0 or starts.size != columns + 1:
        raise ValueError("the columns do not fill the shape")
    if max(rows, columns) > MOST_STATES:  # a sparse matrix of some kB may be a full one of GB
        raise _Refused(
            f"{name} must be small enough to be a full matrix, with at most {MOST_STATES} rows and columns, got shape "
            f"{(rows, columns)}; reduce the order of the model first."
        )
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
