"""What iLQR returns: the trajectory, its status, and what to do when the status is bad."""

import enum
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from jaxlqr.core.status import check_lanes, short_repr

PyTree = Any


class IlqrStatus(enum.IntEnum):
    """How an iLQR run ended, one code per run.

    Attributes:
        CONVERGED: the norm of the gradient, relative to its terms, does not exceed the tolerance.
        LINE_SEARCH_FAILED: no step was found that decreases the cost, however large the regularisation.
        NOT_FINITE: the cost or a derivative is NaN or infinite, at the start or at an accepted iterate.
        ITERATION_LIMIT: the iterations were spent before the gradient was small.
    """

    CONVERGED = 0
    LINE_SEARCH_FAILED = 1
    NOT_FINITE = 2
    ITERATION_LIMIT = 3


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class IlqrResult:
    """Outcome of :func:`ilqr`; under ``jax.vmap`` every array has a leading axis of runs.

    Attributes:
        states: x_0 to x_T, a pytree like ``x0`` with a leading axis T + 1.
        controls: u_0 to u_{T-1}, a pytree like ``U0``.
        gains: K [T, m, n] of the policy u_t + K_t (x_t - x) that is optimal near the trajectory; pytrees are flattened.
        cost: J of the trajectory.
        status: :class:`IlqrStatus` code.
        iterations: iterations spent.
        history: rows 0 to ``iterations`` are the iterates, further rows NaN: ``cost``, ``gradient_norm`` (free of
            units, what ``tolerance`` bounds; NaN where the model overflows), ``step_length`` and ``regularisation`` of
            the step taken from there. Without derivatives.
    """

    states: PyTree
    controls: PyTree
    gains: Array
    cost: Array
    status: Array
    iterations: Array
    history: dict[str, Array]

    def __repr__(self) -> str:
        return short_repr(self, IlqrStatus)

    def check(self) -> "IlqrResult":
        """Raise ``RuntimeError`` with symptom, likely causes and remedies unless every run converged; return self.

        Outside ``jit`` only.
        """
        check_lanes(self.status, _ADVICE, "iLQR runs")
        return self


_ADVICE = {
    IlqrStatus.NOT_FINITE: (
        "the cost or a derivative is NaN or infinite on the trajectory of U0, or a derivative is at a later one. "
        "Likely the dynamics blow up under U0, or a square root, division or norm is differentiated at zero. Start "
        "from smaller controls, shorten the time step, or smooth the function there."
    ),
    IlqrStatus.LINE_SEARCH_FAILED: (
        "no step decreased the cost, however large the regularisation. Likely the cost or the dynamics are not smooth "
        "(abs, clip, ReLU), a derivative rule is wrong, or the tolerance is below rounding. Smooth them, use float64, "
        "or raise the tolerance."
    ),
    IlqrStatus.ITERATION_LIMIT: (
        "the gradient was not yet small. Look at history['gradient_norm']: if it still falls, raise max_steps or "
        "try ddp=True, which converges quadratically; if it stays level, use float64 or raise the tolerance."
    ),
}
