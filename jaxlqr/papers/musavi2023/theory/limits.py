"""Limits on the inner and outer step sizes: Lemmas 1 and 3, and Condition 1."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxlqr.core.compiled import compiled
from jaxlqr.families import check_common_dynamics
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.maml import maml_gradient
from jaxlqr.papers.checks import check_inputs, gain_and_tasks
from jaxlqr.papers.musavi2023.theory.radius import delta as delta
from jaxlqr.papers.musavi2023.theory.radius import delta_bar as delta_bar
from jaxlqr.papers.musavi2023.theory.radius import spectral_norm
from jaxlqr.papers.musavi2023.theory.smoothness import meta_constants, smoothness


@compiled(prepare=gain_and_tasks)
def inner_step_limit(K: Array, tasks: LQRTask) -> Array:
    r"""Inner step below which a task-stabilising gain is MAML-stabilising, :math:`\min_i \delta_i / \|\nabla J_i\|`.

    Arguments: ``K`` [m, n]; ``tasks``, a stack. Returns: a scalar; 0 when ``K`` does not stabilise some task.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> limit = inner_step_limit(jnp.array([[0.5]]), tasks)
    >>> bool(jnp.isfinite(jaxlqr.maml_loss(jaxlqr.cost, jnp.array([[0.5]]), tasks, inner_step_size=0.99 * limit)))
    True

    Source: musavi2023, Lemma 1.
    """

    def one(task: LQRTask) -> Array:
        radius = delta(K, task)
        return jnp.where(radius > 0, radius / spectral_norm(jax.grad(cost)(K, task)), 0.0)

    return jnp.min(jax.vmap(one)(tasks))


@compiled(prepare=gain_and_tasks)
def outer_step_limit(K: Array, tasks: LQRTask, inner_step_size: Array | float) -> Array:
    r"""Outer step below which the next gain still stabilises all tasks, :math:`\min_i \bar\delta_i / \|\nabla F\|`.

    F is the mean over tasks, as in :func:`jaxlqr.maml_loss`; for the sum, divide by their number. NaN when ``K`` is not
    MAML-stabilising. Lemma 3 is stated for common dynamics; its proof does not need them.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> K, eta = jnp.array([[0.8]]), 1e-2
    >>> gradient = jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=eta)
    >>> moved = K - 0.99 * outer_step_limit(K, tasks, eta) * gradient
    >>> bool(jax.vmap(jaxlqr.is_stabilizing, (None, 0))(moved, tasks).all())
    True

    Source: musavi2023, Lemma 3.
    """
    radius = jnp.min(jax.vmap(lambda task: delta_bar(K, task))(tasks))
    return radius / spectral_norm(maml_gradient(cost, K, tasks, inner_step_size=inner_step_size))


@compiled(prepare=gain_and_tasks)
def condition_1_inner(K: Array, tasks: LQRTask, alpha: Array | float) -> Array:
    r"""The first half of Condition 1: the least upper bound on the inner step, a scalar.

    .. math:: \min_i \min\Big\{ \frac{1}{4 \|\nabla^2 J_i\| + 2 \rho_i \delta_i},
              \frac{(1 - \alpha) \delta}{\alpha \delta \ell_i + \|\nabla J_i\|} \Big\}
    """

    def one(task: LQRTask):
        gradient = jax.grad(cost)(K, task)
        hessian = jax.hessian(cost)(K, task).reshape(K.size, K.size)
        return smoothness(K, task), delta(K, task), spectral_norm(gradient), spectral_norm(hessian)

    constants, radii, gradients, hessians = jax.vmap(one)(tasks)
    radius = jnp.min(radii)
    curved = 1 / (4 * hessians + 2 * constants.rho * radii)
    stable = (1 - alpha) * radius / (alpha * radius * constants.ell + gradients)
    return jnp.min(jnp.minimum(curved, stable))


class Condition1(NamedTuple):
    """The requirements of Condition 1 at a gain, all scalars.

    Attributes:
        inner_limit: the inner step must be below this.
        inner_step: the one that the outer limits below are for.
        outer_low, outer_high: the outer step must lie between a / L and b / L.
        outer_limit: and b / L must be below this, printed: alpha times the limit of Lemma 3.
        validity_limit: and below this, which the printed condition lacks: the next gain must lie where L holds.
        satisfied: whether the printed condition leaves room for an outer step.
        gradient: the meta-gradient [m, n].
    """

    inner_limit: Array
    inner_step: Array
    outer_low: Array
    outer_high: Array
    outer_limit: Array
    validity_limit: Array
    satisfied: Array
    gradient: Array


def _check_condition_1(K: Any, tasks: Any, alpha: Any, a: Any, b: Any, inner_step_size: Any) -> dict[str, Any]:
    check_parameters(alpha, a, b)
    checked = gain_and_tasks(K, tasks)
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(checked)):
        check_inputs(**checked)
        check_common_dynamics(checked["tasks"])
    if inner_step_size is not None and not isinstance(inner_step_size, Tracer) and not np.asarray(inner_step_size) > 0:
        raise ValueError(f"inner_step_size must be positive, got {inner_step_size}; leave it out for 0.9 of its limit.")
    return checked


@compiled(prepare=_check_condition_1)
def condition_1(
    K: Array,
    tasks: LQRTask,
    *,
    alpha: Array | float = 0.5,
    a: Array | float = 0.5,
    b: Array | float = 0.9,
    inner_step_size: Array | float | None = None,
) -> Condition1:
    r"""The step sizes of Condition 1 at the gain ``K`` [m, n], which keep every task stable and the objective falling.

    Arguments:
        K: gain that stabilises every task.
        tasks: a stack with common dynamics, as the theorem assumes; outside ``jit`` this is checked.
        alpha: in (0, 1), how the radius of stability is shared between the inner and the outer step.
        a, b: with :math:`2a > b^2` and a < b.
        inner_step_size: for which the outer limits are computed; 0.9 times its own limit unless given.

    Raises:
        ValueError: outside ``jit``, for a gain that does not stabilise every task, a singular Q, R or Sigma0, tasks
            without common dynamics, and an inner step that is not positive.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> limits = condition_1(jnp.array([[0.8]]), tasks)
    >>> bool(limits.satisfied), bool(limits.outer_low < limits.outer_high < limits.outer_limit)
    (True, True)

    Source: musavi2023, Condition 1; for ``validity_limit`` docs/errata.md, M6.
    """
    limit = condition_1_inner(K, tasks, alpha)
    eta = jnp.asarray(0.9 * limit if inner_step_size is None else inner_step_size)
    gradient = maml_gradient(cost, K, tasks, inner_step_size=eta)
    limits = outer_limits(K, tasks, eta, gradient, alpha)
    low, high = a / limits.smoothness, b / limits.smoothness
    satisfied = (eta < limit) & (high < limits.stability)
    return Condition1(limit, eta, low, high, limits.stability, limits.validity, satisfied, gradient)


def iteration_bound(
    gap: Array | float,
    meta_smoothness: Array | float,
    epsilon: Array | float,
    *,
    a: Array | float = 0.5,
    b: Array | float = 0.9,
) -> Array:
    r"""Iterations after which some meta-gradient is at most ``epsilon``, :math:`2 \Delta L / ((2a - b^2) \epsilon^2)`.

    Theorem 1 prints :math:`\tilde c_1 + \tilde c_2 (\sigma + \epsilon)` for :math:`2 L`, without its constants. Each
    step within Condition 1 decreases F by :math:`(2a - b^2) \|\nabla F\|_F^2 / (2 L)` at least; add these up.

    Arguments:
        gap: :math:`\Delta`, F at the start less its least value.
        meta_smoothness: the largest L on the way, :func:`jaxlqr.papers.musavi2023.theory.meta_smoothness`.
        epsilon: Frobenius norm of the meta-gradient.
        a, b: of Condition 1.

    >>> print(round(float(iteration_bound(1.0, 10.0, 0.1)), 6))
    10526.315789

    Source: musavi2023, Theorem 1; the inner step must be the same in all iterations (docs/errata.md, M8).
    """
    check_parameters(0.5, a, b)
    return 2 * jnp.asarray(gap) * meta_smoothness / ((2 * a - b**2) * jnp.asarray(epsilon) ** 2)


class OuterLimits(NamedTuple):
    """L, and the outer steps below which the next gain stabilises and lies where L holds; all scalars."""

    smoothness: Array
    stability: Array
    validity: Array


@compiled(prepare=gain_and_tasks)
def outer_limits(
    K: Array, tasks: LQRTask, inner_step_size: Array | float, gradient: Array, alpha: Array | float
) -> OuterLimits:
    """The quantities of the second half of Condition 1, given the meta-gradient [m, n]."""
    bound, radius = meta_constants(K, tasks, inner_step_size)
    norm = spectral_norm(gradient)
    stable = jnp.min(jax.vmap(lambda task: delta_bar(K, task))(tasks))
    return OuterLimits(bound, alpha * stable / norm, radius / norm)


def check_parameters(alpha: Array | float, a: Array | float, b: Array | float) -> None:
    """Raise ``ValueError`` unless 0 < alpha < 1, 0 < a < b and 2 a > b^2; traced values are not looked at."""
    if any(isinstance(value, Tracer) for value in (alpha, a, b)):
        return
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}.")
    if not (0 < a < b and 2 * a > b**2):
        raise ValueError(f"a and b must satisfy 0 < a < b and 2 a > b^2, got a = {a} and b = {b}; try 0.5 and 0.9.")
