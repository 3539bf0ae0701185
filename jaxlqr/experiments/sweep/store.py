"""Where a sweep keeps what it has: a Parquet file for each batch, whole or absent, and one table at the end."""

import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.disk import write_whole
from jaxlqr.experiments.sweep.schema import COLUMNS, joined, to_table, typed
from jaxlqr.experiments.sweep.spec import SweepSpec
from jaxlqr.optional import optional
from jaxlqr.training.checkpoint import CheckpointError

if TYPE_CHECKING:
    import pyarrow as pa

RESULTS, SPEC, PARTS = "results.parquet", "sweep.json", "parts"


def parquet() -> Any:
    """The module ``pyarrow.parquet``, or a ``ValueError`` that names the extra."""
    return optional("pyarrow.parquet", "sweep", "a sweep writes Parquet files, which")


class SweepStore:
    """The folder of a sweep.

    ::

        sweep.json                what is computed; a resumed sweep must be the same
        parts/00000-....parquet   results of one batch; the name ends with the start of its SHA-256
        results.parquet           all of them, in the order of the runs, once all are there
    """

    def __init__(self, folder: Path, spec: SweepSpec) -> None:
        self.folder: Path = folder
        self._spec = spec
        self._parquet: Any = parquet()
        self.batches: list[list[int]] = spec.batches()

    def claim(self, *, resume: bool) -> None:
        """Write what is computed here, or compare it with what was; the folder must be locked or shared on purpose."""
        path, mine = self.folder / SPEC, description(self._spec)
        if not path.exists():
            (self.folder / PARTS).mkdir(exist_ok=True)
            write_whole(path, json.dumps(mine, indent=2).encode())
            return
        if not resume:
            raise ValueError(f"{self.folder} holds a sweep; resume it, or choose another folder.")
        known = read_description(self.folder)
        if known["sha256"] != mine["sha256"]:
            raise ValueError(
                f"{self.folder} holds another sweep, of {known['runs']} runs over {', '.join(known['axes'])}, and not "
                "that of the sweep file; choose another folder."
            )

    def missing(self) -> list[int]:
        """Numbers of the batches that are not there, or damaged, which a warning tells."""
        return [number for number in range(len(self.batches)) if self.read(number) is None]

    def read(self, number: int) -> "pa.Table | None":
        """The results of a batch, None if it is absent or damaged."""
        for path in self._parts(number):
            try:
                content = path.read_bytes()
                if path != self._part(number, content):
                    raise ValueError("its content is not what was written")
                table = self._parquet.read_table(io.BytesIO(content))
                if table.column("run").to_pylist() != self.batches[number]:
                    raise ValueError("its runs are others")
                return typed(table)
            except (OSError, ValueError, KeyError) as error:
                reason = str(error).splitlines()[0]
                warnings.warn(f"{path} is damaged: {reason}; its runs are done again.", RuntimeWarning, stacklevel=2)
        return None

    def write(self, number: int, columns: dict[str, list[Any]]) -> None:
        """Keep the results of a batch."""
        content = self._content(self._table(columns))
        self._write(self._part(number, content), content)
        for old in self._parts(number):
            if old != self._part(number, content):
                old.unlink()

    def finish(self) -> "pa.Table":
        """Write all results as one table, in the order of the runs, and return it."""
        table = joined([self.read(number) for number in range(len(self.batches))])
        self._write(self.folder / RESULTS, self._content(table))
        return table

    def _part(self, number: int, content: bytes) -> Path:
        return self.folder / PARTS / f"{number:05d}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"

    def _parts(self, number: int) -> list[Path]:
        return sorted((self.folder / PARTS).glob(f"{number:05d}-*.parquet"))

    def _content(self, table: "pa.Table") -> bytes:
        buffer = io.BytesIO()
        self._parquet.write_table(table, buffer)
        return buffer.getvalue()

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be written: {error.strerror}. All batches before it are kept; resume the sweep."
            ) from error

    def _table(self, columns: dict[str, list[Any]]) -> "pa.Table":
        settings = [self._spec.values(run) for run in columns["run"]]
        told: dict[str, list[Any]] = {name: [each[name] for each in settings] for name in settings[0]}
        return to_table(told | {name: _plain(columns[name]) for name in COLUMNS}, self._spec.K0.shape)


def _plain(column: list[Any]) -> list[Any]:
    return [value.tolist() if isinstance(value, np.ndarray | np.generic) else value for value in column]


def description(spec: SweepSpec) -> dict[str, Any]:
    """What a sweep computes, as JSON, and its SHA-256."""
    from jaxlqr.training.checkpoint import digest

    arrays = digest((spec.nominal, spec.K0, spec.masks))
    what = json.dumps(
        [repr(spec.settings), spec.task_settings, spec.axes, spec.runs, spec.batch, spec.num_tasks, arrays], default=str
    )
    return {
        "sha256": hashlib.sha256(what.encode()).hexdigest(),
        "axes": list(spec.axes),
        "runs": len(spec.runs),
        "batches": len(spec.batches()),
        "settings": vars(spec.settings),
        "tasks": {**spec.task_settings, "num_tasks": spec.num_tasks},
    }


def read_description(folder: Path) -> dict[str, Any]:
    """What the sweep in a folder computes."""
    path = folder / SPEC
    if not path.exists():
        raise ValueError(f"{folder} holds no sweep: there is no {SPEC} in it.")
    try:
        found = json.loads(path.read_text())
        if not {"sha256", "axes", "runs", "batches"} <= found.keys():
            raise ValueError("it lacks entries")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not the description of a sweep: {error}.") from None
    return found
