"""The return as a function of (theta, task), before and after proximal steps: what the learners take."""

from dataclasses import dataclass
from typing import Any

from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.evaluation import evaluate
from jaxlqr.mdp.model import MDPTask
from jaxlqr.mdp.policy import check_positive, tilt


@compiled()
def mdp_return(theta: Any, task: MDPTask) -> Array:
    r"""Return :math:`J(\pi_\theta)` of one task, normalised by :math:`1 - \gamma`: the mean reward under visitation.

    A function of (parameters, task) like any other of this package, with gradients of any order. The learners minimise:
    give them :func:`mdp_loss`, its negative.

    >>> import jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.mdp.make_tasks(jaxlqr.families.bandit([0.0, 1.0]))
    >>> float(mdp_return(jnp.zeros((1, 2)), task))
    0.5

    Source: wang2020, equation (2.5).
    """
    return evaluate(task.mdp, task.policy(theta)).J


@compiled()
def mdp_loss(theta: Any, task: MDPTask) -> Array:
    """The negative of :func:`mdp_return`, to be minimised by :func:`jaxlqr.meta_train` and its kin, with any oracle."""
    return -mdp_return(theta, task)


@dataclass(frozen=True)
class ProximalLoss:
    r"""The negative return :math:`-J(\pi_{i,\theta})` after proximal steps from :math:`\pi_\theta`.

    The adaptation of wang2020 is a step in the space of policies, which no step in theta expresses, so it is part of
    the loss, and the learners are told not to adapt: ``num_inner_steps=0``. Then
    ``jaxlqr.maml_loss(ProximalLoss(eta), theta, tasks, 0.0, num_inner_steps=0)`` is the meta-objective (3.4), negated.

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
    num_steps: int = 1

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size, zero_allowed=True)
        if not isinstance(self.num_steps, int) or self.num_steps < 0:
            raise ValueError(f"num_steps must be an integer of at least 0, got {self.num_steps!r}.")

    @compiled()
    def __call__(self, theta: Any, task: MDPTask) -> Array:
        return -evaluate(task.mdp, self.adapted(theta, task)).J

    @compiled()
    def adapted(self, theta: Any, task: MDPTask) -> Array:
        """The policy after the steps [S, A]."""
        policy = task.policy(theta)
        for _ in range(self.num_steps):
            policy = tilt(policy, self.step_size * evaluate(task.mdp, policy).Q)
        return policy
