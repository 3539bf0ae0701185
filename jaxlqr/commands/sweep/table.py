"""The results of a sweep for analysis: a table of pandas, or a data set of xarray with the settings for axes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.commands.sweep.schema import joined
from jaxlqr.commands.sweep.store import read_description, read_parts
from jaxlqr.core.optional import optional
from jaxlqr.io.tables import Variable, to_xarray

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa
    import xarray


@dataclass(frozen=True)
class SweepTable:
    """The finished results of a sweep.

    Attributes:
        table: a row for each finished run, in order, with the columns of ``results.parquet``.
        axes: names of the settings that the sweep varies.
    """

    table: "pa.Table"
    axes: tuple[str, ...]

    def to_pandas(self) -> "pandas.DataFrame":
        """The table with the index ``run``; ``ValueError`` where pandas is not installed."""
        optional("pandas", "tables", "a table")
        return self.table.to_pandas().set_index("run")

    def to_xarray(self) -> "xarray.Dataset":
        """The results along the settings that were varied, when the runs are a whole grid of them; else along ``run``.

        ``gain`` has the further axes ``input`` and ``state``. Raises ``ValueError`` where xarray is not installed.
        """
        columns = {name: self.table.column(name).to_pylist() for name in self.table.column_names}
        shape = json.loads((self.table.schema.metadata or {}).get(b"gain_shape", b"[1, -1]"))
        arrays = {name: np.asarray(values) for name, values in columns.items() if name != "gain"}
        arrays["gain"] = np.asarray(columns["gain"], float).reshape(len(columns["run"]), *shape)
        coordinates, places = self._grid(columns)
        if places is None:
            axes, coordinates = ("run",), {"run": arrays.pop("run")}
        else:
            axes = tuple(coordinates)
            sizes = tuple(len(values) for values in coordinates.values())
            order = np.argsort(places)
            arrays = {n: v[order].reshape(*sizes, *v.shape[1:]) for n, v in arrays.items() if n not in axes}
        variables = {
            name: Variable((*axes, "input", "state") if name == "gain" else axes, values)
            for name, values in arrays.items()
            if values.ndim == len(axes) + 2 * (name == "gain")  # a setting that is a list has no place along the runs
        }
        return to_xarray(variables, coordinates)

    def _grid(self, columns: dict[str, list[Any]]) -> tuple[dict[str, Any], np.ndarray | None]:
        """Values along each axis, and the place of each run in the grid of them; None where the grid is not whole."""
        if any(isinstance(value, list) for axis in self.axes for value in columns[axis]):
            return {}, None
        coordinates = {axis: sorted(set(columns[axis])) for axis in self.axes}
        steps = [[coordinates[axis].index(value) for value in columns[axis]] for axis in self.axes]
        sizes = [len(values) for values in coordinates.values()]
        places = np.ravel_multi_index(steps, sizes) if steps else np.zeros(len(columns["run"]), int)
        whole = len(set(places.tolist())) == len(places) == np.prod(sizes)
        return (coordinates, places) if whole and self.axes else ({}, None)


def read(out: str | Path) -> SweepTable:
    """The results that the sweep in a folder has by now, also while it runs.

    Raises:
        ValueError: when there are none, or pyarrow is not installed.
    """
    folder = Path(out)
    known, parts = read_description(folder), read_parts(folder)
    if not parts:
        raise ValueError(f"the sweep in {folder} has no results yet.")
    return SweepTable(joined(parts), tuple(known["axes"]))
