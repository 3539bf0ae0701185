"""Stability margins: against python-control and closed forms, and derivatives of both orders."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr import SolveStatus, systems
from tests.systems.cases import in_other_units

TIMES = pytest.mark.parametrize(
    "discrete", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["continuous", "discrete"]
)
# Numerators and denominators of order 3, continuous and discrete; a pole at the boundary, an unstable closed loop, a
# conditionally stable one, an unstable loop that feedback stabilises, resonances and negative gains.
CONTINUOUS = [
    ([4.0], [1.0, 3.0, 3.0, 1.0]),
    ([1.0], [1.0, 2.0, 1.0, 0.0]),
    ([20.0], [1.0, 3.0, 3.0, 1.0]),
    ([4.0, 8.0, 8.0], [1.0, 1.0, 0.0, 0.0]),
    ([10.0, 30.0], [1.0, 9.0, 13.0, -5.0]),
    ([1.0, 0.1, 4.0], [1.0, 0.5, 3.0, 1.0]),
    ([-0.5], [1.0, 3.0, 3.0, 1.0]),
]
DISCRETE = [
    ([0.3], [1.0, -1.2, 0.4, 0.1]),
    ([0.2, 0.1], [1.0, -1.9, 0.99, -0.09]),
    ([0.5, 0.2], [1.0, -1.0, 0.1, 0.05]),
    ([0.2, -0.1], [1.0, -0.5, 0.3, 0.1]),
]


def loops(discrete):
    control = pytest.importorskip("control")
    cases = DISCRETE if discrete else CONTINUOUS
    return [control.tf(num, den, *([0.1] if discrete else [])) for num, den in cases]


def stacked(functions):
    control = pytest.importorskip("control")
    return without_names(systems.stack_systems([systems.ss(control.ss(function)) for function in functions]))


def without_names(system):
    return systems.StateSpace(system.A, system.B, system.C, system.D, system.dt)


# Compiled once for all stacks of seven.
margins_of = jax.jit(jax.vmap(systems.stability_margins))


@TIMES
def test_margins_are_those_of_python_control(discrete):
    functions = loops(discrete)
    margins = margins_of(stacked(functions))
    control = pytest.importorskip("control")
    for lane, function in enumerate(functions):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gain, phase, _, at_phase, at_gain, _ = control.stability_margins(function)
        expected = [gain, phase, at_phase, at_gain]
        ours = [margins.gain_margin, margins.phase_margin, margins.phase_crossover, margins.gain_crossover]
        # Roots of polynomials of degree 6 lose half of a dozen digits.
        np.testing.assert_allclose([x[lane] for x in ours], expected, rtol=1e-7, atol=1e-7, err_msg=str(function))
        poles = (
            np.abs(control.poles(control.feedback(function))) - 1
            if discrete
            else control.poles(control.feedback(function)).real
        )
        stable = bool(np.max(poles) < 0)
        assert int(margins.status[lane]) == (SolveStatus.SOLVED if stable else SolveStatus.NOT_STABLE)
        grid = np.concatenate([np.linspace(1e-4, np.pi / 0.1 if discrete else 20, 20001), [] if discrete else [1e6]])
        sensitivity = 1 / (1 + function(np.exp(0.1j * grid) if discrete else 1j * grid))
        worst = [np.max(np.abs(sensitivity - shift)) for shift in (0, 1, 0.5)]
        ours = [margins.modulus_margin[lane], margins.complementary_margin[lane], margins.disk_margin[lane]]
        # A grid misses a peak by the square of its step, and the end of the band by its first step.
        np.testing.assert_allclose(ours, 1 / np.array(worst) if stable else np.zeros(3), rtol=2e-4)


def third_order(k):
    """K / (s + 1)^3: crossings and their derivatives have a closed form."""
    a = jnp.array([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, -1.0]])
    b = jnp.stack([jnp.zeros_like(k), jnp.zeros_like(k), k])[:, None]
    return systems.StateSpace(a, b, jnp.array([[1.0, 0.0, 0.0]]), jnp.zeros((1, 1)))


@pytest.mark.slow
def test_margins_and_both_derivatives_have_their_closed_form():
    def ours(k):
        margins = systems.stability_margins(third_order(k))
        return jnp.stack(
            [
                margins.gain_margin,
                margins.phase_margin,
                margins.delay_margin,
                margins.gain_crossover,
                margins.phase_crossover,
            ]
        )

    def exact(k):
        crossover = jnp.sqrt(k ** (2 / 3) - 1)
        phase = jnp.pi - 3 * jnp.arctan(crossover)
        return jnp.stack([8 / k, jnp.rad2deg(phase), phase / crossover, crossover, jnp.sqrt(3.0) + 0 * k])

    k = jnp.array([2.0, 4.0, 6.0])
    for derivative in (lambda f: f, jax.jacrev, lambda f: jax.jacfwd(jax.jacrev(f))):
        computed, wanted = (jax.vmap(derivative(f))(k) for f in (ours, exact))
        np.testing.assert_allclose(computed, wanted, rtol=1e-9, atol=1e-9)  # well-conditioned; some hundred roundings


@pytest.mark.slow
def test_disk_margin_moves_as_finite_differences_say_and_has_its_gains():
    def disk(k):
        return systems.stability_margins(third_order(k)).disk_margin

    k, h = jnp.asarray(4.0), 1e-4
    assert float(jax.grad(disk)(k)) == pytest.approx(float(disk(k + h) - disk(k - h)) / (2 * h), rel=1e-6)
    margins = systems.stability_margins(third_order(k)).check()
    alpha = float(margins.disk_margin)
    assert float(margins.disk_gain_margin) == pytest.approx((2 + alpha) / (2 - alpha))
    assert float(margins.disk_phase_margin) == pytest.approx(2 * np.degrees(np.arctan(alpha / 2)))
    assert float(margins.disk_gain_margin) < float(margins.gain_margin)


def test_margins_do_not_depend_on_the_units_of_the_states():
    loop = third_order(jnp.asarray(4.0))
    scaled, factor = in_other_units(loop)
    scaled = dataclasses.replace(scaled, C=scaled.C / factor)
    stack = [loop, scaled, *[loop] * (len(CONTINUOUS) - 2)]
    for leaf in jax.tree.leaves(margins_of(without_names(systems.stack_systems(stack)))):
        assert float(leaf[0]) == pytest.approx(float(leaf[1]), rel=1e-10)  # each entry is rounded once


def test_loops_with_several_channels_and_without_states():
    diagonal = systems.ss(-jnp.eye(2), jnp.eye(2), 2 * jnp.eye(2))
    margins = systems.stability_margins(diagonal).check()
    assert bool(jnp.isnan(margins.gain_margin))
    assert float(margins.complementary_margin) == pytest.approx(1.5)  # T = 2 / (s + 3)
    with pytest.raises(ValueError, match="loop must have as many outputs as inputs"):
        systems.stability_margins(systems.ss(-jnp.eye(2), jnp.ones((2, 1)), jnp.eye(2)))
    static = systems.stability_margins(systems.ss([], [], [], [[-0.5]])).check()
    assert float(static.gain_margin) == pytest.approx(2)
    assert jnp.isposinf(static.phase_margin)


@pytest.mark.slow
def test_a_gain_margin_at_the_end_of_the_band():
    # python-control looks inside the band only: it finds the margin 9 at frequency 0.
    loop = systems.ss(
        [[0.5, -0.3, -0.1], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[1.0], [0.0], [0.0]], [[0.0, -0.2, 0.1]], dt=0.1
    )
    margins = systems.stability_margins(loop).check()
    assert float(margins.gain_margin) == pytest.approx(17 / 3)
    assert float(margins.phase_crossover) == pytest.approx(np.pi / 0.1)
    for factor, stable in ((0.999, True), (1.001, False)):
        closed = loop.A - factor * margins.gain_margin * loop.B @ loop.C
        assert (np.max(np.abs(np.linalg.eigvals(closed))) < 1) == stable
