"""Base of all results: a one-line text, and ``check()``, which raises if a lane failed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from jax import Array
from jax.core import Tracer

from jaxlqr.core.status import SolveStatus, check_lanes


class Result:
    """Base of a result: a frozen dataclass, made with ``repr=False``, with a field ``status``.

    A result class states ``_noun``, the plural of what one lane is, and ``_error``, the class that ``check()`` raises.

    >>> import jax.numpy as jnp
    >>> @dataclasses.dataclass(frozen=True, repr=False)
    ... class Root(Result):
    ...     _noun = "roots"
    ...     value: Any
    ...     status: Any
    >>> Root(jnp.ones(3), jnp.array([0, 0, 3]))
    Root(value=float64[3], status=[2 SOLVED, 1 SINGULAR])
    """

    _noun: ClassVar[str]
    _error: ClassVar[type[Exception]] = RuntimeError
    status: Array

    def __repr__(self) -> str:
        return short_repr(self)

    def check(self, *, allow_ill_conditioned: bool = True) -> Self:
        """Return the result itself unless a lane failed; then raise an error that names the lanes and what to do.

        A lane failed if its :class:`SolveStatus` has an advice; the message ends with this advice. ILL_CONDITIONED
        passes unless ``allow_ill_conditioned=False``: its value satisfies the equation, but its digits may be spoilt.
        The error is ``ArithmeticError`` where an equation has no good value, and ``RuntimeError`` where a run ended
        badly. Outside ``jit`` only.
        """
        check_lanes(self.status, self._noun, self._error, allow_ill_conditioned=allow_ill_conditioned)
        return self


def short_repr(value: Any) -> str:
    """A dataclass in one line: dtypes and shapes of arrays, numbers as they are, and the names of its ``status``.

    >>> @dataclasses.dataclass(repr=False)
    ... class Answer:
    ...     gain: Any
    ...     status: Any
    >>> short_repr(Answer(np.zeros((1, 2)), np.int32(0)))
    'Answer(gain=float64[1, 2], status=SOLVED)'
    """
    parts = []
    for field in dataclasses.fields(value):
        entry = getattr(value, field.name)
        named = field.name == "status" and not isinstance(entry, Tracer)
        parts.append(f"{field.name}={_names(entry) if named else _shown(entry)}")
    return f"{type(value).__name__}({', '.join(parts)})"


def _names(codes: Any) -> str:
    """The name of a status, or how many lanes have which."""
    try:
        found, counts = np.unique(np.asarray(codes), return_counts=True)
        names = [SolveStatus(int(code)).name for code in found]
    except (TypeError, ValueError):  # another object stands in a status that was unflattened
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
