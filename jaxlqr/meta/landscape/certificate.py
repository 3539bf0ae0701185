"""Proposition 1 of molybog2021, checked after the fact: is this stationary point a global minimiser?"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.core.compiled import compiled
from jaxlqr.core.layout import num_tasks
from jaxlqr.core.result import short_repr
from jaxlqr.core.types import PyTree
from jaxlqr.meta.landscape.objective import check_step, mean_value, task_values
from jaxlqr.oracles.protocol import Loss


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Certificate:
    r"""Result of :func:`certify` at a point, with the hypotheses of the proposition that hold there.

    Attributes:
        value: meta-objective h.
        gradient_norm: Frobenius norm of :math:`\nabla h`.
        smallest_eigenvalue, largest_eigenvalue: of the meta-Hessian :math:`\nabla^2 h`.
        step_ratios: :math:`\eta \|\nabla^2 J_i\|_2` at the point, [M].
        is_stationary: the gradient vanishes within the tolerance.
        is_minimum: the meta-Hessian is positive definite.
        is_step_small: all step ratios are below one, so that each adaptation map is open near the point.
        is_adapted_stationary: what each task adapts to is stationary for its own loss. The exact hypotheses imply this.
            If a step ratio is one within rounding, only this value distinguishes a spurious minimum from a global one.
        is_single_task: there is one task; only then does the proposition speak of h.
    """

    value: Array
    gradient_norm: Array
    smallest_eigenvalue: Array
    largest_eigenvalue: Array
    step_ratios: Array
    is_stationary: Array
    is_minimum: Array
    is_step_small: Array
    is_adapted_stationary: Array
    is_single_task: Array

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def holds(self) -> Array:
        """Whether all hypotheses hold: the point is then within epsilon of the least value, if J is epsilon-global.

        The LQR cost with a positive definite Sigma0 is 0-global, so its certified points are global minimisers.
        """
        local = self.is_stationary & self.is_minimum
        return local & self.is_step_small & self.is_adapted_stationary & self.is_single_task


def certify(
    loss: Loss, params: PyTree, tasks: PyTree, inner_step_size: float | Array, *, tolerance: float = 1e-6
) -> Certificate:
    r"""Check the hypotheses of Proposition 1 at the limit point of a training run.

    With :math:`h(K) = \frac1M \sum_i J_i(K - \eta \nabla J_i(K))`: :math:`\nabla h(K) = 0`,
    :math:`\nabla^2 h(K) \succ 0` and :math:`\eta \|\nabla^2 J_i(K)\|_2 < 1`. For one task whose loss is epsilon-global
    they imply :math:`h(K) - \min h \le \epsilon`. For several they do not, since a mean of compositions is no
    composition (two scaled copies of one task are the counterexample of the paper); the numbers still describe the
    point, and a small step with a positive definite Hessian makes it a local minimiser.

    At a spurious minimum :math:`I - \eta \nabla^2 J(K)` is singular, so the step ratio is one there, and rounding may
    put it below one. Therefore the adapted parameters are checked as well: by
    :math:`\nabla h(K) = (I - \eta \nabla^2 J(K)) \nabla J(K - \eta \nabla J(K))` they are stationary for J under the
    hypotheses.

    Arguments:
        loss: function (params, task) -> scalar.
        params: the point, a gain [m, n] or any pytree of parameters.
        tasks: pytree with a leading task axis.
        inner_step_size: adaptation step size, positive.
        tolerance: a gradient counts as zero when the Newton step predicts a decrease below ``tolerance`` squared times
            the value; a bound on the gradient's norm alone would depend on units.

    Raises:
        ValueError: if ``params``, or the adapted parameters, are infeasible for some task.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[1.0, 0.2], [0.0, 0.9]], [[0.0], [0.5]])
    >>> tasks = jaxlqr.stack_tasks([task])
    >>> certificate = certify(jaxlqr.cost, jaxlqr.optimal_gain(task), tasks, inner_step_size=1e-3)
    >>> bool(certificate.holds), bool(certificate.step_ratios[0] < 1)
    (True, True)

    Source: molybog2021, Theorem 2 and Proposition 1; for "second-order stationary" see docs/errata.md, L3.
    """
    check_step(inner_step_size)
    values, certificate = _certify(loss, num_tasks(tasks) == 1, params, tasks, inner_step_size, tolerance)
    bad = [int(i) for i in jnp.flatnonzero(~jnp.isfinite(values))]
    if bad:
        raise ValueError(
            f"params must be feasible before and after adaptation, but the objective is infinite for {len(bad)} of "
            f"{values.size} tasks ({', '.join(map(str, bad[:8]))}); pass a gain that stabilises them, or reduce "
            "inner_step_size."
        )
    return certificate


@compiled(static=("single",))
def _certify(loss: Loss, single: bool, K, tasks, inner_step_size, tolerance) -> tuple[Array, Certificate]:
    flat, unravel = ravel_pytree(K)

    def objective(point: Array) -> Array:
        return mean_value(loss, unravel(point), tasks, inner_step_size)

    def task_derivatives(point: Array, task) -> tuple[Array, Array, Array]:
        def own(point: Array) -> Array:
            return loss(unravel(point), task)

        return *jax.value_and_grad(own)(point), jax.hessian(own)(point)

    value, gradient = jax.value_and_grad(objective)(flat)
    hessian = jax.hessian(objective)(flat)
    eigenvalues, vectors = jnp.linalg.eigh((hessian + hessian.T) / 2)
    _, slopes, curvatures = jax.vmap(task_derivatives, (None, 0))(flat, tasks)
    ratios = inner_step_size * jnp.max(jnp.abs(jnp.linalg.eigvalsh(curvatures)), axis=1)
    adapted = jax.vmap(task_derivatives)(flat[None] - inner_step_size * slopes, tasks)

    def adapted_is_stationary(value: Array, slope: Array, hessian: Array) -> Array:
        bends, directions = jnp.linalg.eigh(hessian)
        return _is_stationary(value, slope, bends, directions, tolerance)

    certificate = Certificate(
        value=value,
        gradient_norm=jnp.linalg.norm(gradient),
        smallest_eigenvalue=eigenvalues[0],
        largest_eigenvalue=eigenvalues[-1],
        step_ratios=ratios,
        is_stationary=_is_stationary(value, gradient, eigenvalues, vectors, tolerance),
        is_minimum=eigenvalues[0] > 0,
        is_step_small=jnp.all(ratios < 1),
        is_adapted_stationary=jnp.all(jax.vmap(adapted_is_stationary)(*adapted)),
        is_single_task=jnp.asarray(single),
    )
    return task_values(loss, K, tasks, inner_step_size), certificate


def _is_stationary(value: Array, gradient: Array, eigenvalues: Array, vectors: Array, tolerance) -> Array:
    """Whether the Newton step predicts no decrease worth speaking of; false where an eigenvalue is zero."""
    decrease = jnp.sum((vectors.T @ gradient) ** 2 / jnp.abs(eigenvalues)) / 2
    return decrease <= tolerance**2 * jnp.abs(value)
