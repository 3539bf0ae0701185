"""Responses in time and frequency against python-control and SciPy, parallel against serial, with derivatives."""

import dataclasses

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from jaxlqr import systems

RNG = np.random.default_rng(2)
A = RNG.standard_normal((4, 4)) - 2.5 * np.eye(4)
SYSTEM = systems.ss(A, RNG.standard_normal((4, 2)), RNG.standard_normal((3, 4)), RNG.standard_normal((3, 2)))
DT = 0.1
SAMPLED = systems.sample(SYSTEM, DT)
U = RNG.standard_normal((50, 2))
X0 = RNG.standard_normal(4)
TIMES = DT * np.arange(50)


@pytest.mark.parametrize("system", [SYSTEM, SAMPLED], ids=["continuous", "discrete"])
def test_frequency_responses_are_those_of_control(system):
    omega = np.geomspace(1e-3, 0.9 * np.pi / DT, 40)
    mine = systems.frequency_response(system, omega)
    theirs = control.frequency_response(systems.to_control(system), omega).frdata
    np.testing.assert_allclose(mine, np.moveaxis(theirs, 2, 0), rtol=1e-11, atol=1e-12)
    assert systems.frequency_response(systems.ss([], [], [], [[2.0]]), omega).shape == (40, 1, 1)


def test_many_frequencies_in_blocks(monkeypatch):
    omega = jnp.linspace(0.0, 5.0, 37)
    expected = systems.frequency_response(SYSTEM, omega)
    monkeypatch.setattr("jaxlqr.systems._frequency._BLOCK", 5 * 24)
    inner = systems.frequency_response.__globals__["_response"].__wrapped__
    np.testing.assert_allclose(inner(SYSTEM, omega), expected, rtol=1e-13)


def test_a_badly_scaled_response_has_all_digits():
    unit = np.array([[1e9, 1.0, 1e-9, 1e3]])
    scaled = systems.ss(A * unit.T / unit, SYSTEM.B * unit.T, SYSTEM.C / unit, SYSTEM.D)
    omega = jnp.geomspace(1e-2, 1e2, 9)
    mine = systems.frequency_response(scaled, omega)
    np.testing.assert_allclose(mine, systems.frequency_response(SYSTEM, omega), rtol=1e-11)  # the units are rounded


def test_simulation_is_that_of_scipy_and_of_control():
    _, outputs, states = scipy.signal.dlsim(tuple(np.asarray(x) for x in (*leaves(SAMPLED), DT)), U, x0=X0)
    for method in ("scan", "associative"):
        mine = systems.simulate(SAMPLED, U, x0=X0, method=method)
        np.testing.assert_allclose(mine.outputs, outputs, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(mine.states[:-1], states, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(mine.times, TIMES, rtol=1e-14, atol=0)
        held = systems.simulate(SYSTEM, U, x0=X0, dt=DT, method=method)
        np.testing.assert_allclose(held.outputs, mine.outputs, rtol=1e-11, atol=1e-12)
    assert mine.states.shape == (51, 4)
    assert systems.simulate(SAMPLED, U[:1], method="associative").outputs.shape == (1, 3)


def leaves(system):
    return system.A, system.B, system.C, system.D


@pytest.mark.parametrize("name", ["step", "impulse"])
def test_step_and_impulse_responses_are_those_of_control(name):
    mine = {"step": systems.step_response, "impulse": systems.impulse_response}[name]
    theirs = {"step": control.step_response, "impulse": control.impulse_response}[name]
    # Without feedthrough, whose impulse neither package shows.
    system = dataclasses.replace(SYSTEM, D=jnp.zeros((3, 2)))
    expected = theirs(systems.to_control(system), TIMES).outputs
    np.testing.assert_allclose(mine(system, 50, dt=DT).outputs, np.moveaxis(expected, 2, 0), rtol=1e-8, atol=1e-9)
    # python-control's impulse in discrete time is 1 / dt.
    expected = theirs(systems.to_control(SAMPLED), TIMES).outputs * (DT if name == "impulse" else 1)
    response = mine(SAMPLED, 50)
    np.testing.assert_allclose(response.outputs, np.moveaxis(expected, 2, 0), rtol=1e-10, atol=1e-11)
    assert response.states.shape == (51, 4, 2)
    again = systems.simulate(
        SAMPLED, np.eye(2)[:1] * (np.arange(50)[:, None] == 0) if name == "impulse" else np.ones((50, 1)) * [1.0, 0]
    )
    np.testing.assert_allclose(again.outputs, response.outputs[..., 0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(again.states, response.states[..., 0], rtol=1e-10, atol=1e-12)


SMALL = systems.ss([[-1.0, 2.0], [0.3, -0.8]], [[1.0], [0.5]], [[1.0, -1.0]], [[0.2]])


def test_derivatives_of_second_order_in_both_modes():
    def in_frequency(system, omega):
        response = systems.frequency_response(system, omega)
        return response.real, response.imag

    check_grads(jax.jit(in_frequency), (SMALL, jnp.array([0.4, 3.0])), order=2, modes=("fwd", "rev"), rtol=1e-4)


@pytest.mark.slow
def test_derivatives_in_time_of_second_order_in_both_modes():
    def in_time(system, u, x0):
        outputs = [systems.simulate(system, u, x0=x0, method=method).outputs for method in ("scan", "associative")]
        return outputs, systems.step_response(system, 3).outputs, systems.impulse_response(system, 3).outputs

    discrete = systems.ss(0.5 * SMALL.A, SMALL.B, SMALL.C, SMALL.D, dt=1.0)
    arguments = (discrete, jnp.ones((4, 1)), jnp.array([1.0, -1.0]))
    check_grads(jax.jit(in_time), arguments, order=2, modes=("fwd", "rev"), rtol=1e-4, atol=1e-4)


def test_a_stack_is_a_loop_and_float32_stays():
    stack = systems.stack_systems([SMALL, systems.ss(2 * SMALL.A, SMALL.B, SMALL.C, SMALL.D)])
    omega = jnp.array([0.5, 2.0])
    together = jax.vmap(systems.frequency_response, (0, None))(stack, omega)
    np.testing.assert_allclose(together[0], systems.frequency_response(SMALL, omega), rtol=1e-13)
    steps = jax.vmap(lambda system: systems.step_response(system, 5, dt=0.1))(stack)
    np.testing.assert_allclose(steps.outputs[0], systems.step_response(SMALL, 5, dt=0.1).outputs, rtol=1e-12)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), SMALL)
    assert systems.frequency_response(single, omega).dtype == jnp.complex64
    simulated = systems.simulate(single, np.ones((20, 1)), dt=0.1)
    assert simulated.outputs.dtype == jnp.float32
    expected = systems.simulate(SMALL, np.ones((20, 1)), dt=0.1).outputs
    np.testing.assert_allclose(simulated.outputs, expected, rtol=1e-5)  # twenty steps of float32


REFUSED = {
    "omega": (lambda: systems.frequency_response(SYSTEM, 1.0), r"omega must be frequencies \[k\], got shape \(\)"),
    "u": (lambda: systems.simulate(SMALL, np.ones(3), dt=0.1), r"u must have shape \[T, 1\].* write u\[:, None\]"),
    "x0": (lambda: systems.simulate(SMALL, np.ones((3, 1)), x0=np.ones(3), dt=0.1), r"x0 must have shape \[2\]"),
    "no dt": (lambda: systems.step_response(SMALL, 3), "dt must be given with a system in continuous time"),
    "two dts": (lambda: systems.step_response(SAMPLED, 3, dt=0.1), "dt must not be given"),
    "count": (lambda: systems.step_response(SMALL, 0, dt=0.1), "num_steps must be an integer of at least 1, got 0"),
    "method": (lambda: systems.simulate(SMALL, np.ones((3, 1)), dt=0.1, method="fft"), "method must be one of scan"),
    "negative dt": (lambda: systems.impulse_response(SMALL, 3, dt=-0.1), "dt must be a positive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_get_one_sentence(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
