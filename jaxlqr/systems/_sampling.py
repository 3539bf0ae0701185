"""Continuous systems in discrete time: the holds that sample them."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.matrix_equations.checks import MatrixLike, as_matrices, check_shapes, refuse_half
from jaxlqr.systems._hold import held, held_float64


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

    Source: Van Loan, IEEE Trans. Automat. Control 23 (1978), section II, for the formula; the method is that of
    :mod:`jaxlqr.systems._hold`.
    """
    a, b = as_matrices("zero_order_hold", A=A, B=B)
    check_shapes("zero_order_hold", A=(a, "nn"), B=(b, "nm"))
    refuse_half("zero_order_hold", dt=dt)
    step = jnp.asarray(dt, jnp.finfo(a.dtype).dtype)
    if step.ndim:
        raise ValueError(f"dt must be a scalar, got shape {step.shape}; use jax.vmap for several sampling times.")
    return held(a, b, step)


def sampled(A: np.ndarray, B: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """:func:`zero_order_hold` in float64 whatever the precision of JAX, for values that are checked afterwards."""
    a_d, b_d = held_float64(A, B, dt)
    if not (np.all(np.isfinite(a_d)) and np.all(np.isfinite(b_d))):
        raise ValueError(
            f"A, held over dt = {dt:g}, must stay finite, but exp(A dt) overflows; give a shorter dt, in the unit of "
            "time of A."
        )
    return a_d, b_d
