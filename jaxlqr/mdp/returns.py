"""The return as a function of (params, task), before and after proximal steps: what the learners take."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.evaluation import evaluate
from jaxlqr.mdp.model import MDPTask
from jaxlqr.mdp.policy import check_positive, tilt


@compiled()
def mdp_return(params: Any, task: MDPTask) -> Array:
    r"""Return :math:`J(\pi_\theta)` of one task, normalised by :math:`1 - \gamma`: the mean reward under visitation.

    A function of (parameters, task) like any other of this package, with gradients of any order. The learners minimise,
    so pass them :func:`mdp_loss`, its negative.

    >>> import jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.mdp.make_tasks(jaxlqr.families.bandit([0.0, 1.0]))
    >>> float(mdp_return(jnp.zeros((1, 2)), task))
    0.5

    Source: wang2020, equation (2.5).
    """
    return evaluate(task.mdp, task.policy(params)).J


@compiled()
def mdp_loss(params: Any, task: MDPTask) -> Array:
    """The negative of :func:`mdp_return`, a loss for :func:`jaxlqr.meta_train` and the other learners."""
    return -mdp_return(params, task)


@dataclass(frozen=True)
class ProximalLoss:
    r"""The negative return :math:`-J(\pi_{i,\theta})` after proximal steps from :math:`\pi_\theta`.

    The adaptation of wang2020 is a step in the space of policies, which no step in the parameters expresses. So it is
    part of the loss, and the learners take no inner step: ``num_inner_steps=0``. Then
    ``jaxlqr.maml_loss(ProximalLoss(eta), params, tasks, num_inner_steps=0)`` is the meta-objective (3.4), negated.

    Attributes:
        step_size: :math:`\eta`, not negative.
        num_steps: number of proximal steps.

    >>> import jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.mdp.make_tasks(jaxlqr.families.bandit([0.0, 1.0]))
    >>> round(-float(ProximalLoss(2.0)(jnp.zeros((1, 2)), task)), 4)
    0.7311

    Source: wang2020, equations (3.3) and (3.4).
    """

    step_size: float
    _: KW_ONLY
    num_steps: int = 1

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size, zero_allowed=True)
        if not isinstance(self.num_steps, int) or self.num_steps < 0:
            raise ValueError(f"num_steps must be an integer of at least 0, got {self.num_steps!r}.")

    @compiled()
    def __call__(self, params: Any, task: MDPTask) -> Array:
        return -evaluate(task.mdp, self.adapted(params, task)).J

    @compiled()
    def adapted(self, params: Any, task: MDPTask) -> Array:
        """The policy after the steps [S, A]."""
        policy = task.policy(params)
        for _ in range(self.num_steps):
            policy = tilt(policy, self.step_size * evaluate(task.mdp, policy).Q)
        return policy
