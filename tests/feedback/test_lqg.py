"""The optimal controller against python-control, SLICOT and the gradient of the cost; Doyle's example."""

import dataclasses

import control
import ctrlsys
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import feedback, systems
from tests.feedback.cases import lqg_matrices, random_plant

TIMES = pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])


def doyle():
    five = 5 * np.ones((2, 2))
    return feedback.lqg_plant([[1.0, 1.0], [0.0, 1.0]], [[0.0], [1.0]], [[1.0, 0.0]], five, [[1.0]], five, [[1.0]])


def slopes(controller, plant):
    """The largest entries of the gradient over all controllers of this order, relative to the cost."""

    def cost(matrices):
        return feedback.h2_cost(systems.StateSpace(*matrices, controller.dt), plant)

    value, found = jax.value_and_grad(cost)((controller.A, controller.B, controller.C, controller.D))
    return [float(jnp.max(jnp.abs(leaf)) / value) for leaf in (found if plant.is_discrete else found[:3])]


@TIMES
@pytest.mark.parametrize("seed", [0, 1])
def test_the_gradient_over_dynamic_controllers_vanishes(seed, discrete):
    plant = random_plant(seed, discrete=discrete)
    best = feedback.lqg_result(plant).check()
    assert max(slopes(best.controller, plant)) < 1e-7  # the Riccati solutions are rounded, the loops hardly stable


def test_against_slicot_in_discrete_time():
    plant = random_plant(2, discrete=True)
    # sb10ed allows no D11: the optimum with D11 is tested by its gradient.
    plant = feedback.generalized_plant(
        plant.A, plant.B1, plant.B2, plant.C1, plant.C2, None, plant.D12, plant.D21, dt=plant.dt
    )
    n, (p, m) = plant.num_states, (plant.num_measurements, plant.num_controls)
    whole = plant.system
    matrices = [np.asfortranarray(np.array(leaf)) for leaf in (whole.A, whole.B, whole.C, whole.D)]
    ak, bk, ck, dk, _, info = slicot(ctrlsys.sb10ed, n, whole.num_inputs, whole.num_outputs, m, p, matrices)
    assert info == 0
    theirs = systems.ss(ak, bk, ck, dk, dt=plant.dt)
    ours = feedback.lqg(plant)
    omega = jnp.linspace(0.1, 30, 7)
    np.testing.assert_allclose(
        systems.frequency_response(ours, omega), systems.frequency_response(theirs, omega), rtol=1e-8, atol=1e-9
    )  # Riccati solutions of condition 1e3


def test_against_slicot_in_continuous_time():
    plant = random_plant(3, discrete=False)
    whole = plant.system
    matrices = [np.asfortranarray(np.array(leaf)) for leaf in (whole.A, whole.B, whole.C, whole.D)]
    ak, bk, ck, dk, _, info = slicot(
        ctrlsys.sb10hd, plant.num_states, whole.num_inputs, whole.num_outputs, 2, 2, matrices
    )
    assert info == 0
    omega = jnp.linspace(0.1, 30, 7)
    theirs = systems.frequency_response(systems.ss(ak, bk, ck, dk), omega)
    np.testing.assert_allclose(systems.frequency_response(feedback.lqg(plant), omega), theirs, rtol=1e-8, atol=1e-9)


@TIMES
def test_the_gains_of_python_control(discrete):
    a, b, c, q, r, w, v = lqg_matrices(4, discrete=discrete)
    found = feedback.lqg_result(feedback.lqg_plant(a, b, c, q, r, w, v, dt=1.0 if discrete else None)).check()
    lqr, lqe = (control.dlqr, control.dlqe) if discrete else (control.lqr, control.lqe)
    np.testing.assert_allclose(found.regulator_gain, lqr(a, b, q, r)[0], rtol=1e-9, atol=1e-10)  # roundings
    estimator = lqe(a, np.eye(3), c, w, v)[0]
    # python-control's dlqe returns the gain of the predictor.
    np.testing.assert_allclose(found.estimator_gain, estimator, rtol=1e-9, atol=1e-10)


def test_doyles_example():
    plant = doyle()
    best = feedback.lqg_result(plant).check()
    np.testing.assert_allclose(best.regulator_gain, [[5, 5]], rtol=1e-12)  # exact in the literature
    np.testing.assert_allclose(best.estimator_gain, [[5], [5]], rtol=1e-12)
    assert feedback.h2_cost(best.controller, plant) == pytest.approx(750, rel=1e-11)
    assert max(slopes(best.controller, plant)) < 1e-10  # a stationary point of the cost over dynamic controllers


@pytest.mark.slow
def test_the_margins_of_doyles_example_vanish():
    """With Q = W = sigma [1 1]' [1 1] the gain margin tends to 1 as sigma grows."""
    factors = []
    for sigma in (5.0, 60.0, 1000.0):
        weight = sigma * np.ones((2, 2))
        plant = feedback.lqg_plant([[1, 1.0], [0, 1]], [[0], [1.0]], [[1.0, 0]], weight, [[1.0]], weight, [[1.0]])
        controller = feedback.lqg(plant)
        loop = systems.series(
            plant.actuated, systems.StateSpace(controller.A, controller.B, -controller.C, controller.D)
        )
        margins = systems.stability_margins(loop).check()
        factors.append(float(margins.gain_margin))
        assert jnp.isfinite(feedback.h2_cost(controller, plant))
    distances = np.abs(np.log(factors))
    assert np.all(np.diff(distances) < 0)
    assert distances[-1] < 0.02
    assert distances[0] < 0.3


def test_what_has_no_optimal_controller_says_why():
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    cases = [
        ((2 * one, zero, one), jaxlqr.SolveStatus.NO_STABILIZING_SOLUTION, "no stabilising solution"),
        ((2 * one, one, zero), jaxlqr.SolveStatus.NO_STEADY_STATE, "no stable filter"),
    ]
    plants = [feedback.lqg_plant(a, b, c, one, one, one, one, dt=1.0) for (a, b, c), _, _ in cases]
    good = feedback.lqg_plant(2 * one, one, one, one, one, one, one, dt=1.0)
    found = jax.vmap(feedback.lqg_result)(feedback.stack_plants([*plants, good]))
    for lane, (_, status, message) in enumerate(cases):
        result = jax.tree.map(lambda leaf, lane=lane: leaf[lane], found)
        assert int(result.status) == status
        assert not jnp.any(jnp.isfinite(result.controller.A))
        with pytest.raises(ArithmeticError, match=message):
            result.check()
    last = jax.tree.map(lambda leaf: leaf[-1], found).check()
    assert jnp.isfinite(feedback.h2_cost(last.controller, good))


@pytest.mark.slow
@TIMES
def test_the_optimal_cost_is_differentiable(discrete):
    plant = random_plant(5, n=2, m=1, p=1, r=2, q=2, discrete=discrete)

    def best(a):
        moved = dataclasses.replace(plant, A=a)
        return feedback.h2_cost(feedback.lqg(moved), moved)

    slope = jax.grad(best)(plant.A)
    controller = feedback.lqg(plant)
    fixed = jax.grad(lambda a: feedback.h2_cost(controller, dataclasses.replace(plant, A=a)))(plant.A)
    np.testing.assert_allclose(slope, fixed, rtol=1e-6, atol=1e-6 * float(best(plant.A)))  # the envelope theorem
    forward = jax.jvp(best, (plant.A,), (jnp.ones_like(plant.A),))[1]
    assert forward == pytest.approx(float(jnp.sum(slope)), rel=1e-8)


def slicot(function, n, inputs, outputs, m, p, matrices):
    """AK, BK, CK, DK, the reciprocal conditions and the error code."""
    found = function(n, inputs, outputs, m, p, *matrices, 1e-12)
    return (*found[:4], found[4], found[-1])
