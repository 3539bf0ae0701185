"""The columns of a sweep's tables: content and type of each, independent of the values of a batch."""

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from jaxlqr.commands.train import TrainSettings

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns after the settings, each with its type and content. Costs have the unit of the stage cost.
COLUMNS: dict[str, tuple[Any, str]] = {
    "run": (int, "number of the run in the order of the sweep file"),
    "status": (str, "COMPLETED, STALLED (no feasible step was found) or DIVERGED"),
    "feasible_start": (bool, "whether the initial gain stabilises every task of the run"),
    "cost_first": (float, "median over tasks of J(K) at the initial gain"),
    "cost_last": (float, "the same at the last gain"),
    "gap_first": (float, "median over tasks of J_i(K) - J_i(K_i*) at the initial gain"),
    "gap_last": (float, "the same at the last gain"),
    "gradient_norm_first": (float, "Frobenius norm of the meta-gradient (its estimate) at the initial gain"),
    "gradient_norm_last": (float, "the same at the last gain"),
    "spectral_radius_max": (float, "largest spectral radius of A - B K over tasks at the last gain"),
    "failed_queries": (int, "cost queries that were not finite, over all steps"),
    "outer_steps_shortened": (int, "outer steps that the safeguard shortened"),
    "gain": (list[float], "last gain, row by row"),
    "seconds": (float, "wall time of the batch over its runs"),
}
_DEFAULTS = {field.name: field.default for field in fields(TrainSettings)}
_STEP_SIZES = ("inner_step", "outer_step")
#: Settings of a run by their type. Step sizes and counts without a default are None unless they are given.
SETTINGS: dict[str, Any] = {"level": float, "task_seed": int} | {
    name: float if name in _STEP_SIZES else int if default is None else type(default)
    for name, default in _DEFAULTS.items()
}


def typed(table: "pa.Table") -> "pa.Table":
    """The same rows in the types of the columns; a batch whose levels are all 0 would else hold integers.

    Raises:
        ValueError: if a value does not fit the type of its column.
    """
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}

    def field(old: "pa.Field") -> "pa.Field":
        kind, says = COLUMNS.get(old.name) or (SETTINGS[old.name], "setting of the run, see jaxlqr train")
        # A level is one number, or four for A, B, Q and R; the perturbation gives all runs the same kind.
        several = kind == list[float] or pa.types.is_list(old.type)
        return pa.field(old.name, pa.list_(pa.float64()) if several else types[kind], metadata={"description": says})

    return table.cast(pa.schema([field(old) for old in table.schema], metadata=table.schema.metadata))


def to_table(columns: dict[str, list[Any]], gain_shape: tuple[int, ...]) -> "pa.Table":
    """A typed table of plain values, for gains of shape [m, n]."""
    import pyarrow as pa

    table = pa.table(columns)
    return typed(table.replace_schema_metadata({"gain_shape": json.dumps(list(gain_shape))}))


def joined(tables: list["pa.Table"]) -> "pa.Table":
    """All rows in the order of the runs; tables of an earlier version, which inferred the types, are cast."""
    import pyarrow as pa

    return pa.concat_tables([typed(table) for table in tables]).sort_by("run")
