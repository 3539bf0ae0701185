"""Continuous systems, noise and costs in discrete time, exactly, where the input is held between samples."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.core.checks import MatrixLike, as_matrices, check_shapes, refuse_half
from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.scaling import similarity
from jaxlqr.systems._hold import held, held_float64
from jaxlqr.systems._integrals import integrated
from jaxlqr.systems._reading import check_dt
from jaxlqr.systems._state_space import StateSpace, check_system

_METHODS = ("zoh", "foh", "tustin")


class SampledCost(NamedTuple):
    """Weights of the sum of x[t]' Q x[t] + 2 x[t]' N u[t] + u[t]' R u[t].

    Attributes:
        Q: of the states [n, n], symmetric positive semidefinite.
        R: of the inputs [m, m], symmetric positive definite.
        N: of both [n, m].
    """

    Q: Array
    R: Array
    N: Array


def sample(system: StateSpace, dt: ArrayLike, *, method: str = "zoh") -> StateSpace:
    r"""The discrete system of a continuous one, with sampling time ``dt``, names kept.

    Arguments:
        system: a :class:`StateSpace` in continuous time.
        dt: sampling time, a positive scalar in the unit of time of the system; it may be traced.
        method: how the input moves between samples.

            - ``"zoh"``: it is held. The states are the same as in the continuous system.
            - ``"foh"``: it moves along straight lines. The outputs are exact for such inputs. The states are
              :math:`x(t\,dt) - \Gamma u_t`, so that no future input is needed.
            - ``"tustin"``: :math:`s = \frac{2}{dt} \frac{z - 1}{z + 1}` in the transfer function. Left half plane and
              unit disk correspond, and frequencies are warped.

    Returns:
        A :class:`StateSpace` in discrete time. Differentiable in every matrix and in ``dt``, to any order and in both
        modes. Entries are not finite where exp(A dt) overflows, or where 2 / dt is an eigenvalue of A (tustin);
        :meth:`StateSpace.check` then raises.

    Raises:
        ValueError: for a system in discrete time, an unknown method, and ``dt`` that is not positive.

    >>> sampled = sample(StateSpace(*map(jnp.asarray, ([[-1.0]], [[1.0]], [[1.0]], [[0.0]]))), jnp.log(2.0))
    >>> print(f"{sampled.A[0, 0]:.3f} {sampled.B[0, 0]:.3f} {sampled.dt:.3f}")
    0.500 0.500 0.693

    Source: Franklin, Powell, Workman, Digital Control of Dynamic Systems (1998), sections 4.3 and 6.3; with the
    conventions of ``scipy.signal.cont2discrete``.
    """
    check_system(system)
    if system.is_discrete:
        raise ValueError("system must be in continuous time, got a discrete one; sample the continuous system anew.")
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}; zoh is exact for held inputs.")
    step = _scalar("sample", dt, system.A)
    a, b, c, d = _sampled(system.A, system.B, system.C, system.D, step, method)
    return dataclasses.replace(system, A=a, B=b, C=c, D=d, dt=step)


def sample_noise(A: MatrixLike, W: MatrixLike, dt: ArrayLike) -> Float[Array, "n n"]:
    r"""Covariance [n, n] that white noise of intensity W adds to the states within dt.

    .. math:: W_d = \int_0^{dt} e^{A s}\, W\, e^{A^\top s}\, ds, \qquad x_{t+1} = e^{A\,dt} x_t + w_t,
              \quad E[w_t w_t^\top] = W_d .

    Arguments:
        A: state matrix [n, n].
        W: intensity [n, n], the power spectral density of the noise: its units are x x' per time. Only its symmetric
            part counts.
        dt: sampling time, a scalar; it may be traced.

    Returns:
        W_d [n, n], symmetric, and positive semidefinite to rounding where W is. Differentiable in all three, to any
        order and in both modes. Stiff and singular A and long dt keep all digits, relative to
        :math:`\sqrt{W_{d,ii} W_{d,jj}}`. Not finite where exp(A dt) overflows.

    Raises:
        ValueError, TypeError: where shapes or dtypes do not fit.

    >>> sample_noise([[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]], 1.0).tolist()
    [[1.0, 1.5], [1.5, 3.0]]

    Source: :mod:`jaxlqr.systems._integrals`.
    """
    a, w = as_matrices("sample_noise", A=A, W=W)
    check_shapes("sample_noise", A=(a, "nn"), W=(w, "nn"))
    return integrated(a.T, w, _scalar("sample_noise", dt, a))[1]


def sample_cost(
    A: MatrixLike,
    B: MatrixLike,
    Q: MatrixLike,
    R: MatrixLike,
    N: MatrixLike | None,
    dt: ArrayLike,
) -> SampledCost:
    r"""Weights of the samples that give the same cost as the integral, where the input is held between samples.

    .. math:: \begin{bmatrix} Q_d & N_d \\ N_d^\top & R_d \end{bmatrix} = \int_0^{dt} e^{F^\top s}
              \begin{bmatrix} Q & N \\ N^\top & R \end{bmatrix} e^{F s}\, ds, \qquad
              F = \begin{bmatrix} A & B \\ 0 & 0 \end{bmatrix} .

    Then :math:`\int x^\top Q x + 2 x^\top N u + u^\top R u\; ds = \sum_t x_t^\top Q_d x_t + 2 x_t^\top N_d u_t +
    u_t^\top R_d u_t`, exactly. :func:`jaxlqr.lqr.continuous_task` makes a task of it.

    Arguments:
        A, B: state matrix [n, n] and input matrix [n, m].
        Q, R, N: weights [n, n], [m, m] and [n, m] per unit of time; N may be None, for zero. Of Q and R only the
            symmetric parts count.
        dt: sampling time, a scalar; it may be traced.

    Returns:
        :class:`SampledCost`, that is (Q_d, R_d, N_d). Q_d and R_d are symmetric, and all three together positive
        semidefinite to rounding where Q, R and N are. Differentiable in all arguments, to any order and in both modes.

    Raises:
        ValueError, TypeError: where shapes or dtypes do not fit.

    >>> sampled = sample_cost([[0.0]], [[1.0]], [[3.0]], [[1.0]], None, 1.0)
    >>> sampled.Q.tolist(), sampled.R.tolist(), sampled.N.tolist()
    ([[3.0]], [[2.0]], [[1.5]])

    Source: Franklin, Powell, Workman (1998), section 9.4; :mod:`jaxlqr.systems._integrals` for the method.
    """
    given = {"A": A, "B": B, "Q": Q, "R": R} | ({} if N is None else {"N": N})
    a, b, q, r, *cross = as_matrices("sample_cost", **given)
    shapes = {"A": (a, "nn"), "B": (b, "nm"), "Q": (q, "nn"), "R": (r, "mm")}
    check_shapes("sample_cost", **shapes, **({"N": (cross[0], "nm")} if cross else {}))
    return _cost(a, b, q, r, cross[0] if cross else jnp.zeros_like(b), _scalar("sample_cost", dt, a))


def zero_order_hold(A: MatrixLike, B: MatrixLike, dt: ArrayLike) -> tuple[Float[Array, "n n"], Float[Array, "n m"]]:
    r"""Discrete matrices of :math:`\dot x = A x + B u` when the input is held between samples.

    .. math:: \begin{bmatrix} A_d & B_d \\ 0 & I \end{bmatrix} =
              \exp\left(\begin{bmatrix} A & B \\ 0 & 0 \end{bmatrix} dt\right),
              \qquad x((t + 1)\,dt) = A_d\, x(t\,dt) + B_d\, u_t .

    Arguments:
        A: state matrix [n, n], in 1/seconds where ``dt`` is in seconds.
        B: input matrix [n, m].
        dt: sampling time, a scalar; it may be traced.

    Returns:
        The pair A_d [n, n], B_d [n, m]. Differentiable in all three, to any order and in both modes. Modes that decay
        within dt have their limit, zero. NaN, or an infinity, where an unstable mode overflows, and where A dt is
        beyond 2^127. A change of the units of states, inputs or time by powers of two changes no digit of the result.

    Raises:
        ValueError, TypeError: where shapes or dtypes do not fit.

    >>> A_d, B_d = zero_order_hold([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], 0.5)
    >>> A_d.tolist(), B_d.tolist()
    ([[1.0, 0.5], [0.0, 1.0]], [[0.125], [0.5]])

    Source: Van Loan, IEEE Trans. Automat. Control 23 (1978), section II, for the formula; the method is in
    :mod:`jaxlqr.systems._hold`.
    """
    a, b = as_matrices("zero_order_hold", A=A, B=B)
    check_shapes("zero_order_hold", A=(a, "nn"), B=(b, "nm"))
    return held(a, b, _scalar("zero_order_hold", dt, a))


def sampled(A: np.ndarray, B: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """:func:`zero_order_hold` in float64 whatever the precision of JAX, for values that are checked afterwards."""
    a_d, b_d = held_float64(A, B, dt)
    if not (np.all(np.isfinite(a_d)) and np.all(np.isfinite(b_d))):
        raise ValueError(
            f"A, held over dt = {dt:g}, must stay finite, but exp(A dt) overflows; give a shorter dt, in the unit of "
            "time of A."
        )
    return a_d, b_d


@jax.jit
def _cost(a: Array, b: Array, q: Array, r: Array, cross: Array, dt: Array) -> SampledCost:
    n, m = b.shape
    f = jnp.concatenate([jnp.concatenate([a, b], axis=1), jnp.zeros((m, n + m), a.dtype)])
    weights = jnp.block([[q, cross], [cross.T, r]])
    total = integrated(f, weights, dt)[1]
    return SampledCost(total[:n, :n], total[n:, n:], total[:n, n:])


@partial(jax.jit, static_argnames="method")
def _sampled(a: Array, b: Array, c: Array, d: Array, dt: Array, method: str) -> tuple[Array, Array, Array, Array]:
    if method == "foh":
        return _first_order(a, b, c, d, dt)
    if method == "tustin":
        return _bilinear(a, b, c, d, dt)
    a_d, b_d = held(a, b, dt)
    return a_d, b_d, c, d


def _first_order(a: Array, b: Array, c: Array, d: Array, dt: Array) -> tuple[Array, Array, Array, Array]:
    n, m = b.shape
    # The states beside the input, which a held slope moves.
    f = jnp.concatenate([jnp.concatenate([a, b], axis=1), jnp.zeros((m, n + m), a.dtype)])
    exp, ramps = held(f, jnp.eye(n + m, m, -n, dtype=a.dtype), dt)
    a_d, ramp = exp[:n, :n], ramps[:n] / dt
    return a_d, exp[:n, n:] - ramp + matmul(a_d, ramp), c, d + matmul(c, ramp)


def _bilinear(a: Array, b: Array, c: Array, d: Array, dt: Array) -> tuple[Array, Array, Array, Array]:
    # A is balanced by powers of two, so the pivots do not depend on the units of the states.
    row = similarity(lax.stop_gradient(a * dt), 1)[None, :]
    column = row.T
    a, b, c = a * row / column * dt, b / column * dt, c * row
    n = len(a)
    eye = jnp.eye(n, dtype=a.dtype)
    solved = jnp.linalg.solve(eye - a / 2, jnp.concatenate([a, b], axis=1))
    a_d, b_d = eye + solved[:, :n], solved[:, n:]
    c_d = jnp.linalg.solve((eye - a / 2).T, c.T).T
    return a_d / row * column, b_d * column, c_d / row, d + matmul(c, b_d) / 2


def _scalar(function: str, dt: Any, a: Array) -> Array:
    """A sampling time in the precision of ``a``; positive unless it is traced."""
    refuse_half(function, dt=dt)
    step = jnp.asarray(dt, jnp.finfo(a.dtype).dtype)
    if step.ndim:
        raise ValueError(f"dt must be a scalar, got shape {step.shape}; use jax.vmap for several sampling times.")
    if function == "sample" and not isinstance(step, Tracer):
        check_dt(dt)
    return step
