"""Gramians of a stable system and its H2 norm."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import hermitian, matmul
from jaxlqr.matrix_equations import continuous_gramian_trace, gramian_trace, stable_discrete_lyapunov
from jaxlqr.matrix_equations.gramians import infinite_unless
from jaxlqr.matrix_equations.lyapunov import stable_continuous_lyapunov
from jaxlqr.matrix_equations.scaling import power_of_two, symplectic
from jaxlqr.systems._state_space import StateSpace, check_system


def one_system(system: Any) -> dict[str, Any]:
    """The checked system, for functions of one system."""
    return {"system": check_system(system)}


def gramian(a: Array, q: Array, *, discrete: bool) -> Array:
    """Sum over k of a^k q (a')^k, or the integral over t of exp(a t) q exp(a' t), [n, n]; NaN unless it exists."""
    if not a.size:
        return q
    return hermitian(stable_discrete_lyapunov(a, q)[0] if discrete else stable_continuous_lyapunov(a, -q))


@compiled(prepare=one_system)
def controllability_gramian(system: StateSpace) -> Float[Array, "n n"]:
    r"""Return the controllability Gramian P, shape [n, n].

    .. math:: A P + P A^\top + B B^\top = 0 \;\text{ or }\; P = A P A^\top + B B^\top .

    P is the covariance of the state when white noise of unit intensity (in discrete time: of unit variance) drives the
    inputs. It has the units of x_i x_j. The computation uses matrix products and inverses only, on any device.

    Arguments:
        system: one :class:`StateSpace`, in continuous or discrete time; ``jax.vmap`` batches.

    Returns:
        P; NaN if the system is not stable, in that lane of a batch only. Differentiable in every matrix, in both modes
        and to any order.

    >>> from jaxlqr import systems
    >>> print(f"{systems.controllability_gramian(systems.ss([[-2.0]], [[1.0]]))[0, 0]:.4f}")  # 2 (-2) P + 1 = 0
    0.2500

    Source: Zhou, Doyle, Glover, *Robust and Optimal Control*, 1996, section 3.8.
    """
    return gramian(system.A, matmul(system.B, system.B.T), discrete=system.is_discrete)


@compiled(prepare=one_system)
def observability_gramian(system: StateSpace) -> Float[Array, "n n"]:
    r"""Return the observability Gramian Q, shape [n, n].

    .. math:: A^\top Q + Q A + C^\top C = 0 \;\text{ or }\; Q = A^\top Q A + C^\top C .

    The output that follows the initial state x has the energy x' Q x, and Q_ij has the unit of y^2 / (x_i x_j).
    Arguments, failure and derivatives as for :func:`controllability_gramian`.

    Returns:
        Q; NaN if the system is not stable.

    >>> from jaxlqr import systems
    >>> print(f"{systems.observability_gramian(systems.ss([[0.5]], [[1.0]], [[3.0]], dt=1.0))[0, 0]:.4f}")
    12.0000

    Source: Zhou, Doyle, Glover, *Robust and Optimal Control*, 1996, section 3.8.
    """
    return gramian(system.A.T, matmul(system.C.T, system.C), discrete=system.is_discrete)


def _unit(matrix: Array) -> Array:
    """A power of two near the largest entry: after division by it, squares neither overflow nor vanish."""
    return power_of_two(lax.stop_gradient(jnp.max(jnp.abs(matrix), initial=0)))


def _root(square: Array) -> Array:
    """Square root, with the derivative 0 at 0, where the norm has a kink and 0 is one of its subgradients."""
    positive = square > 0
    root = jnp.sqrt(jnp.where(positive, square, 1))
    return jnp.where(positive | jnp.isnan(square), jnp.where(positive, root, square), 0)


def h2_square(system: StateSpace, direct: Array) -> tuple[Array, Array, Array]:
    """A unit, the squared H2 norm in that unit, and whether it is finite.

    ``direct`` [p, m] says which entries of D are not zero: in continuous time they make the norm infinite.
    """
    inputs, outputs = _unit(system.B), _unit(system.C)
    b, c = system.B / inputs, system.C / outputs
    q, s = matmul(b, b.T), matmul(c.T, c)
    if system.is_discrete:
        whole = jnp.maximum(inputs * outputs, jnp.where(jnp.any(direct), _unit(system.D), 0))
        energy = gramian_trace(system.A, q, s) if system.A.size else jnp.zeros((), system.D.dtype)
        square = energy * (inputs * outputs / whole) ** 2 + jnp.sum((system.D / whole) ** 2)
        return whole, square, ~jnp.isnan(square)
    square = continuous_gramian_trace(system.A, q, s) if system.A.size else jnp.zeros((), system.D.dtype)
    return inputs * outputs, square, ~jnp.isnan(square) & ~jnp.any(direct)


@compiled(prepare=one_system)
def h2_norm(system: StateSpace) -> Float[Array, ""]:
    r"""Return the H2 norm of a system, a scalar.

    .. math:: \|G\|_2^2 = \mathrm{tr}(C P C^\top) \;\text{ or }\; \mathrm{tr}(C P C^\top + D D^\top),

    with P the :func:`controllability_gramian`. It is the root mean square of the outputs under white noise of unit
    intensity, and the energy of the impulse response. It has the units of y / u, divided by the square root of time in
    continuous time.

    Arguments:
        system: one :class:`StateSpace`; ``jax.vmap`` batches.

    Returns:
        The norm. It is +inf if the system is not stable, and in continuous time if D is not zero; the derivatives are
        NaN there. Elsewhere it is differentiable in every matrix, in both modes and to any order. At norm zero, where
        the norm has a kink, the derivatives are 0.

    >>> from jaxlqr import systems
    >>> print(f"{systems.h2_norm(systems.ss([[-2.0]], [[1.0]], [[4.0]])):.4f}")  # 4 / sqrt(2 * 2)
    2.0000
    >>> print(systems.h2_norm(systems.ss([[2.0]], [[1.0]], [[4.0]])))
    inf

    Source: Zhou, Doyle, Glover, *Robust and Optimal Control*, 1996, section 4.6.
    """
    whole, square, finite = h2_square(system, system.D != 0)
    return infinite_unless(finite, whole * _root(square))


def balanced_units(system: StateSpace) -> Array:
    """Powers of two [n], the units of the states in which B and C have rows and columns of similar size."""
    b, c = system.B / _unit(system.B), system.C / _unit(system.C)
    floor = 1 if system.is_discrete else 0
    return symplectic(system.A, matmul(b, b.T), matmul(c.T, c), floor)


def balanced(system: StateSpace) -> StateSpace:
    """The system with states scaled by powers of two, so that B and C have rows and columns of similar size."""
    if not system.A.size:
        return system
    d = lax.stop_gradient(balanced_units(system))[:, None]
    return StateSpace(system.A * d.T / d, system.B / d, system.C * d.T, system.D, system.dt)
