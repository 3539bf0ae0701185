"""The outcome of a training run: the last parameters, the history and the status."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import Array

from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.core.types import PyTree
from jaxlqr.io.tables import Variable, to_pandas, to_xarray
from jaxlqr.training.sharding import to_host

if TYPE_CHECKING:
    import pandas
    import xarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingResult(Result):
    """Outcome of a training run.

    Attributes:
        params: last iterate.
        history: arrays whose row n describes iterate n, from row 0 to the last step that was taken:
            ``gradient_norm``; ``accepted_step`` (the fraction of the proposed step that led to this iterate, NaN in
            row 0); ``inner_fraction`` (the smallest fraction of an adaptation step that was taken); ``queries`` (cost
            queries on the way to this row, those of refused steps included); ``failed_queries`` (those at this iterate
            that were not finite); ``feasible``; ``loss`` and the task's own metrics (for LQR ``cost``, ``gap``,
            ``spectral_radius``), these with one column per task. With
            ``record_params`` also ``params``, the iterate itself; where the parameters are a tree, each leaf by its
            path.
        status: :class:`~jaxlqr.SolveStatus` code: COMPLETED, STALLED (no tried fraction of the last step was feasible)
            or DIVERGED.

    For batched runs every array has a leading axis of runs.
    """

    _noun = "runs"

    params: PyTree
    history: dict[str, Array]
    status: Array

    def to_pandas(self) -> "pandas.DataFrame":
        """The history as a table: a row for each ``step`` (and ``run``, and ``task``), a column for each entry.

        Rows without a task axis are repeated over the tasks; ``status`` is the name of the run's status. Raises
        ``ValueError`` where pandas is not installed.

        >>> import jax.numpy as jnp
        >>> result = TrainingResult(params=0.0, history={"loss": jnp.ones((3, 2))}, status=jnp.asarray(10))
        >>> result.to_pandas().index.names, len(result.to_pandas())
        (FrozenList(['step', 'task']), 6)
        """
        return to_pandas(self._variables(), ("run", "step", "task"))

    def to_xarray(self) -> "xarray.Dataset":
        """The history with the axes ``run``, ``step`` and ``task``, and the last parameters, as a data set.

        A single array of parameters is ``params`` with axes ``params_0``, ...; of a tree of them each leaf is named by
        its path. Recorded parameters (``record_params``) have the axis ``step`` in front.
        Raises ``ValueError`` where xarray is not installed.

        >>> import jax.numpy as jnp
        >>> result = TrainingResult(params=jnp.ones((1, 2)), history={"loss": jnp.ones(3)}, status=jnp.asarray(10))
        >>> dict(result.to_xarray().sizes)
        {'step': 3, 'params_0': 1, 'params_1': 2}
        """
        lead, variables = ("run",) * np.ndim(self.status), self._variables()
        for name, leaf in named_leaves(self.params).items():
            if name not in variables:  # recorded, the last parameters belong to the last step
                values = to_host(leaf)
                variables[name] = Variable((*lead, *_own_axes(name, values.ndim - len(lead))), values)
        return to_xarray(variables)

    def _variables(self) -> dict[str, Variable]:
        codes = np.asarray(to_host(self.status))
        lead = ("run",) * codes.ndim
        names = np.array([SolveStatus(int(code)).name for code in codes.ravel()]).reshape(codes.shape)
        variables = {}
        recorded = named_leaves(self.params)
        for name, rows in self.history.items():
            values = to_host(rows)
            shared = (*lead, "step") if name in recorded else (*lead, "step", "task")
            variables[name] = Variable((*shared, *_own_axes(name, values.ndim - len(shared)))[: values.ndim], values)
        return variables | {"status": Variable(lead, names)}


def named_leaves(params: PyTree) -> dict[str, Array]:
    """The leaves of the parameters by name: ``params`` where they are one array, else ``params`` with the path.

    >>> list(named_leaves({"gain": 1.0, "bias": 2.0}))
    ["params['bias']", "params['gain']"]
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"params" + jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _own_axes(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}_{number}" for number in range(count))
