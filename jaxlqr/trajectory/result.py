"""What iLQR returns: the trajectory and its status."""

from dataclasses import dataclass

import jax
from jax import Array

from jaxlqr.core.result import Result
from jaxlqr.core.types import PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class IlqrResult(Result):
    """Outcome of :func:`ilqr`; under ``jax.vmap`` every array has a leading axis of runs.

    Attributes:
        states: x_0 to x_T, a pytree like ``x0`` with a leading axis T + 1.
        controls: u_0 to u_{T-1}, a pytree like ``U0``.
        gains: K [T, m, n] of the policy u_t + K_t (x_t - x) that is optimal near the trajectory; pytrees are flattened.
        cost: J of the trajectory.
        status: :class:`~jaxlqr.SolveStatus` code: CONVERGED if the norm of the gradient, relative to its terms, does
            not exceed the tolerance; else NO_DECREASE, COST_NOT_FINITE or MAX_STEPS.
        iterations: iterations spent.
        history: rows 0 to ``iterations`` are the iterates, further rows NaN: ``cost``, ``gradient_norm`` (without
            units, bounded by ``tolerance``; NaN if the model overflows), ``step_length`` and ``regularisation`` of the
            step taken from there. Without derivatives.
    """

    _noun = "iLQR runs"

    states: PyTree
    controls: PyTree
    gains: Array
    cost: Array
    status: Array
    iterations: Array
    history: dict[str, Array]
