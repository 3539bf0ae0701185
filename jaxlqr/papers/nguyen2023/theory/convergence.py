r"""Theorem 5 of nguyen2023 and the lemmas under it, as printed and as corrected (docs/errata.md, N8).

Throughout: M tasks, gamma the inner and alpha the outer step size, delta the largest distance of the weights from 1/M.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Bound(NamedTuple):
    """A bound as printed, and as it follows from the assumptions."""

    printed: float | Array
    corrected: float | Array


def weight_norm(delta: float, num_tasks: int) -> Bound:
    r"""Bounds on the norm of weights within delta of 1/M: :math:`\delta + 1`, and :math:`\delta + 1/\sqrt M`.

    The norm of the uniform weights is :math:`1/\sqrt M`, as in (14b), but not in its proof, (16).

    >>> weight_norm(0.1, 4)
    Bound(printed=1.1, corrected=0.6)

    Source: nguyen2023, (16) and (14b).
    """
    _check_tasks(num_tasks)
    return Bound(delta + 1, delta + 1 / math.sqrt(num_tasks))


def gradient_variance(sigma: float, delta: float, num_tasks: int, gamma: float, smoothness: float) -> Bound:
    r"""Bounds on the variance of the gradient of the weighted validation loss over query samples.

    As printed :math:`\sigma^2 (\delta + 1/\sqrt M)^2`. The gradient passes through the inner step, whose derivative
    :math:`I - \gamma \nabla^2 \ell` has norm at most :math:`1 + \gamma S`: that factor, squared, is missing.

    Arguments:
        sigma: bound on the deviation of the gradient of the loss of a sample.
        smoothness: S, the Lipschitz constant of that gradient.

    >>> gradient_variance(1.0, 0.0, 4, gamma=0.5, smoothness=2.0)
    Bound(printed=0.25, corrected=1.0)

    Source: nguyen2023, Lemma 3.
    """
    printed = (sigma * weight_norm(delta, num_tasks).corrected) ** 2
    return Bound(printed, printed * (1 + gamma * smoothness) ** 2)


def stationarity_floor(bound: float, delta: float, num_tasks: int, alpha: float) -> float:
    r"""Lower bound of :math:`\epsilon_0` of Theorem 5 for any smoothness and any variance, :math:`2 \delta B \sqrt M /
    \alpha`.

    It is (10) without its other terms, which are nonnegative. The squared norm of the weighted gradient need not fall
    below it, so if it is larger than this norm at the start, the theorem is vacuous.

    Arguments:
        bound: B, the largest loss.

    >>> round(stationarity_floor(1.0, 0.01, 10, alpha=1e-4))
    632

    Source: nguyen2023, (10).
    """
    _check_tasks(num_tasks)
    if not alpha > 0:
        raise ValueError(f"stationarity_floor: argument alpha must be a positive step size, got {alpha!r}.")
    return 2 * delta * bound * math.sqrt(num_tasks) / alpha


class StationarityBound(NamedTuple):
    r"""The bound of Theorem 5, as printed: :math:`\epsilon_0`, and :math:`\kappa / T`, which tends to zero."""

    floor: float | Array
    transient: float | Array


def theorem_5(
    *,
    bound: float,
    delta: float,
    num_tasks: int,
    alpha: float,
    smoothness: float,
    sigma: float,
    first_loss: float,
    num_updates: int,
) -> StationarityBound:
    r"""The bound of Theorem 5, as printed, for the mean of :math:`\|\nabla u_t' \bar\ell(x_t)\|^2` over the updates.

    It holds where every mini-batch consists of the same tasks. Algorithm 1 takes new tasks, and then the bound is
    false: the proof subtracts the losses of two mini-batches as if they were one function (docs/errata.md, N13).

    Arguments:
        bound: B, the largest loss.
        delta: largest distance of the weights from 1/M.
        num_tasks: M.
        alpha: outer step size, below :math:`2 / (\tilde S (\delta \sqrt M + 1))`.
        smoothness: :math:`\tilde S` of Lemma 4, see :func:`adapted_smoothness`.
        sigma: bound on the deviation of the gradient of the loss of a sample.
        first_loss: weighted loss before the first update.
        num_updates: T.

    >>> told = theorem_5(bound=1.0, delta=0.0, num_tasks=1, alpha=0.5, smoothness=1.0, sigma=0.0, first_loss=0.75,
    ...     num_updates=100)
    >>> told.floor, told.transient
    (0.0, 0.02)

    Source: nguyen2023, Theorem 5, (10) and (11).
    """
    _check_tasks(num_tasks)
    length = smoothness * (delta * math.sqrt(num_tasks) + 1)
    if not 0 < alpha < 2 / length:
        raise ValueError(f"argument alpha must lie in (0, {2 / length:g}) for this smoothness, got {alpha!r}.")
    variance = gradient_variance(sigma, delta, num_tasks, 0.0, 0.0).printed
    rate = alpha * (2 - alpha * length)
    floor = (4 * delta * bound * math.sqrt(num_tasks) + alpha**2 * variance * length) / rate
    return StationarityBound(floor, 2 * first_loss / rate / num_updates)


def adapted_smoothness(S: float, rho: float, L: float, gamma: float) -> float:
    r"""Lipschitz constant of the gradient after one inner step, :math:`S (1 + \gamma S)^2 + \gamma \rho L`.

    Arguments:
        S, rho, L: Lipschitz constants of gradient, Hessian and loss.
        gamma: inner step size.

    >>> adapted_smoothness(1.0, 1.0, 1.0, 0.0)
    1.0

    Source: nguyen2023, Lemma 4.
    """
    return S * (1 + gamma * S) ** 2 + gamma * rho * L


def cross_entropy_lipschitz(S: Array) -> Bound:
    r"""Lipschitz constant of :func:`cross_entropy`: :math:`2 \|S\|_1` as printed, and :math:`\sqrt 2 \|S\|_2`.

    The gradient is :math:`S^\top (p - y)`, and :math:`|p - y| \le \sqrt 2`. The norms are induced by the vector norms,
    as in appendix A.1. With the sum of all entries in place of the largest column sum, the printed constant holds.

    >>> rows = jnp.stack([jnp.ones(25), -jnp.ones(25)])
    >>> [round(float(constant), 3) for constant in cross_entropy_lipschitz(rows)]
    [4.0, 10.0]

    Source: nguyen2023, Table 5; docs/errata.md, N8.
    """
    return Bound(2 * jnp.max(jnp.sum(jnp.abs(S), axis=0)), math.sqrt(2) * jnp.linalg.norm(S, 2))


def cross_entropy(x: Array, S: Array, y: Array) -> Array:
    r"""Cross-entropy of a linear classifier, :math:`-y^\top \ln \mathrm{softmax}(S x)`, a scalar.

    Arguments:
        x: parameters [D].
        S: what the sample makes of them [classes, D].
        y: share of each class [classes], of sum one.

    Source: nguyen2023, appendix J, (115) and (116).
    """
    return -jnp.sum(y * jax.nn.log_softmax(_times(S, x)))


def cross_entropy_gradient(x: Array, S: Array, y: Array) -> Array:
    r"""Gradient of :func:`cross_entropy`, :math:`S^\top (p - y)` with p the softmax, [D].

    >>> x, S, y = jnp.array([1.0, -1.0]), jnp.array([[1.0, 0.5], [0.0, 2.0]]), jnp.array([1.0, 0.0])
    >>> bool(jnp.allclose(cross_entropy_gradient(x, S, y), jax.grad(cross_entropy)(x, S, y), atol=1e-6))
    True

    Source: in place of nguyen2023, (118).
    """
    return _times(S.T, jax.nn.softmax(_times(S, x)) - y)


def printed_cross_entropy_gradient(x: Array, S: Array, y: Array) -> Array:
    r"""(118) as printed, :math:`\sum_j y_j (1(j = i) - p_i) S_{ij}`: [D], for as many classes as parameters only.

    Raises:
        ValueError: if S is not square; the indices of (117) have no other meaning.
    """
    _check_square(S, "(118)", "cross_entropy_gradient")
    p = jax.nn.softmax(_times(S, x))
    return y * jnp.diagonal(S) - p * _times(S, y)


def cross_entropy_hessian(x: Array, S: Array, y: Array) -> Array:
    r"""Hessian of :func:`cross_entropy`, :math:`S^\top (\mathrm{diag}\,p - p p^\top) S`, [D, D], at least 0.

    Source: in place of nguyen2023, (123).
    """
    p = jax.nn.softmax(_times(S, x))
    return _times(S.T, p[:, None] * S) - jnp.outer(_times(S.T, p), _times(S.T, p))


def printed_cross_entropy_hessian(x: Array, S: Array, y: Array) -> Array:
    r"""(123) as printed, :math:`-p_k (1(k = i) - p_i) S_{ik} \sum_j y_j S_{ij}`: [D, D], not even symmetric.

    Raises:
        ValueError: as :func:`printed_cross_entropy_gradient`.
    """
    _check_square(S, "(123)", "cross_entropy_hessian")
    p = jax.nn.softmax(_times(S, x))
    return -(jnp.eye(p.size, dtype=p.dtype) - p[:, None]) * p[None, :] * S * _times(S, y)[:, None]


def _check_square(S: Array, formula: str, instead: str) -> None:
    if S.ndim != 2 or S.shape[0] != S.shape[1]:
        raise ValueError(
            f"printed_{instead}: argument S must be square, as {formula} takes classes for parameters, got shape "
            f"{S.shape}; use {instead}."
        )


def _times(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _check_tasks(num_tasks: int) -> None:
    if num_tasks < 1:
        raise ValueError(f"argument num_tasks must be at least 1, got {num_tasks!r}.")
