"""Status codes, one per lane of a batch, and the error that a user reads when he asks whether all went well."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

_LANES_NAMED = 8
_Status = TypeVar("_Status", bound=enum.IntEnum)


def check_lanes(
    codes: ArrayLike,
    advice: Mapping[_Status, str],
    noun: str,
    error: type[Exception] = RuntimeError,
) -> None:
    """Raise ``error`` if any of ``codes`` is a status for which there is ``advice``: the first of them in its order.

    The sentence counts the lanes, names the status and the first lanes, and says what to do. ``noun`` is the plural of
    what one lane is. Outside ``jit`` only.
    """
    flat = np.atleast_1d(np.asarray(codes)).ravel()
    for status, remedy in advice.items():
        lanes = np.flatnonzero(flat == status)
        if lanes.size:
            where = f" (first: {lanes[:_LANES_NAMED].tolist()})" if flat.size > 1 else ""
            raise error(f"{lanes.size} of {flat.size} {noun} {status.name}{where}: {remedy}")


def short_repr(value: Any, statuses: type[enum.IntEnum] | None = None) -> str:
    """A dataclass in one line: dtypes and shapes of arrays, numbers as they are, and the names of its ``status``.

    >>> @dataclasses.dataclass(repr=False)
    ... class Result:
    ...     gain: Any
    ...     status: Any
    >>> short_repr(Result(np.zeros((1, 2)), np.int32(0)), enum.IntEnum("Status", ["GOOD"], start=0))
    'Result(gain=float64[1, 2], status=GOOD)'
    """
    parts = []
    for field in dataclasses.fields(value):
        entry = getattr(value, field.name)
        named = field.name == "status" and statuses is not None and not isinstance(entry, Tracer)
        parts.append(f"{field.name}={_names(entry, statuses) if named and statuses is not None else _shown(entry)}")
    return f"{type(value).__name__}({', '.join(parts)})"


def _names(codes: Any, statuses: type[enum.IntEnum]) -> str:
    """The name of a status, or how many lanes have which."""
    known = {int(status): status.name for status in statuses}
    try:
        found, counts = np.unique(np.asarray(codes), return_counts=True)
        names = [known[int(code)] for code in found]
    except (TypeError, ValueError, KeyError):  # another object stands in a status that was unflattened
        return _shown(codes)
    if np.ndim(codes) == 0:
        return names[0]
    return f"[{', '.join(f'{count} {name}' for count, name in zip(counts, names, strict=True))}]"


def _shown(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in entry.items()) + "}"
    if not hasattr(entry, "shape") or not hasattr(entry, "dtype"):
        text = repr(entry)
        return text if len(text) <= 60 else f"{text[:57]}..."
    if entry.shape == () and not isinstance(entry, Tracer) and getattr(entry, "is_fully_addressable", True):
        return str(entry)
    return f"{entry.dtype}[{', '.join(map(str, entry.shape))}]"
