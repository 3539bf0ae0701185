"""Files of drawings, read with suspicion: PNGs from zip archives and folders, packed to bits, cached, and resized."""

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxlqr.families.numpy_files import is_of_the_disk
from jaxlqr.io.disk import check_regular, npz_bytes
from jaxlqr.io.locking import CheckpointError
from jaxlqr.io.store import Parts

_MOST_BYTES = 1 << 20  # of one compressed drawing; those of Omniglot have less than a thousandth of it
_MOST_TOTAL = 1 << 28  # bytes of all compressed drawings; those of Omniglot have 10 MB
_MOST_PIXELS = 1 << 29  # of all drawings, a byte each; Omniglot has 32,460 of 105 x 105, two thirds of it
_FORMAT = 2  # of the cache


class Entry(NamedTuple):
    """One file of a source: the source's name, the path inside it, its content."""

    source: str
    path: PurePosixPath
    content: bytes


def find_sources(root: str | Path, pattern: str) -> list[Path]:
    """The archives and folders in ``root`` whose names match the pattern, or ``root`` itself if it is an archive, or if
    it is a folder with none of them in it.

    Raises:
        ValueError: when there is no ``root``.
    """
    root = Path(root)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ValueError(f"the data folder {root} does not exist; give a folder that holds the Omniglot files.")
    found = [path for path in sorted(root.iterdir()) if re.fullmatch(pattern, path.name) and _is_source(path)]
    return found or [root]


def _is_source(path: Path) -> bool:
    return path.is_dir() or (path.suffix == ".zip" and path.is_file())


def read_entries(source: Path, wanted: re.Pattern[str]) -> Iterator[Entry]:
    """Files of an archive or a folder whose path inside it matches, in order. Nothing is extracted.

    Raises:
        ValueError: for an archive that is truncated or corrupt, a path that leads out of the source, a huge file.
    """
    if source.is_dir():
        yield from _read_folder(source, wanted)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            _check_total(sum(info.file_size for info in archive.infolist()), str(source))
            for info in sorted(archive.infolist(), key=lambda one: one.filename):
                path = PurePosixPath(info.filename.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
                    raise ValueError(f"{source}: the archive holds the path {info.filename!r}, which leads out of it.")
                if wanted.search(str(path)):
                    _check_size(info.file_size, f"{source}: {path}")
                    yield Entry(source.name, path, archive.read(info))
    except Exception as error:  # zipfile raises many types for content that is not its own, or that ends early
        if is_of_the_disk(error) or str(source) in str(error):
            raise
        raise ValueError(
            f"{source} cannot be read as a zip archive; it is truncated, corrupt or of another kind ({error}); fetch "
            "it again."
        ) from None


def _read_folder(folder: Path, wanted: re.Pattern[str]) -> Iterator[Entry]:
    inside, total = os.path.realpath(folder), 0
    for path in sorted(folder.rglob("*")):
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_dir() or not wanted.search(str(relative)):
            continue
        if not Path(os.path.realpath(path)).is_relative_to(inside):
            raise ValueError(f"{path} is a link that leads out of the data folder.")
        size = check_regular(path)
        total += size
        _check_size(size, str(path))
        _check_total(total, str(folder))
        yield Entry(folder.name, relative, path.read_bytes())


def _check_size(size: int, name: str) -> None:
    if size > _MOST_BYTES:
        raise ValueError(f"{name} has {size} bytes, which no drawing has; the limit is {_MOST_BYTES}.")


def _check_total(size: int, name: str) -> None:
    if size > _MOST_TOTAL:
        raise ValueError(f"{name} must hold drawings of at most {_MOST_TOTAL} bytes, got {size}; split it.")


class Pixels:
    """Counts the pixels of stored drawings, and raises an error above the memory limit."""

    def __init__(self) -> None:
        self._total = 0

    def add(self, entry: Entry) -> np.ndarray:
        """The :func:`ink` of a drawing; the size in its header is counted before it is decoded."""
        header = entry.content[16:24]  # of a PNG: width and height
        self._total += int.from_bytes(header[:4], "big") * int.from_bytes(header[4:], "big")
        if self._total > _MOST_PIXELS:
            raise ValueError(
                f"{entry.source} must hold drawings of at most {_MOST_PIXELS} pixels in all, and exceeds them with "
                f"{entry.path}; make the drawings smaller, or fewer."
            )
        return ink(entry)


def ink(entry: Entry) -> np.ndarray:
    """Where the drawing of a PNG file is dark, [height, width], booleans.

    Raises:
        ValueError: naming the file, when it is no image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(entry.content), formats=["PNG"]) as image:
            if max(image.size) > 1024:
                raise ValueError(f"its size is {image.size}")
            return np.asarray(image.convert("L")) < 128
    except Exception as error:  # PIL raises SyntaxError, struct.error and more for a broken PNG
        raise ValueError(f"{entry.source}: {entry.path} is not a readable PNG drawing ({error}).") from None


def resize(bits: np.ndarray, side: int) -> np.ndarray:
    """Share of ink in each of side x side equal parts of square drawings [..., n, n], in bytes.

    >>> resize(np.eye(4, dtype=bool), 2).tolist()
    [[128, 0], [0, 128]]
    """
    size = bits.shape[-1]
    edges = np.linspace(0, size, side + 1)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    share = (np.clip(overlap, 0, None) * side / size).astype(np.float32)
    flat = bits.reshape(-1, size, size)
    rows = [
        np.rint(255 * (share @ part.astype(np.float32) @ share.T))
        for part in np.array_split(flat, 1 + len(flat) // 512)
    ]
    return np.concatenate(rows).astype(np.uint8).reshape(*bits.shape[:-2], side, side)


def fingerprint(sources: list[Path]) -> str:
    """Digest of the content of archives, and of the names, sizes and times of the files of folders."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    for source in sources:
        digest.update(source.name.encode())
        if source.is_dir():
            for path in sorted(source.rglob("*.png")):
                status = path.stat()
                digest.update(f"{path.relative_to(source)} {status.st_size} {status.st_mtime_ns}\n".encode())
        else:
            check_regular(source)
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


def user_cache() -> Path:
    """Folder for what can be made again, by the conventions of the system's desktop."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxlqr"


class Cache:
    """Arrays that can be made again: kept in a folder if it can be written, and made again where they are damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = Cache(Path(folder))
    ...     cache.put("squares", {"of": np.arange(3) ** 2})
    ...     cache.get("squares")["of"].tolist(), cache.get("cubes")
    ([0, 1, 4], None)
    """

    def __init__(self, folder: Path) -> None:
        self._parts = Parts(folder, ".npz", then="it is made again")

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Arrays of an earlier :meth:`put` of this key; None when there are none, or they are damaged."""

        def arrays(content: bytes) -> dict[str, np.ndarray]:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}

        return self._parts.get(key, arrays)

    def put(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Write arrays, whole or not at all; a folder that cannot be written is left as it is."""
        with suppress(CheckpointError):
            self._parts.put(key, npz_bytes(arrays))
