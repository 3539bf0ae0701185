"""Result files that are complete or absent: nothing half-written is left, and a failed run costs no earlier result."""

import enum
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.io.disk import npz_bytes, write_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class OutputError(ValueError):
    """An output folder that cannot be used, or a value that cannot be written."""


def check_folder(path: str | Path) -> Path:
    """Check, before the work begins, that the folder ``path`` can be created and written; leaves no trace.

    Raises:
        OutputError: naming the obstacle: a file in the way, or a folder that cannot be written.

    >>> check_folder("results").name
    'results'
    """
    path = Path(path)
    # The nearest thing that exists decides; is_dir() is False below a regular file, so that file is found here too.
    existing = path.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"the output folder {path} cannot be created, because {existing} exists and is not a folder.")
    try:
        # Only a trial works on every file system, and for root, whom permissions do not restrict.
        with tempfile.TemporaryDirectory(prefix=".jaxlqr-", dir=existing) as trial:
            if existing != path.absolute():
                (Path(trial) / path.absolute().relative_to(existing)).mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"the output folder {path} cannot be written: {error.strerror or error}.") from None
    return path


def check_inputs(folder: Path, names: Iterable[str], inputs: Iterable[str | Path | None]) -> None:
    """Check that no file of ``names`` in the folder is one of the ``inputs`` of the run.

    Raises:
        OutputError: naming the input that a result would replace.
    """
    results = [folder / name for name in names]
    for path in (Path(path) for path in inputs if path is not None):
        for result in results:
            # By name as well, because the input may be a link in the output folder.
            same_name = os.path.realpath(path.parent) == os.path.realpath(folder) and path.name == result.name
            if same_name or (result.exists() and path.exists() and result.samefile(path)):
                raise OutputError(f"the input file {path} would be replaced by a result; choose another output folder.")


class OutputFolder:
    """A set of files that appear in the folder ``path`` together, when the ``with`` block ends without an error.

    The folder, and those ``names`` of files that are known by then, are checked on construction, so construct it before
    the work begins. ``inputs`` are files that the run reads; a name that would replace one of them raises an error.
    Files are prepared in memory and on exit written to temporary names in the folder, then renamed. The renames follow
    one another, in the order of the calls: each file is complete, old or new, after any failure. Write the summary
    last: its presence then shows that all files exist. When the block raises, nothing is written and no folder is
    created.

    Raises:
        OutputError: when the folder cannot be created or written, or a file name in it is taken by a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as base:
    ...     with OutputFolder(Path(base) / "run") as folder:
    ...         folder.write_json("summary.json", {"gap": float("nan")})
    ...     (Path(base) / "run" / "summary.json").read_text()
    '{\\n  "gap": null\\n}\\n'
    """

    def __init__(
        self, path: str | Path, names: Iterable[str] = (), *, inputs: Iterable[str | Path | None] = ()
    ) -> None:
        self.path: Path = check_folder(path)
        self._files: dict[str, bytes] = {}
        names = tuple(names)
        for name in names:
            self._check_name(name)
        check_inputs(self.path, names, inputs)

    def __enter__(self) -> "OutputFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if kind is None:
            self._publish()
        self._files.clear()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Add the file ``name``, a plain file name."""
        self._check_name(name)
        self._files[name] = content

    def write_json(self, name: str, value: Any) -> None:
        """Add ``value`` as JSON, converted by :func:`to_plain`: NaN and infinities become null."""
        text = json.dumps(to_plain(value), indent=2, allow_nan=False, ensure_ascii=False)
        self.write_bytes(name, (text + "\n").encode(errors="backslashreplace"))  # bytes in names of files

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Add arrays as a compressed ``.npz``, to be read with ``numpy.load(..., allow_pickle=False)``."""
        converted = {key: np.asarray(value) for key, value in arrays.items()}
        for key, array in converted.items():
            if array.dtype.hasobject:
                raise OutputError(f"array {key!r} of {name} must be numeric, got dtype {array.dtype}.")
        self.write_bytes(name, npz_bytes(converted))

    def write_figure(self, name: str, figure: "Figure", *, dpi: float = 150) -> None:
        """Add a matplotlib figure in the format given by the suffix of ``name``."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format=PurePath(name).suffix.lstrip(".") or "png", dpi=dpi)
        self.write_bytes(name, buffer.getvalue())

    def _check_name(self, name: str) -> None:
        if name in ("", ".", "..") or PurePath(name).name != name:
            raise OutputError(f"the name of an output file must be plain, without folders, got {name!r}.")
        if (self.path / name).is_dir():
            raise OutputError(f"the output file {self.path / name} cannot be written, because a folder has its name.")

    def _publish(self) -> None:
        created: list[Path] = []
        temporary: list[tuple[Path, Path]] = []
        try:
            for folder in [*reversed(self.path.absolute().parents), self.path.absolute()]:
                if not folder.is_dir():
                    folder.mkdir()
                    created.append(folder)
            for name, content in self._files.items():
                temporary.append((write_aside(self.path / name, content), self.path / name))
            while temporary:
                partial, final = temporary[0]
                partial.replace(final)
                temporary.pop(0)
        except BaseException as error:
            for partial, _ in temporary:
                partial.unlink(missing_ok=True)
            for folder in reversed(created):
                if not any(folder.iterdir()):
                    folder.rmdir()
            if isinstance(error, OSError):
                reason = error.strerror or error
                raise OutputError(f"the results cannot be written to {self.path}: {reason}.") from None
            raise


def to_plain(value: Any) -> Any:
    """``value`` as JSON types: arrays become lists, enum members names, paths strings, NaN and infinities None.

    >>> to_plain({"radius": np.array([0.5, np.inf]), "status": None, 3: Path("a")})
    {'radius': [0.5, None], 'status': None, '3': 'a'}
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biufU":
            return to_plain(array.tolist())
    raise OutputError(f"a value of type {type(value).__name__} cannot be written as JSON.")
