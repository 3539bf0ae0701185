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

    printed: float
    corrected: float


def weight_norm(delta: float, num_tasks: int) -> Bound:
    r"""Bounds on the norm of weights within delta of 1/M: :math:`\delta + 1`, and :math:`\delta + 1/\sqrt M`.

    The norm of the uniform weights is :math:`1/\sqrt M`, as (14b) says and its proof, (16), does not.

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
    r"""What :math:`\epsilon_0` of Theorem 5 exceeds for any smoothness and any variance,
    :math:`2 \delta B \sqrt M / \alpha`.

    It is (10) with its other terms, all of which make it larger, at zero. The squared norm of the weighted gradient
    need not fall below it, so where it is larger than that norm at the start the theorem says nothing.

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
        ValueError: when S is not square; the indices of (117) do not say what else could be meant.
    """
    if S.ndim != 2 or S.shape[0] != S.shape[1]:
        raise ValueError(
            f"printed_cross_entropy_gradient: argument S must be square, as (118) takes classes for parameters, got "
            f"shape {S.shape}; use cross_entropy_gradient."
        )
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
    if S.ndim != 2 or S.shape[0] != S.shape[1]:
        raise ValueError(
            f"printed_cross_entropy_hessian: argument S must be square, as (123) takes classes for parameters, got "
            f"shape {S.shape}; use cross_entropy_hessian."
        )
    p = jax.nn.softmax(_times(S, x))
    return -(jnp.eye(p.size, dtype=p.dtype) - p[:, None]) * p[None, :] * S * _times(S, y)[:, None]


def _times(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _check_tasks(num_tasks: int) -> None:
    if num_tasks < 1:
        raise ValueError(f"argument num_tasks must be at least 1, got {num_tasks!r}.")
