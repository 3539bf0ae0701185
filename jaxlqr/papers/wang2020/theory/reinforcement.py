r"""Section 3: how far a stationary point of the meta-objective of proximal steps can be from a better policy.

With :math:`D` the density of the gradient (:func:`jaxlqr.mdp.gradient.density`) and N that of the gap,

.. math:: L(\theta^*) - L(\omega) = \sum N = \nabla L(\omega)^\top v + \sum_{s,a} (N - D\, \phi^\top v)
          \le R \epsilon + \| D / \varrho \|_\varrho \, \| f_\omega - \phi^\top v \|_\varrho, \quad f_\omega = N / D,

for every :math:`v` in the ball of radius R, every comparator and every positive measure :math:`\varrho`.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.gradient import Anatomy, anatomy, density
from jaxlqr.mdp.model import MDPTask
from jaxlqr.papers.checks import Form
from jaxlqr.papers.wang2020.printed import printed_density
from jaxlqr.papers.wang2020.theory.ball import best_in_ball

BoundForm = Literal["printed", "corrected", "sharp", "l1"]
Measure = Literal["meta", "mixed"]
# Least-squares problems that the l1 form solves, each with the weights of the one before.
_REWEIGHTED = 30


class GapBound(NamedTuple):
    """One side and the other of an optimality gap bound, and what the latter is made of; scalars.

    Attributes:
        gap: how much better the comparator is.
        bound: the right side: radius * epsilon + constant * residual, infinite where one of these is.
        epsilon: norm of the gradient at omega.
        constant: C of the theorem; the exact norm it bounds for the sharp form, 1 for the l1 form.
        residual: distance of f_omega from the ball of linear functions.
    """

    gap: Array
    bound: Array
    epsilon: Array
    constant: Array
    residual: Array


class Densities(NamedTuple):
    """N and D [S, A]: they sum to the gap, and with the features to the gradient."""

    N: Array
    D: Array


@compiled()
def meta_visitation(theta: Any, tasks: MDPTask, eta: float | Array) -> tuple[Array, Array]:
    r"""Meta-visitation measures :math:`\varsigma_i` [M, S, A] and their mean :math:`\varrho` [S, A].

    Source: wang2020, Definition 3.3, equations (3.10) and (3.11).
    """
    follow = _anatomies(theta, tasks, eta).follow
    return follow, jnp.mean(follow, axis=0)


@compiled()
def C_0(theta: Any, tasks: MDPTask, eta: float | Array, *, measure: Measure = "meta") -> Array:
    r"""The constant of Assumption 3.4: the largest :math:`\|d\mu/d\varrho\|_\varrho` over
    :math:`\mu = \sigma_{\pi_i}, \varsigma_i`.

    Infinite when some start state is never visited again, as :math:`\varrho` then gives it no mass. ``measure="mixed"``
    takes the mean of all :math:`\sigma_{\pi_i}` and :math:`\varsigma_i` instead, for which the theorem holds as well
    and the constant is at most :math:`\sqrt{2 n}`.

    >>> import jaxlqr
    >>> task = jaxlqr.mdp.make_tasks(jaxlqr.mdp.stack_mdps([jaxlqr.families.bandit([0.0, 1.0])] * 2))
    >>> float(C_0(jnp.zeros((1, 2)), task, 0.0))
    1.0
    """
    parts = _anatomies(theta, tasks, eta)
    return _C_0(parts, _measure(parts, measure))


@compiled()
def gap_densities(
    theta_star: Any, omega: Any, tasks: MDPTask, eta: float | Array, *, form: Form = "corrected"
) -> Densities:
    r"""N and D [S, A] at omega: :math:`\sum N = L(\theta^*) - L(\omega)` and :math:`\sum D\,\phi = \nabla L(\omega)`.

    :math:`N = \frac1n \sum_i \frac{1}{1-\gamma_i} A_i^{\pi_{i,\omega}} \sigma_{\pi_{i,\theta^*}}`, by the performance
    difference lemma. The printed form changes D only.
    """
    return _densities(theta_star, _anatomies(omega, tasks, eta), tasks, eta, form)


@compiled()
def f_omega(theta_star: Any, omega: Any, tasks: MDPTask, eta: float | Array, *, form: Form = "corrected") -> Array:
    r""":math:`f_\omega = N / D` [S, A], infinite where only D is zero; 0 where both are.

    Source: wang2020, equation (3.14), where :math:`\varrho` cancels; docs/errata.md, W2.
    """
    return _quotient(gap_densities(theta_star, omega, tasks, eta, form=form))


@compiled()
def theorem_3_5(
    theta_star: Any,
    omega: Any,
    tasks: MDPTask,
    eta: float | Array,
    radius: float | Array,
    *,
    form: BoundForm = "corrected",
    measure: Measure = "meta",
) -> GapBound:
    r"""Both sides of the optimality gap of an :math:`\epsilon`-stationary point, everything computed exactly.

    Arguments:
        theta_star: the comparator; any parameters, for which the theorem holds as well as for the best ones.
        omega: the point whose gap is bounded; its :math:`\epsilon` is the norm of the gradient there.
        tasks: stack of tasks; energies that are not linear are linearised at omega, which is exact for this bound.
        eta: proximal step size.
        radius: R.
        form: ``"corrected"`` (docs/errata.md, W2); ``"printed"``, which is false; ``"sharp"``: the exact norm
            :math:`\|D/\varrho\|_\varrho` in place of its bound C; ``"l1"``: without a division or a measure,
            :math:`R \epsilon + \min_v \sum |N - D \phi^\top v|`, up to the accuracy of a minimisation that can only
            make it larger.
        measure: ``"meta"``, or ``"mixed"`` where the former makes the constant infinite; see :func:`C_0`.

    Returns:
        :class:`GapBound`; no entry is NaN.

    >>> import jaxlqr
    >>> mdps = jaxlqr.mdp.stack_mdps([jaxlqr.families.bandit([0.0, 1.0]), jaxlqr.families.bandit([0.2, 0.6])])
    >>> told = theorem_3_5(jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2)), jaxlqr.mdp.make_tasks(mdps), 1.0, radius=1.0)
    >>> bool(told.gap <= told.bound)
    True

    Source: wang2020, Theorem 3.5.
    """
    if form not in ("printed", "corrected", "sharp", "l1"):
        raise ValueError(f'form must be "printed", "corrected", "sharp" or "l1", got {form!r}.')
    parts = _anatomies(omega, tasks, eta)
    exact = _densities(theta_star, parts, tasks, eta, "corrected")
    phi = _features(omega, tasks)
    gap, epsilon = jnp.sum(exact.N), jnp.linalg.norm(exact.D.ravel() @ phi)
    if form == "l1":
        constant, residual = jnp.ones_like(gap), _l1_residual(exact, phi, radius)
    else:
        rho = _measure(parts, measure)
        used = _densities(theta_star, parts, tasks, eta, "printed") if form == "printed" else exact
        residual = best_in_ball(phi, _quotient(used).ravel(), rho.ravel(), radius).residual
        constant = _norm(exact.D, rho) if form == "sharp" else _constant(parts, tasks, eta, rho, form)
    infinite = jnp.isinf(constant) | jnp.isinf(residual)
    product = jnp.where(infinite, jnp.inf, constant * jnp.where(infinite, 0, residual))
    return GapBound(gap, radius * epsilon + product, epsilon, constant, residual)


def _anatomies(theta: Any, tasks: MDPTask, eta: float | Array) -> Anatomy:
    return jax.vmap(lambda task: anatomy(task.logits(theta), task.mdp, eta))(tasks)


def _densities(theta_star: Any, parts: Anatomy, tasks: MDPTask, eta: Any, form: Form) -> Densities:
    of_gradient = printed_density if form == "printed" else density

    def one(own: Anatomy, task: MDPTask) -> Densities:
        better = anatomy(task.logits(theta_star), task.mdp, eta).sigma
        N = own.after * better / (1 - task.mdp.gamma)
        return Densities(N, of_gradient(own, task.mdp, task.temperature, eta))

    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(one)(parts, tasks))


def _quotient(densities: Densities) -> Array:
    N, D = densities
    nowhere = D == 0
    return jnp.where(nowhere, jnp.where(N == 0, 0, jnp.sign(N) * jnp.inf), N / jnp.where(nowhere, 1, D))


def _features(omega: Any, tasks: MDPTask) -> Array:
    """Gradients of the energy at omega [S A, d]; the features themselves where it is linear."""
    first = jax.tree.map(lambda leaf: leaf[0], tasks)
    flat, unravel = ravel_pytree(omega)
    slopes = jax.jacobian(lambda w: first.energy(unravel(w), first.features))(flat)
    return slopes.reshape(-1, flat.size)


def _measure(parts: Anatomy, measure: Measure) -> Array:
    if measure not in ("meta", "mixed"):
        raise ValueError(f'measure must be "meta" or "mixed", got {measure!r}.')
    meta = jnp.mean(parts.follow, axis=0)
    return meta if measure == "meta" else (meta + jnp.mean(parts.sigma, axis=0)) / 2


def _norm(density: Array, rho: Array) -> Array:
    r""":math:`\|d\mu/d\varrho\|_\varrho` over the last two axes; infinite where :math:`\varrho` misses mass."""
    missed = rho == 0
    terms = jnp.where(missed, jnp.where(density == 0, 0, jnp.inf), density**2 / jnp.where(missed, 1, rho))
    return jnp.sqrt(jnp.sum(terms, axis=(-2, -1)))


def _C_0(parts: Anatomy, rho: Array) -> Array:
    norms = jax.vmap(_norm, in_axes=(0, None))(jnp.concatenate([parts.sigma, parts.follow]), rho)
    return jnp.max(norms)


def _constant(parts: Anatomy, tasks: MDPTask, eta: Any, rho: Array, form: BoundForm) -> Array:
    """C, from |A| <= 2 Qmax and the norms of Assumption 3.4; all tasks have one temperature."""
    largest, gamma = jnp.max(jnp.abs(tasks.mdp.r)), tasks.mdp.gamma
    horizon = jnp.ones_like(gamma) if form == "printed" else 1 / (1 - gamma)
    mean = jnp.mean(horizon * (1 + 2 * largest * gamma * eta * horizon))
    return 2 * _C_0(parts, rho) * largest / tasks.temperature[0] * mean


def _l1_residual(densities: Densities, phi: Array, radius: Any) -> Array:
    """Smallest sum |N - D phi' v| over reweighted least squares in the ball; each iterate gives a valid bound."""
    N, D = (part.ravel() for part in densities)
    rows = D[:, None] * phi
    floor = 1e-9 * jnp.max(jnp.abs(N)) + jnp.finfo(N.dtype).tiny

    def improve(carry, _):
        weights, best = carry
        v, _ = best_in_ball(rows, N, weights, radius)
        left = jnp.abs(N - rows @ v)
        return (1 / jnp.maximum(left, floor), jnp.minimum(best, jnp.sum(left))), None

    start = (jnp.ones_like(N), jnp.sum(jnp.abs(N)))
    return lax.scan(improve, start, length=_REWEIGHTED)[0][1]
