"""A continuous LQR problem whose input is held between samples, as the discrete task that is exactly equal."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.result import short_repr
from jaxlqr.lqr.admissible import rounding_unit, symmetric_part
from jaxlqr.lqr.task import LinearSystem, LQRTask, TaskMatrix, checked_matrix, make_task, read_plant, symmetric_matrix
from jaxlqr.systems._integrals import integrated_float64
from jaxlqr.systems._reading import check_dt


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SampledTask:
    """The discrete task of a continuous LQR problem, from :func:`continuous_task`.

    Attributes:
        task: a :class:`jaxlqr.LQRTask` without a cross term. Its input is v = u + shift x.
        shift: R_d^-1 N_d' [m, n], which removes the cross term of the sampled cost.
    """

    task: LQRTask
    shift: Array

    def __repr__(self) -> str:
        return short_repr(self)

    def gain(self, K: Array) -> Array:
        """The gain [m, n] of u = -K x for the plant, from a gain [m, n] of ``task``."""
        return K + self.shift


def continuous_task(
    A: TaskMatrix | LinearSystem,
    B: TaskMatrix | None = None,
    Q: TaskMatrix | None = None,
    R: TaskMatrix | None = None,
    N: TaskMatrix | None = None,
    Sigma0: TaskMatrix | None = None,
    *,
    dt: float,
) -> SampledTask:
    r"""The discrete task whose cost is :math:`\int x^\top Q x + 2 x^\top N u + u^\top R u\;ds` of a held input.

    The exact sampled weights (:func:`jaxlqr.systems.sample_cost`) have a cross term :math:`N_d`. The input
    :math:`v = u + R_d^{-1} N_d^\top x` removes it:

    .. math:: \tilde A = A_d - B_d R_d^{-1} N_d^\top, \qquad \tilde Q = Q_d - N_d R_d^{-1} N_d^\top .

    Arguments:
        A: state matrix [n, n], or a system in continuous time, as for :func:`jaxlqr.make_task`.
        B: input matrix [n, m]; not with a system.
        Q, R, N: weights [n, n], [m, m], [n, m] per unit of time; the identity, the identity and zero if None.
        Sigma0: second moment of the initial state [n, n]; the identity if None.
        dt: sampling time, in the unit of time of A.

    Returns:
        :class:`SampledTask`: for every gain K of its ``task``, ``jaxlqr.cost(K, result.task)`` is the integral for the
        input u = -``result.gain(K)`` x that is held between samples.

    Raises:
        ValueError, TypeError: as :func:`jaxlqr.make_task`; and where Q, R and N together are not positive semidefinite.

    It looks at values, so it runs outside ``jit``. Inside, use :func:`jaxlqr.systems.sample_cost`.

    >>> sampled = continuous_task([[0.0]], [[1.0]], dt=0.01)  # the optimal cost of x' = u is x0^2
    >>> import jaxlqr
    >>> print(f"{jaxlqr.optimal_cost(sampled.task):.4f}")
    1.0000

    Source: Franklin, Powell, Workman, Digital Control of Dynamic Systems (1998), section 9.4.
    """
    a, b, own = read_plant(A, B)
    if own:
        raise ValueError("the system must be in continuous time, got a discrete one; use jaxlqr.make_task.")
    n, m = b.shape
    q, r = symmetric_matrix(Q, "Q", n, definite=False), symmetric_matrix(R, "R", m, definite=True)
    cross = np.zeros((n, m)) if N is None else checked_matrix(N, "N")
    if cross.shape != (n, m):
        raise ValueError(f"N must have shape ({n}, {m}), states by inputs, got {cross.shape}.")
    weights = np.block([[q, cross], [cross.T, r]])
    if N is not None:
        weights = symmetric_part(weights, "[[Q, N], [N', R]]", definite=False, eps=rounding_unit(N))
    f = np.block([[a, b], [np.zeros((m, n + m))]])
    exp, total = integrated_float64(f, weights, check_dt(dt))
    if not (np.all(np.isfinite(exp)) and np.all(np.isfinite(total))):
        raise ValueError(f"A, held over dt = {dt:g}, must stay finite, but exp(A dt) overflows; give a shorter dt.")
    a_d, b_d, r_d = exp[:n, :n], exp[:n, n:], total[n:, n:]
    shift = np.linalg.solve(r_d, total[n:, :n])
    rest = total[:n, :n] - total[:n, n:] @ shift
    task = make_task(a_d - b_d @ shift, b_d, (rest + rest.T) / 2, r_d, Sigma0)
    return SampledTask(task, jnp.asarray(shift, task.A.dtype))
