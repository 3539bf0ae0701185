r"""A loss with adaptation inside, for tasks that are adapted to one part of their data and judged by another."""

from dataclasses import dataclass

from jax import Array

from jaxlqr.core.types import PyTree
from jaxlqr.meta.maml import adapt
from jaxlqr.oracles.protocol import Loss


@dataclass(frozen=True)
class AdaptedLoss:
    r""":math:`\ell(\theta) = L(\phi_k)`, where :math:`\phi_{j+1} = \phi_j - \gamma \nabla S(\phi_j)` from theta.

    It is a function (params, task) -> scalar, so it is a loss for ``maml_loss`` without inner steps, ``tow`` and
    ``meta_train``. It is hashable if its parts are, and equal to one of equal parts.

    Attributes:
        loss: L, the loss of the adapted parameters.
        support_loss: S, which they are adapted to.
        inner_step_size: gamma, a number.
        num_inner_steps: k, at least 1.

    >>> import jax.numpy as jnp
    >>> squared = lambda params, task: (params - task) ** 2 / 2
    >>> float(AdaptedLoss(squared, squared, inner_step_size=0.5, num_inner_steps=2)(jnp.array(0.0), jnp.array(4.0)))
    0.5

    Source: nguyen2023, (3) and (4).
    """

    loss: Loss
    support_loss: Loss
    inner_step_size: float
    num_inner_steps: int = 1

    def __post_init__(self) -> None:
        if (
            isinstance(self.num_inner_steps, bool)
            or not isinstance(self.num_inner_steps, int)
            or self.num_inner_steps < 1
        ):
            raise ValueError(
                f"AdaptedLoss: argument num_inner_steps must be an integer of at least 1, got "
                f"{self.num_inner_steps!r}; without adaptation use the loss itself."
            )
        if not self.inner_step_size > 0:
            raise ValueError(f"AdaptedLoss: argument inner_step_size must be positive, got {self.inner_step_size!r}.")

    def adapted(self, params: PyTree, task: PyTree) -> PyTree:
        """Parameters after the inner steps."""
        return adapt(self.support_loss, params, task, self.inner_step_size, num_inner_steps=self.num_inner_steps)

    def __call__(self, params: PyTree, task: PyTree) -> Array:
        """The loss after adaptation, a scalar."""
        return self.loss(self.adapted(params, task), task)
