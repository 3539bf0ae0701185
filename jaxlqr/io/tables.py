"""Named arrays with named axes as a table of pandas or a data set of xarray."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxlqr.core.optional import optional

if TYPE_CHECKING:
    import pandas
    import xarray


class Variable(NamedTuple):
    """An array and the names of its axes."""

    axes: tuple[str, ...]
    values: np.ndarray


def to_pandas(variables: Mapping[str, Variable], axes: Sequence[str]) -> "pandas.DataFrame":
    """One row for each index along ``axes``, those that occur; what lacks one of them is repeated along it.

    Raises:
        ValueError: where a variable has another axis, or pandas is not installed.
    """
    pandas = optional("pandas", "tables", "a table")
    found = {axis for variable in variables.values() for axis in variable.axes}
    if not found <= set(axes):
        raise ValueError(
            f"a table has the axes {', '.join(axes)}, got also {sorted(found - set(axes))}; use to_xarray()."
        )
    shown = [axis for axis in axes if axis in found]
    sizes = _sizes(variables)
    shape = tuple(sizes[axis] for axis in shown)
    columns = {name: _spread(variable, shown, shape).ravel() for name, variable in variables.items()}
    index = pandas.MultiIndex.from_product([range(size) for size in shape], names=shown)
    return pandas.DataFrame(columns, index=index if len(shown) > 1 else index.get_level_values(0))


def to_xarray(variables: Mapping[str, Variable], coordinates: Mapping[str, Any] | None = None) -> "xarray.Dataset":
    """A data set; axes without ``coordinates`` are numbered, but for those of single parameters, ``name_0``, ...

    Raises:
        ValueError: where xarray is not installed.
    """
    xarray = optional("xarray", "tables", "a data set")
    known = dict(coordinates or {})
    for axis, size in _sizes(variables).items():
        if not axis.rpartition("_")[2].isdigit():
            known.setdefault(axis, np.arange(size))
    return xarray.Dataset({name: (list(v.axes), v.values) for name, v in variables.items()}, coords=known)


def _sizes(variables: Mapping[str, Variable]) -> dict[str, int]:
    return {axis: size for v in variables.values() for axis, size in zip(v.axes, v.values.shape, strict=True)}


def _spread(variable: Variable, axes: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    order = [variable.axes.index(axis) for axis in axes if axis in variable.axes]
    places = tuple(slice(None) if axis in variable.axes else None for axis in axes)
    return np.broadcast_to(variable.values.transpose(order)[places], shape)
