"""Traced values that user functions close over, made arguments so that derivatives see them.

A derivative rule only gets the arguments of the function that it differentiates. A function that closes over a traced
value, as in ``jax.grad(lambda length: ilqr(cost, lambda x, u, t, p: f(x, u, length), ...).cost)``, would hide that
value from the rule for the solution and make part of its derivative silently zero.
"""

from collections.abc import Callable
from typing import Any

import jax

from jaxlqr.core.types import PyTree


def hoist(functions: tuple[tuple[Callable[..., Any] | None, tuple[Any, ...]], ...], params: PyTree) -> Any:
    """Functions whose last argument holds ``params`` and all they close over, and that argument.

    Each function comes with examples of its arguments before ``params``. Functions that close over no traced value are
    returned unchanged, so JAX reuses their compiled programs.
    """
    converted, closed_over = [], []
    for function, examples in functions:
        if function is None:
            converted.append(None)
            closed_over.append([])
            continue
        pure, values = jax.closure_convert(function, *examples, params)
        converted.append(pure)
        closed_over.append(values)
    if not any(closed_over):
        return tuple(function for function, _ in functions), params

    def with_values(function: Callable[..., Any] | None, place: int):
        if function is None:
            return None
        return lambda *arguments: function(*arguments[:-1], arguments[-1][0], *arguments[-1][1][place])

    wrapped = tuple(with_values(function, place) for place, function in enumerate(converted))
    return wrapped, (params, closed_over)
