"""Public functions that are compiled once: called without ``jax.jit``, they compile at their first call only.

Without this decorator a call outside ``jit`` runs operation by operation. Each ``vmap``, ``grad`` or loop of a new
local function inside it is compiled again at every call, and its program is never freed.
"""

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax.core import Tracer

F = TypeVar("F", bound=Callable[..., Any])

#: Number of programs for each function, one for each choice of static values; the least recently used one is freed.
KEPT = 64
# Functions of these packages read no global variable that a user changes.
_CONSTANT = {"jax", "jaxlib", "jaxlqr", "numpy", "optax"}
_SMALL = 2**16  # bytes of an array that are compared by value


def compiled(
    *, static: tuple[str, ...] = (), prepare: Callable[..., dict[str, Any] | None] | None = None
) -> Callable[[F], F]:
    """Decorator that keeps the compiled programs of a function, also where the caller differentiates or vmaps it.

    Numbers and arrays in any argument are traced. Other values (a loss, a string) are static, and so are the arguments
    in ``static``. Two static functions are equal if their code is equal, and all values that they read from enclosing
    functions and global names. Attributes of objects are read at the first call only, as with ``jax.jit``.

    Arguments:
        static: names of arguments that are static as a whole, such as counts.
        prepare: function of some of the arguments, by their names, that runs before every call and sees values. It may
            raise, and may return a dict of arguments to replace.

    Returns:
        A decorator. The decorated function keeps at most :data:`KEPT` programs. Inside ``jit``, ``vmap`` and ``grad``
        it behaves like the original function, and JAX reuses their programs too.

    >>> calls = []
    >>> @compiled(static=("power",))
    ... def total(function, x, power=1):
    ...     calls.append(power)
    ...     return function(x) ** power
    >>> def successor(x):
    ...     return x + 1
    >>> [int(total(successor, x)) for x in (1, 2, 3)], len(calls)
    ([2, 3, 4], 1)
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        seen = () if prepare is None else tuple(inspect.signature(prepare).parameters)
        programs = functools.lru_cache(maxsize=KEPT)(functools.partial(_program, function))

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = bound.arguments
            if prepare is not None:
                arguments.update(prepare(**{name: arguments[name] for name in seen}) or {})
            whole = {name: arguments.pop(name) for name in static}
            leaves, structure = jax.tree.flatten(dict(arguments))
            arrays = [leaf for leaf in leaves if _is_traced(leaf)]
            fixed = tuple(None if _is_traced(leaf) else _Static(leaf) for leaf in leaves)
            key = (structure, fixed, tuple(_Static(value) for value in whole.values()), tuple(whole))
            try:
                program = programs(*key)
            except _NotKept:
                program = _program(function, *key)
            return program(arrays)

        return cast(F, call)

    return decorate


def _program(function: Callable[..., Any], structure: Any, fixed: tuple, whole: tuple, names: tuple[str, ...]):
    def run(arrays: list[Any]) -> Any:
        traced = iter(arrays)
        leaves = [next(traced) if leaf is None else leaf.value for leaf in fixed]
        chosen = {name: value.value for name, value in zip(names, whole, strict=True)}
        return function(**jax.tree.unflatten(structure, leaves), **chosen)

    run.__name__ = run.__qualname__ = function.__name__  # the name in profiles and in logs of compilations
    return jax.jit(run)


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)


class _NotKept(TypeError):
    """A static value contains a traced value or has no identity, so its program cannot be kept."""


class _Static:
    """A static value; two are equal if they give the same program."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @functools.cached_property
    def identity(self) -> Any:
        return _identity(self.value, set())

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.identity == other.identity


@dataclasses.dataclass(frozen=True, eq=False)
class _Object:
    """An object that equals only itself. The reference keeps Python from reusing its address."""

    value: Any

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Object) and self.value is other.value


def _identity(value: Any, within: set[int]) -> Any:
    """A hashable key for ``value``, equal for values that behave equally; ``within``: functions under inspection."""
    if isinstance(value, Tracer):
        raise _NotKept
    if isinstance(value, types.FunctionType):
        return _of_function(value, within)
    if isinstance(value, functools.partial):
        return functools.partial, *_of_all([value.func, value.args, value.keywords], within)
    if isinstance(value, list | tuple):
        return type(value), *_of_all(value, within)
    if isinstance(value, Mapping):
        return type(value), *_of_all(value.keys(), within), *_of_all(value.values(), within)
    if isinstance(value, np.ndarray) and value.nbytes <= _SMALL and not value.dtype.hasobject:
        return np.ndarray, value.shape, value.dtype, value.tobytes()
    if _is_record(value):
        return type(value), *_of_all(
            [getattr(value, field.name) for field in dataclasses.fields(cast(Any, value))], within
        )
    try:
        hash(value)
    except TypeError:
        return _Object(value)
    return type(value), value


def _of_all(values: Iterable[Any], within: set[int]) -> list[Any]:
    return [_identity(value, within) for value in values]


def _is_record(value: Any) -> bool:
    """Whether a value is a frozen dataclass that is compared field by field."""
    parameters = getattr(value, "__dataclass_params__", None)
    return parameters is not None and not isinstance(value, type) and parameters.frozen and parameters.eq


def _of_function(function: types.FunctionType, within: set[int]) -> Any:
    """Code of a function, with the values that it reads from enclosing functions and, for user code, from global
    names."""
    if id(function) in within:
        return types.FunctionType, function.__code__
    own = (function.__module__ or "").partition(".")[0] not in _CONSTANT
    if not own and not function.__closure__:
        return types.FunctionType, function
    within = within | {id(function)}
    cells = [_contents(cell) for cell in function.__closure__ or ()]
    names = sorted(_names(function.__code__)) if own else []
    read = [function.__globals__[name] for name in names if name in function.__globals__]
    read = [value for value in read if not isinstance(value, types.ModuleType | type)]
    parts = [*cells, function.__defaults__, function.__kwdefaults__, *read]
    return types.FunctionType, function.__code__, _Object(function.__globals__), *_of_all(parts, within)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not filled yet
        return None


def _names(code: types.CodeType) -> set[str]:
    """Global and attribute names in a code object and in the functions that it defines."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)
