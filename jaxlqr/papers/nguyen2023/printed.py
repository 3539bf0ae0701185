"""Algorithm 2 of nguyen2023 as printed: diagonal matrices, no memory of the optimiser, a slope without an inverse."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlqr.meta import riccati_weighting
from jaxlqr.meta.trajectory_weighting import along_policies
from jaxlqr.meta.weight_trajectory import State, Training


def printed(
    training: Training, state: State, actions: Array, batches: Any, beta: Array
) -> Callable[[Array], tuple[Array, Array, Array, State]]:
    """The printed method for ``tow(method=printed)``, a :class:`jaxlqr.meta.trajectory_weighting.Proposal`.

    The decrease that it expects is theta of (74) as printed, q_u'Q_uu q_u without an inverse. For beta >= sqrt 2 its
    line search, which requires half of that, rejects every step.

    Source: nguyen2023, Algorithm 2, (72), (74); docs/errata.md, N1, N2, N5.
    """
    nominal, problem, stages, final = riccati_weighting.local_model(
        training, state, actions, batches, beta, memoryless=True
    )
    policies, values = riccati_weighting.diagonal_backward(stages, final)
    theta = -jnp.einsum("ti,tij,tj->", values.qu, values.Quu, values.qu)
    plan = riccati_weighting.WeightPlan(policies, nominal, problem, theta)
    return along_policies(training, state, batches, beta, plan, 0.5)
