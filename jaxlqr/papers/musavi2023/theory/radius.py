r"""How far a gain may move and still stabilise: the radii :math:`\delta` and :math:`\bar\delta` of one task."""

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.checks import gain_and_task
from jaxlqr.lqr.cost import closed_loop, cost
from jaxlqr.lqr.task import LQRTask


def spectral_norm(matrix: Array) -> Array:
    """Largest singular value; 0 for a zero matrix."""
    return jnp.linalg.norm(matrix, 2)


def relaxation(K: Array, task: LQRTask) -> Array:
    r"""The bound :math:`\tau = J(K) / (\mu\, \sigma_{\min}(Q)) \ge 1` on how much the closed loop amplifies, a scalar.

    With :math:`T(X) = \sum_t A_K^t X A_K'^t` and :math:`\mu = \sigma_{\min}(\Sigma_0)`, both :math:`\|T\|` and the norm
    of its adjoint are at most :math:`\tau`, because :math:`J(K) \ge \mu\,\sigma_{\min}(Q)\,\mathrm{tr}\,T(I)`. It is
    +inf when ``K`` does not stabilise, or Q or Sigma0 is singular.
    """
    mu = jnp.linalg.eigvalsh(task.Sigma0)[0]
    return cost(K, task) / (mu * jnp.linalg.eigvalsh(task.Q)[0])


@compiled(prepare=gain_and_task)
def delta(K: Array, task: LQRTask) -> Array:
    r"""Radius within which every gain stabilises the task, with the amplification at most doubled, a scalar.

    .. math:: \delta(K) = \frac{\sigma_{\min}(Q)\, \mu}{4\, J(K)\, \|B\|\, (\|A - BK\| + 1)},
              \qquad \mu = \sigma_{\min}(\Sigma_0)

    in spectral norms, as a distance between gains. It is 0 when ``K`` [m, n] does not stabilise ``task``.

    >>> import jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.make_task([[0.9]], [[1.0]])
    >>> print(f"{delta(jnp.array([[0.5]]), task):.4f}")  # 1 / (4 * 1.4881 * 1.4)
    0.1200

    Source: musavi2023, section IV, before Lemma 1; Fazel et al., ICML 2018, Lemma 24.
    """
    A_K = closed_loop(K, task)
    return 1 / (4 * relaxation(K, task) * spectral_norm(task.B) * (spectral_norm(A_K) + 1))


@compiled(prepare=gain_and_task)
def delta_bar(K: Array, task: LQRTask) -> Array:
    r"""A larger radius within which every gain stabilises the task, a scalar.

    .. math:: \bar\delta(K) = \frac{\sqrt{\|A - BK\|^2 + \mu\,\sigma_{\min}(Q) / J(K)} - \|A - BK\|}{\|B\|}

    It solves :math:`\tau x (x + 2 \|A_K\|) = 1` for :math:`x = \|B\| \bar\delta`, where a Neumann series in the change
    of the closed loop still converges, and is more than twice :math:`\delta`. At its edge the cost may be unbounded.

    >>> import jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.make_task([[0.9]], [[1.0]])
    >>> print(f"{delta_bar(jnp.array([[0.5]]), task):.4f}")  # (0.16 + 1 / 1.4881) ** 0.5 - 0.4
    0.5121

    Source: musavi2023, Lemma 3.
    """
    size = spectral_norm(closed_loop(K, task))
    gain = 1 / relaxation(K, task)
    # sqrt(s^2 + g) - s without its cancellation for small g.
    return gain / ((jnp.sqrt(size**2 + gain) + size) * spectral_norm(task.B))
