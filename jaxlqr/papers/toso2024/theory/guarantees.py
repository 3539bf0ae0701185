"""The requirements of Theorems 1 to 4 of toso2024 on a run, and their guarantees."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.checks import Form, assumed
from jaxlqr.papers.toso2024.theory.constants import Constants, constants
from jaxlqr.papers.toso2024.theory.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.papers.toso2024.theory.quantities import quantities


class StepSizeLimits(NamedTuple):
    """Largest inner and outer step size, scalars."""

    inner: Array
    outer: Array


@compiled(static=("num_inputs", "model_free"))
def step_size_limits(h: Constants, num_inputs: int, *, model_free: bool = False) -> StepSizeLimits:
    r"""Largest step sizes with which Theorems 1 and 3, or 2 and 4 when ``model_free``, hold.

    The paper takes suprema of the constants over the stabilising sub-level set, for one step size throughout: give
    those (:func:`sublevel_suprema`). With ``h`` at the iterate the limits are those of one step from it, which is all
    that the proofs use (:class:`CertifiedSteps`).

    Source: toso2024, Theorems 1 to 4.
    """
    curvature = 12 * h.h_grad**2 * num_inputs**2 + h.h_H**2
    if model_free:
        inner = [1 / h.h_G, num_inputs / h.h_H, 1 / h.h_grad, 1 / jnp.sqrt(20 * curvature), 0.5 * jnp.ones_like(h.h_G)]
        return StepSizeLimits(jnp.min(jnp.stack(inner)), 1 / (8 * h.h_grad))
    inner = [num_inputs / (jnp.sqrt(2.0) * h.h_H), 1 / (jnp.sqrt(2.0) * h.h_grad), 1 / jnp.sqrt(12 * curvature)]
    return StepSizeLimits(jnp.min(jnp.stack(inner)), 1 / (4 * h.h_grad))


@compiled(static=("shape",))
def smoothing_radius(
    h: Constants, epsilon: float | Array, shape: tuple[int, int], *, form: Form = "corrected"
) -> tuple[Array, Array]:
    r"""Largest radii for an error of ``epsilon`` of the gradient, (12), and of the Hessian estimate, (14).

    Arguments:
        h: constants at the gain, of the same ``form``.
        epsilon: tolerance, in Frobenius norm; half of it is left to the bias.
        shape: (m, n) of the gain.
        form: (14) is about an estimate that is not one of the Hessian (docs/errata.md, T3). Corrected, it is about that
            of :class:`jaxlqr.ZerothOrderOracle`.

    Source: toso2024, Lemmas 8 and 9; docs/errata.md, T15.
    """
    near = jnp.minimum(h.h_Delta, 1 / h.h_cost)
    gradient, hessian = bias_rates(h, shape, form=form)
    return jnp.minimum(near, epsilon / (2 * gradient)), jnp.minimum(near, epsilon / (2 * hessian))


@compiled(static=("shape",))
def bias_rates(h: Constants, shape: tuple[int, int], *, form: Form = "corrected") -> tuple[Array, Array]:
    r"""Bounds of the bias of the gradient and of the Hessian estimate, per unit of the radius.

    :math:`h_{grad}`, and :math:`h_{hess}` as printed or :math:`d\sqrt{d(d+3)}\,h_{hess}/6` for the estimate of
    :class:`jaxlqr.ZerothOrderOracle`, d = mn.
    """
    d = shape[0] * shape[1]
    return h.h_grad, h.h_hess * (1.0 if form == "printed" else d * (d * (d + 3)) ** 0.5 / 6)


@compiled(static=("shape",))
def sample_bounds(
    h: Constants, J_max: Array, shape: tuple[int, int], radius: float | Array, *, form: Form = "corrected"
) -> tuple[Array, Array]:
    r"""Bounds of the Frobenius norm of one sample of the gradient and of the Hessian estimate.

    Corrected, :math:`d (h_G + h_{grad} r)` and, for the Hessian of :class:`jaxlqr.ZerothOrderOracle`,
    :math:`\tfrac d2 \sqrt{d(d+3)} (h_H + h_{hess} r)`: neither grows as r falls. Arguments as of :func:`num_samples`.

    Source: toso2024, Lemmas 8 and 9; docs/errata.md, T15.
    """
    m, n = shape
    d = m * n
    if form == "printed":
        return 2 * d * h.h_cost * J_max, m**2 * (m + radius**2) / radius * h.h_cost * J_max
    return d * (h.h_G + h.h_grad * radius), d / 2 * (d * (d + 3)) ** 0.5 * (h.h_H + h.h_hess * radius)


@compiled(static=("shape",))
def num_samples(
    h: Constants,
    J_max: Array,
    shape: tuple[int, int],
    radius: float | Array,
    epsilon: float | Array,
    delta: float | Array,
    *,
    form: Form = "corrected",
) -> tuple[Array, Array]:
    r"""Samples for an error of ``epsilon`` with probability 1 - ``delta``: of the gradient, (13), and the Hessian,
    (15).

    Arguments:
        h: constants at the gain, of the same ``form``.
        J_max: largest cost of a task; used by the printed form.
        shape: (m, n) of the gain.
        radius: smoothing radius, at most that of :func:`smoothing_radius`.
        epsilon, delta: tolerance in Frobenius norm, and probability, of one estimate: a run makes many, and an error
            probability of ``delta`` for N iterations with M tasks needs ``delta / (3 M N)`` here (docs/errata.md, T17).
        form: printed, (13) and (15); the latter is about an estimate that does not estimate the Hessian. Corrected,
            Lemma 7 is applied to the samples as vectors, whose spectral norm is the Frobenius norm. For a scalar gain
            one sample is enough: both directions of the sphere give the same.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[0.5, 0.1], [0.0, 0.4]], [[0.0], [1.0]])])
    >>> h = jax.jit(constants)(jnp.array([[0.1, 0.3]]), tasks)
    >>> gradient, hessian = num_samples(h, jnp.array(1.5), (1, 2), 1e-3, epsilon=0.1, delta=0.05)
    >>> print(f"{float(gradient):.0e} {float(hessian):.0e}")
    3e+04 3e+07

    Source: toso2024, Lemmas 7 to 9; docs/errata.md, T15.
    """
    m, n = shape
    d = m * n
    samples = sample_bounds(h, J_max, shape, radius, form=form)

    def needed(shape: tuple[int, int], sample: Array, size: Array) -> Array:
        bound, variance = sample + epsilon / 2 + size, sample**2 + (epsilon / 2 + size) ** 2
        return bernstein(shape, variance, bound, epsilon / 2, delta)  # the other half is left to the bias

    if form == "printed":
        return needed((m, n), samples[0], h.h_G), needed((m, m), samples[1], h.h_H)
    if d == 1:
        return jnp.ones_like(h.h_G), jnp.ones_like(h.h_H)
    return needed((d, 1), samples[0], h.h_G), needed((d**2, 1), samples[1], h.h_H)


def bernstein(
    shape: tuple[int, int],
    variance: float | Array,
    bound: float | Array,
    epsilon: float | Array,
    delta: float | Array,
) -> Array:
    r"""Samples of a random matrix whose mean misses the expectation by ``epsilon`` with probability ``delta`` at most.

    With k rows and l columns, k the smaller number,
    :math:`\frac{2k}{\epsilon^2} (\sigma^2 + \frac{R \epsilon}{3 \sqrt k}) \log\frac{k + l}{\delta}`.

    Arguments:
        shape: (k, l) in either order.
        variance: :math:`\sigma^2`, the larger spectral norm of the two expected squares of the centred matrix.
        bound: R, the largest spectral norm of the centred matrix.
        epsilon, delta: tolerance in Frobenius norm, and probability.

    Source: toso2024, Lemma 7.
    """
    rank = min(shape)
    excess = variance + bound * epsilon / (3 * jnp.sqrt(float(rank)))
    return 2 * rank / epsilon**2 * excess * jnp.log(sum(shape) / delta)


@compiled()
def stability_tolerance(room: Array) -> Array:
    r"""Largest error of each estimate with which a step of Theorem 2 stays in the sub-level set, at most 1.

    :math:`\sqrt{\min_i \lambda_i\Delta_i/1296}`, for ``room`` = :math:`\lambda_i\Delta_i` of each task [M], with the
    gaps at the first gain: the error of the meta-gradient is at most 6 times as large (docs/errata.md, T17).
    """
    return jnp.minimum(jnp.sqrt(jnp.min(room) / 1296), 1.0)


@compiled()
def accuracy_tolerance(accuracy: float | Array, gradient_domination: Array, *, form: Form = "corrected") -> Array:
    r"""Largest error of each estimate with which (8) holds with the tolerance ``accuracy``, half of which it takes up.

    :math:`\epsilon'\lambda_i/648` as printed in the theorem, which writes :math:`\epsilon/2 = \epsilon'\lambda_i/1296`;
    the proof divides by :math:`n_u` as well. It is right where it is at most 1. Corrected,
    :math:`\sqrt{\epsilon'\lambda_i/648}`, at most 1: an error :math:`\epsilon` costs
    :math:`324\,\epsilon^2/\lambda_i` (docs/errata.md, T17).

    Arguments:
        accuracy: :math:`\epsilon'`, in units of the cost.
        gradient_domination: :math:`\lambda_i` of each task [M].
        form: printed or corrected.

    >>> print(accuracy_tolerance(0.01, jnp.array([4.0]), form="printed") < accuracy_tolerance(0.01, jnp.array([4.0])))
    True
    """
    relative = accuracy * jnp.min(gradient_domination) / 648
    return relative if form == "printed" else jnp.minimum(jnp.sqrt(relative), 1.0)


@compiled()
def iterations(h: Constants, gap: Array, outer_step_size: float | Array, epsilon: float | Array) -> Array:
    """Outer iterations after which Theorem 3 promises ``epsilon`` plus the bias, for initial gaps [M]; one per task."""
    return 8 / (outer_step_size * h.gradient_domination) * jnp.log(gap / epsilon)


class OptimalityBounds(NamedTuple):
    """Bounds of J_i(K) - J_i(K_i*): of the trained gain, (6) or (8) [M], and of the MAML optimum, (7), a scalar."""

    trained: Array
    optimum: Array


@compiled(static=("model_free",), prepare=assumed)
def optimality_bounds(
    K: Array, tasks: LQRTask, *, epsilon: float | Array = 0.0, model_free: bool = False, form: Form = "corrected"
) -> OptimalityBounds:
    r"""Bounds (6), or (8) when ``model_free``, and (7) of Theorems 3 and 4, with the constants at ``K``.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.stack_tasks([jaxlqr.make_task([[a]], [[1.0]]) for a in (0.9, 0.90001)])
    >>> bounds = optimality_bounds(jnp.array([[0.5]]), tasks)
    >>> bounds.trained.shape, bool(bounds.optimum > 0)
    ((2,), True)
    """
    q, h = quantities(K, tasks), constants(K, tasks, form=form)
    spread, _ = gradient_heterogeneity_bound(K, tasks, form=form)
    cubed = K.shape[0] ** 3
    trained = epsilon + (240 if model_free else 144) * cubed * spread**2 / h.gradient_domination
    # As printed, without the factor 1/4 that its proof may take from E = grad J / 2.
    return OptimalityBounds(trained, 96 * q.J_max * cubed * spread**2 / (q.mu**2 * q.sigma_R * q.sigma_Q))
