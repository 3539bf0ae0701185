"""The step sizes of Theorem 1 of toso2024 at every iterate, with their guarantees."""

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.checks import check_several
from jaxlqr.papers.toso2024.theory.constants import constants
from jaxlqr.papers.toso2024.theory.guarantees import StepSizeLimits, step_size_limits
from jaxlqr.papers.toso2024.theory.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.papers.toso2024.theory.quantities import quantities


@dataclass(frozen=True)
class CertifiedSteps:
    r"""The largest step sizes of Theorem 1, with the corrected constants at the iterate.

    A step rule of :func:`jaxlqr.meta_train`, for plain descent (no ``optimizer``). For every task, each step from K to
    K' then satisfies :math:`J_i(K') - J_i^* \le (1 - \eta\lambda_i/8)(J_i(K) - J_i^*) + 18\,\eta\,n_u^3 f_z(K)^2`: the
    proof of Theorem 3 uses the constants at K only. The safeguard has nothing to do.

    Attributes:
        model_free: the limits of Theorem 2 instead, which are smaller.

    >>> import jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 0.9001])
    >>> result = jaxlqr.meta_train(jaxlqr.cost, jnp.array([[0.7]]), tasks, num_steps=5, step_rule=CertifiedSteps())
    >>> bool((result.history["gap"][1:] < result.history["gap"][:-1]).all())
    True

    Source: toso2024, Theorems 1 and 3, with the constants corrected (docs/errata.md, T4 and T11 to T13).
    """

    _: KW_ONLY
    model_free: bool = False

    def check(self, tasks: LQRTask) -> None:
        """Raise ``ValueError`` for a single task: Theorem 1 does not apply to it."""
        check_several(tasks)

    def inner(self, params: Array, tasks: LQRTask, step: Array) -> Array:
        """The limit on the inner step."""
        return self._limits(params, tasks).inner

    def outer(self, params: Array, tasks: LQRTask, inner_step_size: Array, gradient: Array, step: Array) -> Array:
        """The limit on the outer step."""
        return self._limits(params, tasks).outer

    def _limits(self, params: Array, tasks: LQRTask) -> StepSizeLimits:
        return step_size_limits(constants(params, tasks), params.shape[0], model_free=self.model_free)


class Promise(NamedTuple):
    """The guarantees of one certified step from each gain of a run, with the leading axis of the gains.

    Attributes:
        gap: gaps [steps, M].
        factor: largest factor of the gap after the step [steps, M].
        bias: what heterogeneity may add [steps].
        heterogeneity_allowed: whether Theorem 1's condition on the heterogeneity holds for the first gain of the run
        [steps].
    """

    gap: Array
    factor: Array
    bias: Array
    heterogeneity_allowed: Array


@compiled()
def promises(gains: Array, tasks: LQRTask) -> Promise:
    r""":class:`Promise` at each of the ``gains`` [steps, m, n] of a run with :class:`CertifiedSteps`.

    Theorem 1 requires :math:`f_z^2 \le \min_i \lambda_i \Delta_0^{(i)} / (288\, n_u^3)`, so that a step from anywhere
    in the sub-level set of the first gain stays there.
    """
    cubed = gains.shape[1] ** 3

    def one(K: Array) -> tuple[Array, Array, Array, Array]:
        h = constants(K, tasks)
        eta = step_size_limits(h, K.shape[0]).outer
        spread, _ = gradient_heterogeneity_bound(K, tasks)
        return (
            quantities(K, tasks).gap,
            1 - eta * h.gradient_domination / 8,
            18 * eta * cubed * spread**2,
            spread**2 / h.gradient_domination,
        )

    gap, factor, bias, needed = jax.vmap(one)(gains)
    return Promise(gap, factor, bias, jnp.all(needed <= gap[:1] / (288 * cubed), axis=1))
