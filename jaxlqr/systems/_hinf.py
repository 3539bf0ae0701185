"""The H-infinity norm of a system, where its gain peaks, and the derivatives of both."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxlqr.core.compiled import compiled
from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.matrix_equations.gramians import infinite_unless
from jaxlqr.systems._gain import Matrices, end_of, follow, gain, gain_slope
from jaxlqr.systems._gramians import balanced, one_system
from jaxlqr.systems._peak import Peak, find_peak
from jaxlqr.systems._state_space import StateSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class HInfinityPeak(Result):
    """The largest gain of a system and where it occurs; under ``jax.vmap`` every array has a leading axis of lanes.

    Attributes:
        norm: the H-infinity norm, a scalar, in the unit of y / u; +inf if the system is not stable.
        frequency: where the gain is largest, in radians per unit of time, from 0 to infinity, or to pi / dt in discrete
            time. NaN if the system is not stable. Of several equal peaks it is one.
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED, NOT_STABLE, NOT_FINITE, or MAX_STEPS if the search reached
            its cap. Then the norm is a lower bound, the gain at the frequency.
    """

    _noun = "H-infinity norms"
    _error = ArithmeticError

    norm: Array
    frequency: Array
    status: Array


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gain_at(discrete: bool, system: Matrices, x: Array, fixed: Array) -> Array:
    return gain(system, x, discrete=discrete)


# The norm is max over x of gain(system, x). At the peak the slope in x is zero, so the first derivative equals the
# derivative of the gain at a fixed x. The second derivative contains the motion of the peak: x in the rule is
# differentiable itself.
@_gain_at.defjvp
def _(discrete, primals, tangents):
    system, x, fixed = primals
    at = follow(partial(gain_slope, discrete), system, x, fixed)
    return jax.jvp(lambda matrices: gain(matrices, at, discrete=discrete), (system,), (tangents[0],))


def largest(system: Matrices, *, discrete: bool) -> tuple[Array, Array, Peak]:
    """The norm (+inf if unstable), the x of its peak (NaN if unstable), and the outcome of the search.
    Differentiable."""
    peak = find_peak(system, discrete=discrete)
    known = ~jnp.isnan(peak.x)
    x = jnp.where(known, peak.x, 0)
    fixed = (x <= 0) | (x >= jnp.asarray(end_of(discrete), x.dtype))
    value = infinite_unless(known, _gain_at(discrete, system, x, fixed))
    at = follow(partial(gain_slope, discrete), system, x, fixed)
    return value, jnp.where(known, at, jnp.nan), peak


def matrices(system: StateSpace) -> Matrices:
    """The matrices of a system with balanced states."""
    system = balanced(system)
    return Matrices(system.A, system.B, system.C, system.D)


def status_of(system: Matrices, peak: Peak) -> Array:
    """The :class:`~jaxlqr.SolveStatus` of a search, or of several searches on one system."""
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in system]))
    status = jnp.asarray(SolveStatus.SOLVED, jnp.int32)
    for failed, code in (
        (~jnp.all(peak.converged), SolveStatus.MAX_STEPS),
        (~jnp.all(peak.stable), SolveStatus.NOT_STABLE),
        (~finite, SolveStatus.NOT_FINITE),
    ):
        status = jnp.where(failed, jnp.asarray(code, jnp.int32), status)
    return status


@compiled(prepare=one_system)
def hinf_norm(system: StateSpace) -> Float[Array, ""]:
    r"""Return the H-infinity norm of a system, a scalar: its largest gain over all frequencies and directions.

    .. math:: \|G\|_\infty = \max_\omega \sigma_{\max}\big(C (s I - A)^{-1} B + D\big),
        \quad s = j \omega \;\text{ or }\; s = e^{j \omega \, dt}.

    It bounds the energy of the output relative to the energy of the input. It has the units of y / u. The eigenvalues
    of a Hamiltonian matrix of size 2 n confirm the peak. They are computed by LAPACK, on a GPU by a call to the CPU.

    Arguments:
        system: one :class:`StateSpace`, in continuous or discrete time; ``jax.vmap`` batches.

    Returns:
        The norm. It is +inf, with derivatives NaN, if the system is not stable. Elsewhere it is differentiable in every
        matrix, in both modes and to any order, where one peak is highest and the largest singular value is simple
        there. Among several equal peaks, one defines the derivative. The second derivative contains the motion of the
        peak frequency.

    >>> from jaxlqr import systems
    >>> system = systems.ss([[0.0, 1.0], [-1.0, -0.2]], [[0.0], [1.0]], [[1.0, 0.0]])  # damping z = 0.1
    >>> print(f"{systems.hinf_norm(system):.4f}")  # 1 / (2 z sqrt(1 - z^2))
    5.0252

    Source: Bruinsma, Steinbuch, Syst. Control Lett. 14 (1990); Benner, Mitchell, SIAM J. Sci. Comput. 40 (2018).
    """
    return largest(matrices(system), discrete=system.is_discrete)[0]


@compiled(prepare=one_system)
def hinf_peak(system: StateSpace) -> HInfinityPeak:
    """Return the H-infinity norm, the frequency of the peak and a status, as :class:`HInfinityPeak`.

    The norm is :func:`hinf_norm`. The frequency is differentiable too: a peak inside the band moves by the implicit
    function theorem, and a peak at an end of the band (0, infinity, pi / dt) does not move.

    Arguments:
        system: one :class:`StateSpace`, in continuous or discrete time; ``jax.vmap`` batches.

    >>> from jaxlqr import systems
    >>> peak = systems.hinf_peak(systems.ss([[0.0, 1.0], [-1.0, -0.2]], [[0.0], [1.0]], [[1.0, 0.0]])).check()
    >>> print(f"{peak.frequency:.4f}")  # sqrt(1 - 2 z^2)
    0.9899
    """
    plain = matrices(system)
    value, x, peak = largest(plain, discrete=system.is_discrete)
    frequency = x if system.dt is None else x / system.dt
    return HInfinityPeak(norm=value, frequency=frequency, status=status_of(plain, peak))
