r"""Smoothness constants of the LQR cost and of the meta-objective, valid in a ball around a gain.

The paper refers for the constants of Lemma 2 to other papers and to an appendix. The constants here are derived below,
for the ball :math:`\|U - K\| \le \delta(K)`. The printed lemma is about any two stabilising gains, but no constants
exist that depend on one of them only (docs/errata.md, M5).

Derivation. Let :math:`T_U(X) = \sum_t A_U^t X A_U'^t` with :math:`A_U = A - BU`, and :math:`t_K` the larger of
:math:`\|T_K(I)\|` and :math:`\|T_K^*(I)\|`, which are the norms of the positive maps T and T* in the spectral norm,
and, one being the adjoint of the other, bounds in every unitarily invariant norm. In the ball
:math:`X \mapsto A_U X A_U'` differs from that at K by at most
:math:`\|B\|\delta(2\|A_K\| + \|B\|\delta) \le 1/(2\tau) \le 1/(2 t_K)`, so a Neumann series gives
:math:`\|T_U\| \le t = 2 t_K`. With :math:`a \ge \|A_U\|`, :math:`k \ge \|U\|` and the chain

    P = T*(Q + U'RU)                      p  = t (|Q| + |R| k^2)
    E = RU - B'P A_U                      e  = |R| k + |B| p a
    S = T(Sigma0)                         s  = t |Sigma0|
    P'[X] = T*(X'E + E'X)                 p1 = 2 t e
    E'[X] = (R + B'PB) X - B' P'[X] A_U   e1 = |R| + |B|^2 p + |B| a p1
    S'[X] = -T(B X S A_U' + transpose)    s1 = 2 t |B| a s
    P''   = T*(X'E'[Y] + transpose - (BY)'P'[X] A_U - transpose)       p2 = 2 t (e1 + |B| a p1)
    E''   = B'P'[Y]BX + B'P'[X]BY - B'P''A_U                           e2 = 2 |B|^2 p1 + |B| a p2
    S''   = T(-BY S'[X] A_U' - BX S'[Y] A_U' + BX S (BY)' + transposes) s2 = t (4 |B| a s1 + 2 |B|^2 s)

the gradient 2 E S, its derivative 2 (E'S + E S') and the second one are bounded by the product rule, and the mean value
theorem along the segment from K to U gives the Lipschitz constants.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.lqr.checks import gain_and_task
from jaxlqr.lqr.cost import closed_loop, cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.matrix_equations import stable_discrete_lyapunov
from jaxlqr.papers.checks import gain_and_tasks
from jaxlqr.papers.musavi2023.theory.radius import delta, spectral_norm


class Smoothness(NamedTuple):
    r"""Constants of one task at a gain K, valid for every gain U with :math:`\|U - K\| \le \delta(K)`.

    Attributes:
        theta: :math:`|J(U) - J(K)| \le E\|x_0\|^2\, \theta\, \|U - K\|`.
        ell: :math:`\|\nabla J(U) - \nabla J(K)\| \le \ell \|U - K\|`, in the spectral and in the Frobenius norm; also a
            bound on :math:`\|\nabla^2 J(U)\|` and on the norm of the H of Lemma 2.
        rho: :math:`\|\nabla^2 J(U) - \nabla^2 J(K)\| \le \rho \|U - K\|`, operator norms between Frobenius norms.
    """

    theta: Array
    ell: Array
    rho: Array


@compiled(prepare=gain_and_task)
def smoothness(K: Array, task: LQRTask) -> Smoothness:
    """:class:`Smoothness` of the cost of ``task`` at the gain ``K`` [m, n], by the chain of bounds of this module.

    NaN or +inf when ``K`` does not stabilise, or Q or Sigma0 is singular. Under ``vmap``, over tasks.

    >>> import jax.numpy as jnp, jaxlqr
    >>> task = jaxlqr.make_task([[0.5]], [[1.0]])
    >>> K = jnp.array([[0.3]])
    >>> hessian = jax.hessian(jaxlqr.cost)(K, task).item()
    >>> bool(hessian < smoothness(K, task).ell < 100 * hessian)
    True

    Source: musavi2023, Lemma 2, whose constants are not in its text; docs/errata.md, M5.
    """
    radius = delta(K, task)
    A_K, identity = closed_loop(K, task), jnp.eye(task.A.shape[0], dtype=task.A.dtype)
    gains = [spectral_norm(stable_discrete_lyapunov(matrix, identity)[0]) for matrix in (A_K, A_K.mT)]
    t = 2 * jnp.maximum(*gains)
    b, r = spectral_norm(task.B), spectral_norm(task.R)
    a, k = spectral_norm(A_K) + b * radius, spectral_norm(K) + radius
    p = t * (spectral_norm(task.Q) + r * k**2)
    e = r * k + b * p * a
    s = t * spectral_norm(task.Sigma0)
    p1 = 2 * t * e
    e1 = r + b**2 * p + b * a * p1
    s1 = 2 * t * b * a * s
    p2 = 2 * t * (e1 + b * a * p1)
    e2 = 2 * b**2 * p1 + b * a * p2
    s2 = t * (4 * b * a * s1 + 2 * b**2 * s)
    # |dJ[X]| = 2 |<E S, X>| <= 2 |E| tr(S) |X|, and tr S = <T*(I), Sigma0> <= t E|x0|^2.
    return Smoothness(theta=2 * e * t, ell=2 * (e1 * s + e * s1), rho=2 * (e2 * s + 2 * e1 * s1 + e * s2))


def _adapted(K: Array, task: LQRTask, inner_step_size: Array | float) -> tuple[Array, Array]:
    gradient = jax.grad(cost)(K, task)
    return K - inner_step_size * gradient, gradient


@compiled(prepare=gain_and_tasks)
def meta_smoothness(K: Array, tasks: LQRTask, inner_step_size: Array | float) -> Array:
    r"""Lipschitz constant L(K) of the meta-gradient, a scalar.

    .. math:: L = \bar\ell\, (1 + \eta (\ell + \delta\rho)) (1 + \eta\ell)
                  + \eta\rho\, (1 + \eta\|H\|)\, \frac1M \sum_i \|\nabla J_i(K)\|_F

    with :math:`\ell, \rho, \|H\| \le \ell` the largest over tasks at K, :math:`\delta` the smallest radius, and
    :math:`\bar\ell` the largest :math:`\ell_i` at the adapted gains. Then
    :math:`\|\nabla F(U) - \nabla F(K)\|_F \le L \|U - K\|_F` for U within :func:`meta_smoothness_radius`, with F
    the mean over tasks.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=0.5, q=[1.0, 2.0])
    >>> bool(meta_smoothness(jnp.array([[0.3]]), tasks, 1e-3) > 0)
    True

    Source: musavi2023, Lemma 4; the domain of validity is corrected, docs/errata.md, M6.
    """
    return meta_constants(K, tasks, inner_step_size)[0]


@compiled(prepare=gain_and_tasks)
def meta_smoothness_radius(K: Array, tasks: LQRTask, inner_step_size: Array | float) -> Array:
    r"""Radius around K where :func:`meta_smoothness` holds: the smallest over tasks of :math:`\delta(K)` and of
    :math:`\delta_i(\tilde K_i) / (1 + \eta\ell_i)`, since adapted gains must be near too.

    >>> import jax.numpy as jnp, jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=0.5, q=[1.0, 2.0])
    >>> bool(0 < meta_smoothness_radius(jnp.array([[0.3]]), tasks, 1e-3) <= 0.2)
    True
    """
    return meta_constants(K, tasks, inner_step_size)[1]


def meta_constants(K: Array, tasks: LQRTask, eta: Array | float) -> tuple[Array, Array]:
    """L(K) of :func:`meta_smoothness` and its radius, from the same evaluations."""

    def one(task: LQRTask):
        adapted, gradient = _adapted(K, task, eta)
        # Both gains in one call: the constants are compiled once.
        both = jax.vmap(lambda gain: (smoothness(gain, task), delta(gain, task)))(jnp.stack([K, adapted]))
        return both, jnp.sqrt(jnp.sum(gradient**2))

    (constants, radii), norms = jax.vmap(one)(tasks)
    ell, rho, radius = jnp.max(constants.ell[:, 0]), jnp.max(constants.rho[:, 0]), jnp.min(radii[:, 0])
    ell_bar = jnp.max(constants.ell[:, 1])
    first = ell_bar * (1 + eta * (ell + radius * rho)) * (1 + eta * ell)
    bound = first + eta * rho * (1 + eta * ell) * jnp.mean(norms)
    return bound, jnp.minimum(radius, jnp.min(radii[:, 1] / (1 + eta * constants.ell[:, 0])))
