"""Stability margins of a loop: gain, phase, delay, and the distances that the peaks of S, T and S - I/2 give."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.core.result import Result
from jaxlqr.systems._crossings import NEGATIVE, UNIT, find_crossings, loop_value, nearest
from jaxlqr.systems._gain import Matrices
from jaxlqr.systems._hinf import largest, matrices, status_of
from jaxlqr.systems._peak import Peak
from jaxlqr.systems._state_space import StateSpace, check_system


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class StabilityMargins(Result):
    """How far a loop is from instability; under ``jax.vmap`` every array has a leading axis of lanes.

    Attributes:
        gain_margin: the factor of the loop gain, nearest to one on a logarithmic scale, that moves the loop through -1;
            +inf if there is none.
        phase_margin: the smallest change of phase, in degrees, that moves the loop through -1; +inf if the gain is
            never one.
        delay_margin: the smallest delay, in units of time, that moves the loop through -1; +inf if there is none.
        phase_crossover: frequency of the gain margin, in radians per unit of time; NaN if there is none.
        gain_crossover: frequency of the phase margin, in radians per unit of time; NaN if there is none.
        modulus_margin: 1 / norm of S = (I + L)^-1, the smallest distance of the Nyquist curve from -1.
        complementary_margin: 1 / norm of T = L (I + L)^-1: relative errors of the loop that are smaller are tolerated.
        disk_margin: 1 / norm of S - I / 2, as ``control.disk_margins`` with skew 0: gains and phases of all channels
            may change at once.
        status: :class:`~jaxlqr.SolveStatus` code of the three norms; NOT_STABLE if the closed loop is not stable. Then
            these three margins are 0, and the other margins are the changes that move the loop through -1.

    The gain, phase and delay margins, and their frequencies, are defined for loops with one input and one output; they
    are NaN for other loops.
    """

    _noun = "closed loops"
    _error = ArithmeticError

    gain_margin: Array
    phase_margin: Array
    delay_margin: Array
    phase_crossover: Array
    gain_crossover: Array
    modulus_margin: Array
    complementary_margin: Array
    disk_margin: Array
    status: Array

    @property
    def disk_gain_margin(self) -> Array:
        """The factor by which all gains may grow, or shrink, at the same time; +inf for a disk margin of 2 and more."""
        half = self.disk_margin / 2
        return jnp.where(half < 1, (1 + half) / jnp.where(half < 1, 1 - half, 1), jnp.inf)

    @property
    def disk_phase_margin(self) -> Array:
        """The change of phase in degrees that all channels tolerate at once."""
        return jnp.rad2deg(2 * jnp.arctan(self.disk_margin / 2))


def _square(loop: StateSpace) -> dict[str, StateSpace]:
    loop = check_system(loop, "loop")
    if loop.num_inputs != loop.num_outputs:
        raise ValueError(
            f"loop must have as many outputs as inputs, got {loop.num_outputs} outputs and {loop.num_inputs} inputs; "
            "give the loop that is broken at one place, controller and plant in series."
        )
    return {"loop": loop}


@compiled(prepare=_square)
def stability_margins(loop: StateSpace) -> StabilityMargins:
    """Return the stability margins of the negative feedback loop u = -y around ``loop``.

    Crossings are eigenvalues of matrices of size 2 n, refined by Newton's iteration, so that no grid of frequencies is
    needed. The frequencies 0 and infinity (pi / dt) count as phase crossings where the loop is real and negative there.

    Arguments:
        loop: the open loop L, controller and plant in series: one :class:`StateSpace` with as many outputs as inputs,
            in continuous or discrete time, stable or not; ``jax.vmap`` batches.

    Returns:
        :class:`StabilityMargins`. Each margin is differentiable in every matrix, in both modes and to any order, where
        one crossing or one peak decides it and is not a double one.

    >>> from jaxlqr import systems
    >>> loop = systems.ss([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, -1.0]], [[0.0], [0.0], [4.0]],
    ...                   [[1.0, 0.0, 0.0]])  # 4 / (s + 1)^3
    >>> margins = systems.stability_margins(loop).check()
    >>> print(f"{margins.gain_margin:.4f} {margins.phase_crossover:.4f} {margins.phase_margin:.2f}")
    2.0000 1.7321 27.14

    Source: Seiler, Packard, Gahinet, IEEE Control Syst. Mag. 40 (2020) for the disk margin.
    """
    open_loop = matrices(loop)
    discrete = loop.is_discrete
    values, status = _distances(open_loop, discrete=discrete)
    classical = _classical(open_loop, discrete=discrete)
    time = jnp.ones_like(loop.D[0, 0]) if loop.dt is None else loop.dt
    return StabilityMargins(
        gain_margin=classical[0],
        phase_margin=classical[1],
        delay_margin=classical[2] * time,
        phase_crossover=classical[3] / time,
        gain_crossover=classical[4] / time,
        modulus_margin=values[0],
        complementary_margin=values[1],
        disk_margin=values[2],
        status=status,
    )


def _distances(loop: Matrices, *, discrete: bool) -> tuple[Array, Array]:
    """1 over the norms of S, of T and of S - I / 2 [3], and the status of the three searches."""
    a, b, c, d = loop
    eye = jnp.eye(len(d), dtype=d.dtype)
    inverse = jnp.linalg.inv(eye + d)
    # S, S - I = -T and S - I / 2 differ in D only: one search for three.
    closed = Matrices(a - matmul(b, inverse, c), matmul(b, inverse), -matmul(inverse, c), inverse)

    def one(shift: Array) -> tuple[Array, Peak]:
        value, _, peak = largest(closed._replace(d=closed.d - shift * eye), discrete=discrete)
        return 1 / value, peak

    values, peaks = jax.vmap(one)(jnp.asarray([0, 1, 0.5], d.dtype))
    return values, status_of(closed, peaks)


def _classical(loop: Matrices, *, discrete: bool) -> list[Array]:
    """Gain, phase and delay margin, phase and gain crossover, with dt = 1."""
    nan = jnp.full((), jnp.nan, loop.d.dtype)
    if loop.d.size != 1:
        return [nan] * 5
    value = partial(loop_value, loop, discrete=discrete)
    real = find_crossings(loop, NEGATIVE, discrete=discrete)
    unit = find_crossings(loop, UNIT, discrete=discrete)
    sizes, turns = jnp.abs(jnp.log(jnp.abs(real.values))), jnp.abs(jnp.angle(-unit.values))
    at_phase, has_phase = nearest(real, sizes, loop, NEGATIVE, discrete=discrete)
    at_gain, has_gain = nearest(unit, turns, loop, UNIT, discrete=discrete)
    at_delay, _ = nearest(unit, _delay(unit.values, unit.xs), loop, UNIT, discrete=discrete)
    gain = jnp.where(has_phase, 1 / jnp.abs(value(at_phase)), jnp.inf)
    phase = jnp.where(has_gain, jnp.rad2deg(jnp.angle(-value(at_gain))), jnp.inf)
    delay = jnp.where(has_gain, _delay(value(at_delay), at_delay), jnp.inf)
    return [gain, phase, delay, jnp.where(has_phase, at_phase, nan), jnp.where(has_gain, at_gain, nan)]


def _delay(value: Array, x: Array) -> Array:
    """The delay that turns a loop with this value at ``x`` to -1."""
    angle = jnp.angle(-value)
    return jnp.where(angle < 0, angle + 2 * jnp.pi, angle) / x
