"""The certified step-size rule: Condition 1 at every iterate."""

from dataclasses import KW_ONLY, dataclass

import jax.numpy as jnp
from jax import Array

from jaxlqr.families import check_common_dynamics
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.musavi2023.theory.limits import check_parameters, condition_1_inner, outer_limits


@dataclass(frozen=True)
class CertifiedSteps:
    r"""Inner and outer steps from Condition 1, so that no iterate leaves the MAML-stabilising set.

    At every iterate the inner step is ``inner_fraction`` of its limit, and the outer one the mean of a / L and b / L,
    or 0.9 times the least of its other limits if that is smaller. It is a step rule of :func:`jaxlqr.meta_train`, to be
    used with plain descent (no ``optimizer``); the safeguard then has nothing to do.

    Attributes:
        alpha, a, b: as in :func:`jaxlqr.papers.musavi2023.theory.condition_1`.
        inner_fraction: in (0, 1).

    >>> import jaxlqr, jax.numpy as jnp
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> result = jaxlqr.meta_train(jaxlqr.cost, jnp.array([[0.8]]), tasks, num_steps=5, step_rule=CertifiedSteps())
    >>> bool((result.history["accepted_step"][1:] == 1).all())
    True

    Source: musavi2023, Condition 1 and Theorem 1, with the domain of L corrected (docs/errata.md, M6).
    """

    _: KW_ONLY
    alpha: float = 0.5
    a: float = 0.5
    b: float = 0.9
    inner_fraction: float = 0.9

    def __post_init__(self) -> None:
        check_parameters(self.alpha, self.a, self.b)
        if not 0 < self.inner_fraction < 1:
            raise ValueError(f"inner_fraction must lie in (0, 1), got {self.inner_fraction}.")

    def check(self, tasks: LQRTask) -> None:
        """Raise ``ValueError`` unless the tasks have common dynamics, as Theorem 1 assumes."""
        check_common_dynamics(tasks)

    def inner(self, params: Array, tasks: LQRTask, step: Array) -> Array:
        """A fraction of the limit of Condition 1 on the inner step."""
        return self.inner_fraction * condition_1_inner(params, tasks, self.alpha)

    def outer(self, params: Array, tasks: LQRTask, inner_step_size: Array, gradient: Array, step: Array) -> Array:
        """The outer step between a / L and b / L."""
        limits = outer_limits(params, tasks, inner_step_size, gradient, self.alpha)
        wanted = (self.a + self.b) / 2 / limits.smoothness
        return jnp.minimum(wanted, 0.9 * jnp.minimum(limits.stability, limits.validity))
