"""The H-infinity norm: against SLICOT and closed forms, peaks all over the band, and derivatives of both orders."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr import SolveStatus, systems
from tests.systems.cases import fortran, in_other_units, lightly_damped, plant, random_system

TIMES = pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])


def slicot(system):
    """Norm and frequency by AB13DD, the algorithm of Bruinsma and Steinbuch with its own eigenvalue solver."""
    ctrlsys = pytest.importorskip("ctrlsys")
    a, b, c, d = fortran(system)
    kind, eye = "D" if system.is_discrete else "C", np.asfortranarray(np.eye(len(a)))
    peak, frequency, info = ctrlsys.ab13dd(
        kind, "I", "N", "D", len(a), b.shape[1], len(c), np.array([0.0, 1.0]), a, eye, b, c, d, 1e-12
    )
    assert info == 0
    where = np.inf if frequency[1] == 0 else frequency[0] / frequency[1]
    return peak[0] / peak[1], where / (1 if system.dt is None else float(system.dt))


@TIMES
def test_norm_and_frequency_are_those_of_slicot(discrete):
    modes = [lightly_damped(seed, 4, 2, 2, discrete=discrete) for seed in range(6)]
    random = [random_system(seed, 4, 2, 2, discrete=discrete, margin=0.3 / 10**seed) for seed in range(4)]
    stack = systems.stack_systems([*modes, *random, *(in_other_units(system)[0] for system in modes[:3])])
    peaks = jax.vmap(systems.hinf_peak)(stack).check()
    for lane, system in enumerate([*modes, *random]):
        norm, frequency = slicot(system)
        # A peak of relative width 1e-3 and less: rounding of the matrices moves it by a thousand eps.
        assert float(peaks.norm[lane]) == pytest.approx(norm, rel=1e-10), lane
        assert float(peaks.frequency[lane]) == pytest.approx(frequency, rel=1e-7, abs=1e-9), lane  # SLICOT's is coarse
    np.testing.assert_allclose(peaks.norm[-3:], 1e-3 * peaks.norm[:3], rtol=1e-10)  # as above


def oscillator(zeta, dt=None):
    """1 / (s^2 + 2 zeta s + 1), whose norm is 1 / (2 zeta sqrt(1 - zeta^2)) at sqrt(1 - 2 zeta^2)."""
    one, zero = jnp.ones_like(zeta), jnp.zeros_like(zeta)
    a = jnp.stack([jnp.stack([zero, one]), jnp.stack([-one, -2 * zeta])])
    return systems.StateSpace(a, jnp.array([[0.0], [1.0]]), jnp.array([[1.0, 0.0]]), jnp.zeros((1, 1)), dt)


def test_both_derivatives_of_norm_and_frequency_have_their_closed_form():
    def closed_form(zeta):
        return jnp.stack([1 / (2 * zeta * jnp.sqrt(1 - zeta**2)), jnp.sqrt(1 - 2 * zeta**2)])

    def ours(zeta):
        peak = systems.hinf_peak(oscillator(zeta))
        return jnp.stack([peak.norm, peak.frequency])

    zeta = jnp.array([0.5, 0.1, 1e-3])
    for derivative in (lambda f: f, jax.jacfwd, jax.jacrev, lambda f: jax.jacfwd(jax.jacrev(f))):
        computed, exact = (jax.jit(jax.vmap(derivative(f)))(zeta) for f in (ours, closed_form))
        # The second derivative loses twice the digits of 1 / zeta.
        np.testing.assert_allclose(computed, exact, rtol=1e-8)


def test_a_pole_within_1e_8_of_the_axis():
    zeta = jnp.asarray(1e-8)
    peak = systems.hinf_peak(oscillator(zeta)).check()
    # The matrix changes by eps, the real part by eps / 1e-8 of itself.
    assert float(peak.norm) == pytest.approx(0.5e8, rel=3e-8)
    assert float(peak.frequency) == pytest.approx(1, abs=1e-12)
    assert float(jax.grad(lambda z: systems.hinf_norm(oscillator(z)))(zeta)) == pytest.approx(-0.5e16, rel=1e-7)


LAG = [[-1.0]], [[1.0]]
EDGES = {
    "at zero": (systems.ss(*LAG, [[2.0]]), 2.0, 0.0),
    "at infinity": (systems.ss(*LAG, [[-1.0]], [[3.0]]), 3.0, np.inf),
    "everywhere": (systems.ss(*LAG, [[-2.0]], [[1.0]]), 1.0, 0.0),  # (s - 1) / (s + 1)
    "at pi / dt": (systems.ss([[-0.5]], [[1.0]], dt=0.1), 2.0, np.pi / 0.1),
    "at zero, discrete": (systems.ss([[0.5]], [[1.0]], dt=0.1), 2.0, 0.0),
    "at both ends": (systems.ss([[0.0]], [[1.0]], [[1.0]], dt=1.0), 1.0, 0.0),
}


@pytest.mark.parametrize("case", EDGES)
def test_peaks_at_the_ends_of_the_band(case):
    system, norm, frequency = EDGES[case]
    peak = systems.hinf_peak(system).check()
    assert float(peak.norm) == pytest.approx(norm, rel=1e-14)
    assert float(peak.frequency) == frequency
    gradient = jax.grad(systems.hinf_norm)(system)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
    assert abs(float(gradient.D[0, 0])) == pytest.approx(1, abs=1e-12)  # the gain changes by D where it is real


def test_two_equal_peaks_give_the_derivative_of_one():
    two = jax.scipy.linalg.block_diag(oscillator(jnp.asarray(0.1)).A, 4 * oscillator(jnp.asarray(0.1)).A)
    b = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 4.0]])
    system = systems.StateSpace(two, b, jnp.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]]), jnp.zeros((2, 2)))
    norm, gradient = jax.value_and_grad(systems.hinf_norm)(system)
    assert float(norm) == pytest.approx(1 / (0.2 * 0.99**0.5), rel=1e-12)
    # The norm is homogeneous in B, and only one of its columns counts.
    sizes = sorted(float(x) for x in jnp.sum(gradient.B * b, axis=0))
    assert sizes == pytest.approx([0, float(norm)], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("discrete", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_derivatives_of_systems_with_several_inputs(discrete):
    system = lightly_damped(2, 4, 2, 2, discrete=discrete, damping=0.05)
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda leaf: jnp.asarray(0.05 * rng.normal(size=leaf.shape)), system)
    if discrete:  # the norm does not depend on dt
        direction = dataclasses.replace(direction, dt=jnp.zeros_like(system.dt))

    def moved(t):
        return jax.tree.map(lambda x, y: x + t * y, system, direction)

    def along(t):
        return systems.hinf_norm(moved(t))

    h, slope = 1e-4, jax.jit(jax.grad(along))
    second = float(jax.jit(jax.jacfwd(jax.grad(along)))(0.0))
    difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert float(slope(0.0)) == pytest.approx(float(difference), rel=1e-7)  # fourth order, step 1e-4
    again = (8 * (slope(h) - slope(-h)) - (slope(2 * h) - slope(-2 * h))) / (12 * h)
    assert second == pytest.approx(float(again), rel=1e-7)  # as above
    # Without the motion of the peak the second derivative would be another number.
    frequency = float(systems.hinf_peak(system).frequency)
    assert frequency > 0
    gradient = jax.grad(systems.hinf_norm)(system)
    assert all(bool(jnp.any(leaf != 0)) for leaf in (gradient.A, gradient.B, gradient.C, gradient.D))


def test_failures_have_a_status_each_and_touch_no_other_lane():
    good = oscillator(jnp.asarray(0.1))
    bad = dataclasses.replace(good, A=jnp.eye(2)), dataclasses.replace(good, B=good.B * jnp.nan)
    stack = systems.stack_systems([good, *bad])
    peaks = jax.vmap(systems.hinf_peak)(stack)
    assert peaks.status.tolist() == [
        SolveStatus.SOLVED,
        SolveStatus.NOT_STABLE,
        SolveStatus.NOT_FINITE,
    ]
    assert bool(jnp.all(jnp.isposinf(peaks.norm[1:])))
    assert bool(jnp.all(jnp.isnan(peaks.frequency[1:])))
    with pytest.raises(ArithmeticError, match="NOT_STABLE"):
        systems.hinf_peak(bad[0]).check()
    gradients = jax.vmap(jax.grad(systems.hinf_norm))(stack)
    np.testing.assert_allclose(gradients.A[0], jax.grad(systems.hinf_norm)(good).A, rtol=1e-10)
    assert bool(jnp.all(jnp.isnan(gradients.A[1])))


def test_float32():
    system = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), oscillator(jnp.asarray(0.1)))
    norm, gradient = jax.value_and_grad(systems.hinf_norm)(system)
    assert norm.dtype == gradient.A.dtype == jnp.float32
    assert float(norm) == pytest.approx(1 / (0.2 * 0.99**0.5), rel=1e-5)  # 6e-8 times the 10 of 1 / zeta, and more


def test_a_gain_without_states():
    gain = systems.ss([], [], [], [[3.0, 4.0]])
    assert float(systems.hinf_norm(gain)) == pytest.approx(5)


@pytest.mark.slow
@TIMES
@pytest.mark.parametrize("n", [1, 20, 60, 200])
def test_norms_of_all_sizes(n, discrete):
    system = random_system(7, n, 3, 2, discrete=discrete) if n % 2 else lightly_damped(7, n, 3, 2, discrete=discrete)
    norm, _ = slicot(system)
    assert float(systems.hinf_norm(system)) == pytest.approx(norm, rel=1e-9)  # n roundings at peaks of width 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AC3", "AC6", "AC8", "AC15", "HE3", "REA2", "TG1", "AGS", "UWV", "EB1"])
def test_plants_of_compleib(name):
    a, b1, b, c1, c, d11, _, _ = plant(name)
    if 0 in (b1.size, c1.size):  # the plant comes without a disturbance or without a performance output
        b1, c1, d11 = b, c, np.zeros((len(c), b.shape[1]))
    shift = max(0, 1e-3 * np.abs(np.linalg.eigvals(a)).max() + np.linalg.eigvals(a).real.max())
    system = systems.ss(a - shift * np.eye(len(a)), b1, c1, d11)
    norm, _ = slicot(system)
    assert float(systems.hinf_norm(system)) == pytest.approx(norm, rel=1e-7)  # peaks of width 1e-3, badly scaled
