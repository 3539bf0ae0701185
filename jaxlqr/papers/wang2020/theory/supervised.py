r"""Section 4: how far a stationary point of meta-supervised learning with one gradient step can be from a better one.

Convexity of each risk in the prediction function gives
:math:`L(\omega) - L(\theta^*) \le \sum_i \langle \delta R_i/\delta h_{\omega_i}, h_{\omega_i} - h_{\theta^*_i}
\rangle / n`, and the chain rule :math:`\nabla L(\omega) = \sum_i \langle \delta R_i/\delta h_{\omega_i}, (I - \eta
\nabla^2 R_i(\omega)) \phi \rangle / n`; the bound compares the two under the inner product of a measure.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from jaxlqr.core.compiled import compiled
from jaxlqr.meta.maml import adapt
from jaxlqr.papers.wang2020.theory.ball import best_in_ball
from jaxlqr.papers.wang2020.theory.reinforcement import GapBound
from jaxlqr.supervised.risks import Risk, frechet_derivative, linear
from jaxlqr.supervised.task import SupervisedTask


class _Terms(NamedTuple):
    """w and u on atoms, phi on atoms [..., d], and the measure of the atoms."""

    w: Array
    u: Array
    phi: Array
    measure: Array


def _check_common_inputs(tasks: SupervisedTask) -> None:
    if not isinstance(tasks.x, Tracer) and not np.all(np.asarray(tasks.x) == np.asarray(tasks.x[:1])):
        raise ValueError("tasks must have common inputs, x[i] = x[0]: the theorem compares functions on one set.")


@compiled(prepare=_check_common_inputs)
def theorem_4_4(
    theta_star: Any,
    omega: Any,
    tasks: SupervisedTask,
    eta: float | Array,
    radius: float | Array,
    *,
    risk: Risk | None = None,
    form: Literal["printed", "task_indexed"] = "printed",
) -> GapBound:
    r"""Both sides of :math:`L(\omega) - L(\theta^*) \le R \epsilon + \|w\| \inf_{\|v\| \le R} \|u - \phi^\top v\|`.

    The printed form holds, with the pointwise Hessian in :math:`\phi_{\ell,\omega}` (4.15). In the task-indexed form
    the task is one more argument of w, u and :math:`\phi`: :math:`w_i = \delta R_i/\delta h_{\omega_i}`,
    :math:`u_i = h_{\omega_i} - h_{\theta^*_i}`, :math:`\phi_i = (I - \eta \nabla^2 R_i(\omega)) \nabla h_{\omega_i}`.
    It is mostly tighter, and for the squared loss and linear features its residual is zero from
    :math:`R = \|\omega - \theta^*\|` on (docs/errata.md, W4). It holds for any predictor, networks of any width too,
    since only convexity in the prediction is used.

    Arguments:
        theta_star, omega: comparator and the point whose gap is bounded: [d], or a pytree as the predictor takes it.
        tasks: stack of tasks on common inputs, x[i] = x[0]; they differ in targets and probabilities.
        eta: step size of the adaptation.
        radius: R.
        risk: a :class:`jaxlqr.supervised.Risk`, squared unless given; for the printed form with the linear predictor.
        form: ``"printed"`` or ``"task_indexed"``.

    Returns:
        :class:`jaxlqr.papers.wang2020.theory.GapBound`; its constant is the norm of w.

    Source: wang2020, Theorem 4.4, equations (4.13) to (4.16).
    """
    risk = Risk(kind="squared") if risk is None else risk
    if form not in ("printed", "task_indexed"):
        raise ValueError(f'form must be "printed" or "task_indexed", got {form!r}.')
    if risk.kind == "cross_entropy":
        raise ValueError("risk must be squared or logistic, whose predictions are scalars, got the cross-entropy.")
    if form == "printed" and risk.predictor is not linear:
        raise ValueError('the printed form is for the linear predictor; use form="task_indexed", which is for any.')

    def adapted(theta: Any) -> tuple[Any, Array, Array]:
        moved = jax.vmap(lambda task: adapt(risk, theta, task, eta))(tasks)
        return moved, jax.vmap(risk.predictor)(moved, tasks.x), jnp.mean(jax.vmap(risk)(moved, tasks))

    (omegas, own, value), (_, others, best) = adapted(omega), adapted(theta_star)
    rho = jnp.mean(tasks.probability, axis=0)
    slopes = jax.vmap(lambda theta, task: frechet_derivative(risk, theta, task, rho=rho))(omegas, tasks)
    if form == "printed":
        terms = _printed(slopes, own - others, omega, tasks, eta, risk, rho)
    else:
        measure = jnp.broadcast_to(rho[None] / len(slopes), slopes.shape)
        terms = _Terms(slopes, own - others, meta_features(omega, tasks, eta, risk), measure)
    gradient = jnp.einsum("...,...,...d->d", terms.measure, terms.w, terms.phi)
    measure = terms.measure.ravel()
    constant = jnp.sqrt(jnp.sum(measure * terms.w.ravel() ** 2))
    features = terms.phi.reshape(-1, gradient.size)
    residual = best_in_ball(features, terms.u.ravel(), measure, radius).residual
    epsilon = jnp.linalg.norm(gradient)
    infinite = jnp.isinf(residual)
    right = jnp.where(infinite, jnp.inf, constant * jnp.where(infinite, 0, residual))
    return GapBound(value - best, radius * epsilon + right, epsilon, constant, residual)


@compiled()
def meta_features(omega: Any, tasks: SupervisedTask, eta: float | Array, risk: Risk) -> Array:
    r"""Derivatives of the adapted predictions with respect to omega [M, N, d], for scalar predictions of any predictor:

    .. math:: \phi_i(x) = (I - \eta \nabla^2 R_i(\omega))\, \nabla_\theta h_\theta(x) |_{\theta = \omega_i}.
    """
    flat, unravel = ravel_pytree(omega)

    def one(task: SupervisedTask) -> Array:
        def predictions(theta: Array) -> Array:
            return risk.predictor(adapt(risk, unravel(theta), task, eta), task.x)

        return jax.jacrev(predictions)(flat)

    return jax.vmap(one)(tasks)


def _printed(slopes, changes, omega, tasks: SupervisedTask, eta, risk: Risk, rho) -> _Terms:
    """Atoms (k, j, x'): the point j of task k, and an input x'; changes are those of the adapted predictions [M, N]."""
    count, x = len(slopes), tasks.x[0]
    # Points of two tasks are one where both x and y agree.
    same = tasks.y[:, None, :] == tasks.y[None, :, :]
    mass = jnp.einsum("ij,ikj->kj", tasks.probability, same.astype(x.dtype)) / count
    ratio = jnp.where(same, tasks.probability[:, None, :], 0) / jnp.where(mass > 0, mass, 1)[None]
    w = jnp.einsum("ix,ikj->kjx", slopes, ratio) / count
    numerator = jnp.mean(slopes * changes, axis=0)
    u = jnp.where(w == 0, jnp.where(numerator == 0, 0, jnp.inf)[None, None], numerator[None, None] / _nonzero(w))
    curvature = jax.vmap(jax.grad(jax.grad(lambda h, y: risk.pointwise(h, y))))
    second = jax.vmap(lambda y: curvature(x @ omega, y))(tasks.y)
    phi = x[None, None] - eta * jnp.einsum("kj,jx,jd->kjxd", second, x @ x.T, x)
    measure = tasks.probability[:, :, None] * rho[None, None, :] / count
    # Points without mass say nothing.
    return _Terms(w, jnp.where(measure > 0, u, 0), phi, measure)


def _nonzero(w: Array) -> Array:
    return jnp.where(w == 0, 1, w)
