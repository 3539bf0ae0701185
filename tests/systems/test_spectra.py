"""Poles, zeros, damping and static gains against python-control and closed forms, with derivatives."""

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr import systems

RNG = np.random.default_rng(1)
A = RNG.standard_normal((4, 4)) - np.eye(4)
SYSTEM = systems.ss(A, RNG.standard_normal((4, 2)), RNG.standard_normal((2, 4)), [[0.0, 0.0], [0.0, 0.7]])


def ordered(values):
    values = np.asarray(values)[~np.isnan(values)]
    return values[np.lexsort((values.imag.round(5), values.real.round(5)))]


def test_poles_and_damping_are_those_of_control():
    theirs = systems.to_control(SYSTEM)
    np.testing.assert_allclose(ordered(systems.poles(SYSTEM)), ordered(theirs.poles()), rtol=1e-10)
    for system in (SYSTEM, systems.sample(SYSTEM, 0.1)):
        frequencies, ratios, poles = systems.to_control(system).damp()
        mine = systems.damping(system)
        for got, expected in ((mine.frequencies, frequencies), (mine.ratios, ratios)):
            order, reference = np.lexsort((mine.poles.imag, mine.poles.real)), np.lexsort((poles.imag, poles.real))
            np.testing.assert_allclose(got[order], expected[reference], rtol=1e-8)
    integrator = systems.damping(systems.ss([[0.0]], [[1.0]]))
    assert (float(integrator.frequencies[0]), float(integrator.ratios[0])) == (0.0, -1.0)
    dead = systems.damping(systems.ss([[0.0]], [[1.0]], dt=1.0))
    assert (float(dead.frequencies[0]), float(dead.ratios[0])) == (np.inf, 1.0)


def companion(zeros, poles, gain=1.0):
    theirs = control.ss(control.zpk(zeros, poles, gain))
    return systems.ss(theirs.A, theirs.B, theirs.C, theirs.D)


PLAIN = companion([5.0], [-1, -2])
UNITS = np.array([[1e9, 1.0, 1e-6, 1e3]])
CASES = {
    # Relative degree four, three, one and zero: plain QZ returns infinite zeros as large finite ones.
    "no zero": (companion([], [-1, -2, -3, -4]), []),
    "degree three": (companion([5.0], [-1, -2, -3, -4]), [5.0]),
    "degree one": (companion([-1 + 2j, -1 - 2j, 4.0], [-1, -2, -3, -5]), [-1 - 2j, -1 + 2j, 4.0]),
    "as many as poles": (companion([1.0, 2.0], [-1, -2]), [1.0, 2.0]),
    # The pole at -2 that the input does not reach, and the zero of 1 / (s + 1) + 1 / (s + 3).
    "a hidden pole": (systems.ss(np.diag([-1.0, -2, -3]), [[1.0], [0], [1]], [[1.0, 1, 1]]), [-2.0, -2.0]),
    "the other output sees it": (systems.ss(np.diag([-1.0, -2]), [[1.0], [0]], np.eye(2)), []),
    "two outputs with one zero": (systems.ss(PLAIN.A, PLAIN.B, np.vstack([PLAIN.C, 2 * PLAIN.C])), [5.0]),
    "two inputs with one zero": (systems.ss(PLAIN.A, np.hstack([PLAIN.B, -PLAIN.B]), PLAIN.C), [5.0]),
    "generic, more inputs": (systems.ss(A, SYSTEM.B, SYSTEM.C[:1]), []),
    "other units": (
        systems.ss(
            companion([-1 + 2j, -1 - 2j, 4.0], [-1, -2, -3, -5]).A * UNITS.T / UNITS,
            companion([-1 + 2j, -1 - 2j, 4.0], [-1, -2, -3, -5]).B * UNITS.T,
            companion([-1 + 2j, -1 - 2j, 4.0], [-1, -2, -3, -5]).C / UNITS,
        ),
        [-1 - 2j, -1 + 2j, 4.0],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_zeros_are_all_finite_ones_and_no_other(name):
    system, expected = CASES[name]
    found = systems.zeros(system)
    assert found.shape == (system.num_states,)
    # A double zero has half the digits.
    np.testing.assert_allclose(
        ordered(found), ordered(np.array(expected, complex)), rtol=1e-7 if len(set(expected)) < len(expected) else 1e-10
    )
    assert np.isnan(found[len(expected) :]).all()


def test_zeros_of_many_signals_make_the_rosenbrock_matrix_singular():
    found = ordered(systems.zeros(SYSTEM))
    assert len(found) == 3  # one direction passes through a D of rank one, the other is of relative degree one
    for z in found:
        matrix = np.block([[A - z * np.eye(4), SYSTEM.B], [SYSTEM.C, SYSTEM.D]])
        values = np.linalg.svd(matrix, compute_uv=False)
        assert values[-1] < 1e-12 * values[0]
    stack = jax.jit(jax.vmap(systems.zeros))(systems.stack_systems([SYSTEM, CASES["as many as poles"][0]][:1] * 2))
    np.testing.assert_array_equal(stack[1], systems.zeros(SYSTEM))


def test_static_gains():
    np.testing.assert_allclose(systems.dc_gain(SYSTEM), systems.to_control(SYSTEM).dcgain(), rtol=1e-11)
    sampled = systems.sample(SYSTEM, 0.1)
    np.testing.assert_allclose(systems.dc_gain(sampled), systems.dc_gain(SYSTEM), rtol=1e-10)
    for integrator in (systems.ss([[0.0, 1], [0, 0]], [[0.0], [1]]), systems.ss(np.eye(2), np.eye(2), dt=1.0)):
        assert np.isinf(systems.dc_gain(integrator)).all()
    # Closed by a gain that gives the row sums back: singular to rounding only.
    nearly = np.array([[0.1, 0.2], [0.3, 0.6 + 1e-17]])
    assert np.isinf(systems.dc_gain(systems.ss(nearly, np.eye(2)))).all()
    slow = systems.ss(np.diag([-1e-12, -1e6]), np.eye(2))  # slow and fast, and not singular
    np.testing.assert_allclose(systems.dc_gain(slow), np.diag([1e12, 1e-6]), rtol=1e-12)
    assert systems.dc_gain(systems.ss([], [], [], [[3.0]])).tolist() == [[3.0]]


@pytest.mark.slow
def test_derivatives_of_second_order_in_both_modes():
    def values(system):
        parts = [systems.poles(system), systems.zeros(system)]
        # Symmetric functions: the order of eigenvalues does not matter.
        return [jnp.real(jnp.sum(part**2)) for part in parts] + [systems.dc_gain(system)]

    # Of full rank, so that a small change makes no zero appear.
    regular = systems.ss(A, SYSTEM.B, SYSTEM.C, [[3.0, 0.1], [0.0, 4.0]])
    check_grads(jax.jit(values), (regular,), order=2, modes=("fwd", "rev"), rtol=1e-4, atol=1e-4)


def test_derivatives_in_closed_form():
    def pair(k):  # zeros at the roots of s^2 + k s + 4
        return systems.zeros(
            systems.ss([[0.0, 1], [-1, -1]], [[0.0], [1]], jnp.array([[3.0, 0]]) + k * jnp.array([[0.0, 1]]), [[1.0]])
        )

    k = 1.5
    # Numerator: s^2 + s + 1 + 3 + k s.
    slope = jax.jacfwd(pair)(jnp.asarray(k))
    z = pair(jnp.asarray(k))
    np.testing.assert_allclose(slope, -z / (2 * z + 1 + k), rtol=1e-12)
    curvature = jax.jacfwd(jax.jacfwd(pair))(jnp.asarray(k))
    expected = -(2 * slope + 2 * slope**2) / (2 * z + 1 + k)  # z'' of the same polynomial
    np.testing.assert_allclose(curvature, expected, rtol=1e-11)


def test_float32():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), SYSTEM)
    assert systems.poles(single).dtype == systems.zeros(single).dtype == jnp.complex64
    np.testing.assert_allclose(systems.dc_gain(single), systems.dc_gain(SYSTEM), rtol=1e-4)  # a condition of 100
    np.testing.assert_allclose(ordered(systems.zeros(single)), ordered(systems.zeros(SYSTEM)), rtol=1e-4)
