"""A fingerprint of a run, which its checkpoints store."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxlqr.core.status import SolveStatus
from jaxlqr.core.types import PyTree
from jaxlqr.training.checkpoint import Keeper, digest
from jaxlqr.training.options import Output
from jaxlqr.training.problem import MetaProblem, RunData

if TYPE_CHECKING:
    import optax


@contextmanager
def kept_checkpoints(
    output: Output,
    problem: MetaProblem,
    optimizer: "optax.GradientTransformation",
    data: RunData,
    params: PyTree,
    scale: Any,
) -> Iterator[Keeper | None]:
    """The keeper of the checkpoints of this run, None without any."""
    if output.checkpoints is None:
        yield None
        return
    statics = {name: _described(value) for name, value in vars(problem).items() if name != "layout"}
    statics["record_params"] = output.record_params  # the rows of both parts of the history must have the same names
    numbers, kind = jax.tree.flatten(data.objective)
    statics["objective"] = _described(kind)
    # A state holds the code of its status: states with other codes must not be read.
    codes = (SolveStatus.COMPLETED, SolveStatus.STALLED, SolveStatus.DIVERGED)
    statics["status codes"] = {status.name: int(status) for status in codes}
    arrays = {"tasks and settings": digest((*data._replace(objective=None), numbers)), "start": digest((params, scale))}
    with output.checkpoints.open(statics | arrays | {"optimizer": _answer(optimizer, params)}) as keeper:
        yield keeper


def _answer(optimizer: "optax.GradientTransformation", params: PyTree) -> str:
    """Fingerprint of an optimiser: its updates for two gradients of ones, because its numbers are hidden in
    closures."""
    gradient, state = jax.tree.map(jnp.ones_like, params), optimizer.init(params)
    _, state = optimizer.update(gradient, state, params)
    return digest(optimizer.update(gradient, state, params))


def _described(value: Any) -> Any:
    """A name that is the same in every process: the name of a function, else the printed value without addresses."""
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return (
        value if value is None or isinstance(value, str | int | bool) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    )
