"""What Theorems 1 to 4 of toso2024 ask of a run, and what they promise for it."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.lqr.task import LQRTask
from jaxlqr.theory.toso2024.constants import Constants, Form, constants
from jaxlqr.theory.toso2024.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.theory.toso2024.quantities import quantities


class StepSizeLimits(NamedTuple):
    """Largest inner and outer step size, scalars."""

    inner: Array
    outer: Array


def step_size_limits(h: Constants, num_inputs: int, *, model_free: bool = False) -> StepSizeLimits:
    r"""Largest step sizes with which Theorems 1 and 3, or 2 and 4 when ``model_free``, hold.

    The paper takes suprema of the constants over the stabilising sub-level set, for one step size throughout: give
    those (:func:`sublevel_constants`). With ``h`` at the iterate the limits are those of one step from it, which is all
    that the proofs use (:class:`CertifiedSteps`).

    Source: toso2024, Theorems 1 to 4.
    """
    curvature = 12 * h.h_grad**2 * num_inputs**2 + h.h_H**2
    if model_free:
        inner = [1 / h.h_G, num_inputs / h.h_H, 1 / h.h_grad, 1 / jnp.sqrt(20 * curvature), 0.5 * jnp.ones_like(h.h_G)]
        return StepSizeLimits(jnp.min(jnp.stack(inner)), 1 / (8 * h.h_grad))
    inner = [num_inputs / (jnp.sqrt(2.0) * h.h_H), 1 / (jnp.sqrt(2.0) * h.h_grad), 1 / jnp.sqrt(12 * curvature)]
    return StepSizeLimits(jnp.min(jnp.stack(inner)), 1 / (4 * h.h_grad))


def smoothing_radius(
    h: Constants, epsilon: float | Array, shape: tuple[int, int], form: Form = "corrected"
) -> tuple[Array, Array]:
    r"""Largest radii for an error of ``epsilon`` of the gradient, (12), and of the Hessian estimate, (14).

    Arguments:
        h: constants at the gain, of the same ``form``.
        epsilon: tolerance, in Frobenius norm.
        shape: (m, n) of the gain.
        form: (14) is about an estimate that is not one of the Hessian (docs/errata.md, T3). Corrected, it is about that
            of :class:`jaxlqr.ZerothOrderOracle`, whose bias is at most :math:`d\sqrt{d(d+3)}\, h_{hess}\, r/6`, d = mn.

    Source: toso2024, Lemmas 8 and 9; docs/errata.md, T15.
    """
    near = jnp.minimum(h.h_Delta, 1 / h.h_cost)
    d = shape[0] * shape[1]
    slack = 2.0 if form == "printed" else d * (d * (d + 3)) ** 0.5 / 3
    return jnp.minimum(near, epsilon / (2 * h.h_grad)), jnp.minimum(near, epsilon / (slack * h.h_hess))


def num_samples(
    h: Constants,
    J_max: Array,
    shape: tuple[int, int],
    radius: float | Array,
    epsilon: float | Array,
    delta: float | Array,
    form: Form = "corrected",
) -> tuple[Array, Array]:
    r"""Samples for an error of ``epsilon`` with probability 1 - ``delta``: of the gradient, (13), and the Hessian,
    (15).

    Arguments:
        h: constants at the gain, of the same ``form``.
        J_max: largest cost of a task; used by the printed form.
        shape: (m, n) of the gain.
        radius: smoothing radius, at most that of :func:`smoothing_radius`.
        epsilon, delta: tolerance in Frobenius norm, and probability, of one estimate: a run makes many.
        form: printed, (13) and (15), of which the latter is about an estimate that is not one of the Hessian.
            Corrected, a single sample of the gradient is at most :math:`d (h_G + h_{grad} r)`, and one of the Hessian
            of :class:`jaxlqr.ZerothOrderOracle` at most :math:`\tfrac d2 \sqrt{d(d+3)} (h_H + h_{hess} r)`: neither
            grows as r falls. Lemma 7 is applied to them as vectors, whose spectral norm is the Frobenius norm.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[0.9]], [[1.0]])])
    >>> h = jax.jit(constants)(jnp.array([[0.6]]), tasks)
    >>> gradient, hessian = num_samples(h, jnp.array(1.5), (1, 1), 1e-3, epsilon=0.1, delta=0.05)
    >>> print(f"{float(gradient):.0e} {float(hessian):.0e}")
    2e+03 4e+05

    Source: toso2024, Lemmas 7 to 9; docs/errata.md, T15.
    """
    m, n = shape
    d = m * n

    def bernstein(rank: int, total: int, sample: Array, size: Array) -> Array:
        bound, variance = sample + epsilon / 2 + size, sample**2 + (epsilon / 2 + size) ** 2
        excess = variance + bound * epsilon / (6 * jnp.sqrt(float(rank)))
        return 8 * rank / epsilon**2 * excess * jnp.log(total / delta)

    if form == "printed":
        gradient = bernstein(min(m, n), m + n, 2 * d * h.h_cost * J_max, h.h_G)
        hessian = bernstein(m, 2 * m, m**2 * (m + radius**2) / radius * h.h_cost * J_max, h.h_H)
    else:
        gradient = bernstein(1, d + 1, d * (h.h_G + h.h_grad * radius), h.h_G)
        hessian = bernstein(1, d**2 + 1, d / 2 * (d * (d + 3)) ** 0.5 * (h.h_H + h.h_hess * radius), h.h_H)
    return gradient, hessian


def iterations(h: Constants, gap: Array, outer_step_size: float | Array, epsilon: float | Array) -> Array:
    """Outer iterations after which Theorem 3 promises ``epsilon`` plus the bias, for initial gaps [M]; one per task."""
    return 8 / (outer_step_size * h.gradient_domination) * jnp.log(gap / epsilon)


class OptimalityBounds(NamedTuple):
    """Bounds of J_i(K) - J_i(K_i*): of the trained gain, (6) or (8) [M], and of the MAML optimum, (7), a scalar."""

    trained: Array
    optimum: Array


def optimality_bounds(
    K: Array, tasks: LQRTask, epsilon: float | Array = 0.0, *, model_free: bool = False, form: Form = "corrected"
) -> OptimalityBounds:
    r"""Bounds (6), or (8) when ``model_free``, and (7) of Theorems 3 and 4, with the constants at ``K``.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[a]], [[1.0]]) for a in (0.9, 0.90001)])
    >>> bounds = optimality_bounds(jnp.array([[0.5]]), tasks)
    >>> bounds.trained.shape, bool(bounds.optimum > 0)
    ((2,), True)
    """
    q, h = quantities(K, tasks), constants(K, tasks, form)
    spread, _ = gradient_heterogeneity_bound(K, tasks, form)
    cubed = K.shape[0] ** 3
    trained = epsilon + (240 if model_free else 144) * cubed * spread**2 / h.gradient_domination
    # As printed, without the factor 1/4 that its proof may take from E = grad J / 2.
    return OptimalityBounds(trained, 96 * q.J_max * cubed * spread**2 / (q.mu**2 * q.sigma_R * q.sigma_Q))
