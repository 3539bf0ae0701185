"""Status codes, one per lane of a batch, and the error that a user reads when he asks whether all went well."""

import enum
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
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
