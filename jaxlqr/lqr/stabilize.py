"""Finding one gain that stabilises every task of a stack."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlqr.lqr.cost import is_stabilizing, spectral_radius
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask


def average_task(tasks: LQRTask) -> LQRTask:
    """Task whose matrices are the means over the stack ``tasks``."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), tasks)


@jax.jit
def average_task_gain(tasks: LQRTask) -> Float[Array, "m n"]:
    """Optimal gain [m, n] of the average task: where training starts when no initial gain is known."""
    return optimal_gain(average_task(tasks))


_stabilized = jax.jit(jax.vmap(is_stabilizing, in_axes=(None, 0)))
_spectral_radii = jax.jit(jax.vmap(spectral_radius, in_axes=(None, 0)))


def check_stabilizes_all(K: Array, tasks: LQRTask, *, name: str = "K0", limit: int = 8, hint_if_none: str = "") -> None:
    """Raise ``ValueError`` with the tasks, and their spectral radii, that ``K`` does not stabilise.

    Arguments: ``K`` [m, n]; ``tasks``, a stack; ``name`` of the gain in the message, which lists at most ``limit``
    tasks; ``hint_if_none`` ends the message if ``K`` stabilises no task. Outside ``jit`` only.
    """
    num_inputs, num_states = tasks.B.shape[2], tasks.B.shape[1]
    if K.shape != (num_inputs, num_states):
        raise ValueError(
            f"{name} must have shape ({num_inputs}, {num_states}), one row per input and one column per state, got "
            f"{K.shape}."
        )
    if not bool(jnp.all(jnp.isfinite(K))):
        raise ValueError(f"{name} must be finite, got a NaN or an infinite entry.")
    # The verdict of the cost. Eigenvalues are rounded, so that the radii only explain it.
    bad = np.flatnonzero(~np.asarray(_stabilized(K, tasks)))
    if bad.size == 0:
        return
    radii = np.asarray(_spectral_radii(K, tasks))
    listed = ", ".join(f"task {i}: {radii[i]:.4f}" for i in bad[:limit])
    more = f" and {bad.size - limit} more" if bad.size > limit else ""
    raise ValueError(
        f"{name} must stabilise every task, but it does not stabilise {bad.size} of {radii.size} (spectral radius of "
        f"A - B K, which must be below 1: {listed}{more}); start from a gain that does, or train on fewer, more "
        f"similar tasks{hint_if_none if bad.size == radii.size else ''}."
    )
