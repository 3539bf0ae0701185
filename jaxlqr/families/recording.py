"""The records of training for LQR tasks: registered when ``jaxlqr`` is imported."""

from typing import Any

from jax import Array

from jaxlqr.lqr.continuous import continuous_cost, spectral_abscissa
from jaxlqr.lqr.cost import cost, spectral_radius
from jaxlqr.lqr.optimal import optimal_cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.oracles.protocol import Loss
from jaxlqr.training.metrics import Recording, record_for


def lqr_scalars(params: Any, task: LQRTask, loss: Loss, value: Array) -> dict[str, Array]:
    """The cost and the spectral radius of A - B K at a gain K [m, n], where the loss has this value.

    The cost is not computed twice when it is the loss. In continuous time, where the loss is
    :func:`jaxlqr.lqr.continuous_cost`, the spectral abscissa alone is recorded. Parameters that are not a gain [m, n],
    such as those of a network inside a user's loss, give no records.
    """
    if getattr(params, "shape", None) != task.B.shape[::-1]:
        return {}
    if loss is continuous_cost:
        return {"spectral_abscissa": spectral_abscissa(params, task)}
    return {
        "cost": value if loss is cost else cost(params, task),
        "spectral_radius": spectral_radius(params, task),
    }


def lqr_reference(task: LQRTask) -> dict[str, Array]:
    """The cost of the optimal gain, a scalar."""
    return {"optimal_cost": optimal_cost(task)}


def lqr_gap(history: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """The gap J(K) - J(K*) at each iterate, where the cost was recorded."""
    return {"gap": history["cost"] - reference["optimal_cost"]} if "cost" in history else {}


#: Cost, spectral radius and gap of LQR tasks.
LQR_RECORDING = Recording(lqr_scalars, reference=lqr_reference, compare=lqr_gap)
record_for(LQRTask, LQR_RECORDING)
