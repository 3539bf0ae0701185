r"""Other gradients of the return after proximal steps: as in Proposition 3.2 (erratum W1), and of first order."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.mdp import MDPTask, ProximalLoss
from jaxlqr.mdp.evaluation import evaluate
from jaxlqr.mdp.gradient import Anatomy, anatomy
from jaxlqr.mdp.model import MDP
from jaxlqr.mdp.policy import tilt


@dataclass(frozen=True)
class OtherGradientLoss(ProximalLoss):
    """:class:`jaxlqr.mdp.ProximalLoss` with other derivatives; its value is the same.

    Attributes:
        gradient: ``"printed"``: those of Proposition 3.2 as printed, which lacks two factors of 1 / (1 - gamma).
            ``"first_order"``: Q of the policy before a step is taken as constant.

    Source: wang2020, Proposition 3.2; docs/errata.md, W1.
    """

    gradient: Literal["printed", "first_order"] = "printed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gradient not in ("printed", "first_order"):
            raise ValueError(f'gradient must be "printed" or "first_order", got {self.gradient!r}.')

    @compiled()
    def __call__(self, params: Any, task: MDPTask) -> Array:
        J = evaluate(task.mdp, self.adapted(params, task)).J
        return -(_with_slope(J, 1 - task.mdp.gamma) if self.gradient == "printed" else J)

    @compiled()
    def adapted(self, params: Any, task: MDPTask) -> Array:
        """The policy after the steps [S, A]."""
        slope = 1 - task.mdp.gamma if self.gradient == "printed" else 0.0
        policy = task.policy(params)
        for _ in range(self.num_steps):
            Q = evaluate(task.mdp, policy).Q
            policy = tilt(policy, self.step_size * _with_slope(Q, slope))
        return policy


def printed_density(parts: Anatomy, mdp: MDP, temperature: Array, eta: float | Array) -> Array:
    r""":func:`jaxlqr.mdp.gradient.density` [S, A] as printed: both factors :math:`1/(1-\gamma_i)` are 1.

    Source: wang2020, equation (3.8); docs/errata.md, W1.
    """
    return (parts.sigma * parts.after + eta * mdp.gamma * parts.weighed * parts.main) / temperature


@compiled()
def printed_meta_gradient(theta: Any, tasks: MDPTask, eta: float | Array) -> Any:
    r""":func:`jaxlqr.mdp.meta_gradient` with equal weights and the density as printed, a pytree like ``theta``.

    Source: wang2020, equations (3.7) and (3.8); docs/errata.md, W1.
    """

    def one(task: MDPTask) -> Any:
        logits, pull = jax.vjp(task.logits, theta)
        D = printed_density(anatomy(logits, task.mdp, eta), task.mdp, task.temperature, eta)
        return pull(task.temperature * D)[0]

    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(one)(tasks))


def _with_slope(value: Array, slope: Array | float) -> Array:
    """``value``, with its derivatives multiplied by ``slope``."""
    fixed = lax.stop_gradient(value)
    return fixed + jnp.asarray(slope) * (value - fixed)
