"""What a public name or argument does between its renaming and its removal: it works, and warns."""

import functools
import re
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def renamed_function(old: str, new: Callable[_P, _R], *, since: str, removal: str) -> Callable[_P, _R]:
    """The function ``new`` under its old name: each call warns, in the line of the caller, and is passed on.

    Arguments:
        old: the name that goes.
        new: the function, under the name that stays.
        since: version that deprecates the old name.
        removal: later version that removes it.

    >>> def mean_cost(K):
    ...     return K / 2
    >>> average_cost = renamed_function("average_cost", mean_cost, since="0.2", removal="0.4")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     average_cost(3.0)
    1.5
    >>> print(caught[0].message)
    average_cost is deprecated since jaxlqr 0.2 and will be removed in 0.4; use mean_cost.
    """
    _check_versions(since, removal)

    @functools.wraps(new)
    def alias(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        _warn(old, new.__name__, since, removal)
        return new(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = old
    alias.__doc__ = f"Deprecated since {since}, removed in {removal}: use :func:`{new.__name__}`."
    return alias


def renamed_argument(old: str, new: str, *, since: str, removal: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorator of a function whose keyword argument ``old`` is now called ``new``; both at once are a ``TypeError``.

    Type checkers see the new name only. It is another function than the one below it: put it on what users call, and on
    no loss, which the learners know by its identity.

    >>> @renamed_argument("eta", "step_size", since="0.2", removal="0.4")
    ... def descend(step_size):
    ...     return -step_size
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     descend(eta=3.0)
    -3.0
    >>> print(caught[0].message)
    argument eta of descend is deprecated since jaxlqr 0.2 and will be removed in 0.4; use step_size.
    """
    _check_versions(since, removal)

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def accepting(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(
                        f"{function.__name__}() got both {old}, which is deprecated, and {new}; give {new}."
                    )
                _warn(f"argument {old} of {function.__name__}", new, since, removal)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return accepting

    return decorate


def _warn(what: str, instead: str, since: str, removal: str) -> None:
    warnings.warn(
        f"{what} is deprecated since jaxlqr {since} and will be removed in {removal}; use {instead}.",
        DeprecationWarning,
        stacklevel=3,  # the line that calls the deprecated function
    )


def _check_versions(since: str, removal: str) -> None:
    for name, version in (("since", since), ("removal", removal)):
        if not re.fullmatch(r"\d+(\.\d+){1,2}", version):
            raise ValueError(f'{name} must be a version such as "0.2", got {version!r}.')
    if _numbers(removal) <= _numbers(since):
        raise ValueError(f"removal must be a later version than since, got {removal} and {since}.")


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))
