"""Storage of a sweep: a Parquet file for each batch, complete or absent, and one table at the end."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxlqr.commands.sweep.schema import COLUMNS, joined, to_table, typed
from jaxlqr.commands.sweep.spec import AXES, MOST_RUNS, SweepSpec
from jaxlqr.commands.train import TrainSettings
from jaxlqr.core.optional import optional
from jaxlqr.io.disk import read_json, write_whole
from jaxlqr.io.store import Description, Parts, writing
from jaxlqr.training.checkpoint import digest

if TYPE_CHECKING:
    import pyarrow as pa

RESULTS, SPEC, PARTS = "results.parquet", "sweep.json", "parts"
_WHAT = "a sweep"


def parquet() -> Any:
    """The module ``pyarrow.parquet``, or a ``ValueError`` that names the extra."""
    return optional("pyarrow.parquet", "sweep", "a sweep writes Parquet files, which")


class SweepStore:
    """The folder of a sweep.

    ::

        sweep.json                what is computed; a resumed sweep must be the same
        parts/00000-....parquet   results of one batch; the name ends with a hash of them and of sweep.json
        results.parquet           all of them, in the order of the runs, once all are there
    """

    def __init__(self, folder: Path, spec: SweepSpec) -> None:
        self.folder: Path = folder
        self._spec = spec
        self._parquet: Any = parquet()
        self.batches: list[list[int]] = spec.batches()
        self._description = description(spec)
        self._parts = parts_of(folder, self._description["sha256"], then="its runs are done again")

    def claim(self, *, resume: bool) -> None:
        """Write the specification, or compare it with the stored one; the folder must be locked or shared on
        purpose."""
        self.check(resume=resume)
        if not (self.folder / SPEC).exists():
            (self.folder / PARTS).mkdir(exist_ok=True)
            Description(self.folder / SPEC, _WHAT, self._description).write()

    def check(self, *, resume: bool) -> None:
        """Raise ``ValueError`` where this sweep must not be written, or gone on with; changes nothing."""
        begun = (self.folder / SPEC).exists()
        for other in () if begun else (self.folder / PARTS, self.folder / RESULTS):
            if other.is_symlink() or other.is_file() or (other.is_dir() and any(other.iterdir())):
                raise ValueError(f"{other} must not exist where no sweep wrote {SPEC}; choose another folder.")
        described = Description(self.folder / SPEC, _WHAT, self._description)
        described.check(begun=begun, resume=resume, read=_read)

    def missing(self) -> list[int]:
        """Numbers of the batches that are missing or damaged; damage also gives a warning."""
        return [number for number in range(len(self.batches)) if self.read(number) is None]

    def read(self, number: int) -> "pa.Table | None":
        """The results of a batch, None if it is absent or damaged."""

        def checked(content: bytes) -> "pa.Table":
            table = self._parquet.read_table(io.BytesIO(content))
            if table.column("run").to_pylist() != self.batches[number]:
                raise ValueError("its runs are others")
            return typed(table)

        return self._parts.get(_key(number), checked)

    def write(self, number: int, columns: dict[str, list[Any]]) -> None:
        """Keep the results of a batch."""
        self._parts.put(_key(number), self._content(self._table(columns)))

    def finish(self) -> "pa.Table":
        """Write all results as one table, in the order of the runs, and return it."""
        table = joined([self.read(number) for number in range(len(self.batches))])
        with writing(self.folder / RESULTS):
            write_whole(self.folder / RESULTS, self._content(table))
        return table

    def _content(self, table: "pa.Table") -> bytes:
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer)
        return buffer.getvalue()

    def _table(self, columns: dict[str, list[Any]]) -> "pa.Table":
        settings = [self._spec.values(run) for run in columns["run"]]
        told: dict[str, list[Any]] = {name: [each[name] for each in settings] for name in settings[0]}
        return to_table(told | {name: _plain(columns[name]) for name in COLUMNS}, self._spec.K0.shape)


def _plain(column: list[Any]) -> list[Any]:
    return [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in column]


def description(spec: SweepSpec) -> dict[str, Any]:
    """The specification of a sweep as JSON, and its SHA-256."""
    # Every field, so that one that is added later cannot be forgotten here.
    what = json.dumps({field.name: _described(getattr(spec, field.name)) for field in fields(spec)})
    return {
        "sha256": hashlib.sha256(what.encode()).hexdigest(),
        "axes": list(spec.axes),
        "runs": len(spec.runs),
        "batches": len(spec.batches()),
        "settings": vars(spec.settings),
        "tasks": {**spec.task_settings, "num_tasks": spec.num_tasks},
    }


def _described(value: Any) -> Any:
    """A field of a sweep as JSON: arrays by their digest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _described(entry) for key, entry in value.items()}
    if isinstance(value, TrainSettings):
        return repr(value)
    if isinstance(value, list | tuple) and not any(hasattr(entry, "shape") for entry in jax.tree.leaves(value)):
        return [_described(entry) for entry in value]
    return digest(value)


def _key(number: int) -> str:
    """Key of a batch among the parts of a sweep."""
    return f"{number:05d}"


def parts_of(folder: Path, sha256: str, then: str) -> Parts:
    """The results of the batches of the sweep in a folder whose description has this hash."""
    return Parts(folder / PARTS, ".parquet", sha256, then)


def read_parts(folder: Path) -> "list[pa.Table]":
    """The batches that the sweep in a folder has finished; a damaged one is left out, with a warning."""
    parts = parts_of(folder, read_description(folder)["sha256"], then="it is left out")
    found = (parts.get(key, lambda content: parquet().read_table(io.BytesIO(content))) for key in parts.stored_keys())
    return [table for table in found if table is not None]


def read_description(folder: Path) -> dict[str, Any]:
    """The specification of the sweep in a folder."""
    path = folder / SPEC
    if not path.exists():
        raise ValueError(f"{folder} holds no sweep: there is no {SPEC} in it.")
    try:
        return _read(path)
    except ValueError as error:
        raise ValueError(f"{path} must describe {_WHAT}, but {error}; choose another folder.") from None


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path)
    for name, fits in _ENTRIES.items():
        if not fits(found.get(name)):
            raise ValueError(f"its entry {name!r} is {str(found.get(name))[:40]!r}")
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_RUNS


#: Check the entries of a description.
_ENTRIES = {
    "sha256": lambda value: isinstance(value, str),
    "axes": lambda value: isinstance(value, list) and bool(value) and all(one in AXES for one in value),
    "runs": _is_count,
    "batches": _is_count,
}
