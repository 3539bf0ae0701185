"""Synthesis from nothing: static gains, dynamic controllers, families; HIFOO's plants; what fails and says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import feedback
from jaxlqr.feedback._sampling import shortest_combination
from tests.feedback.cases import random_plant, static_plant

QUIET = {"progress": False}


def test_state_feedback_is_found_from_zero():
    one = np.ones((1, 1))
    a, b, eye = np.array([[1.2, 0.1], [0.0, 1.1]]), np.array([[0.0], [1.0]]), np.eye(2)
    plant = feedback.lqg_plant(a, b, eye, eye, one, eye, 0 * eye, dt=1.0)
    kind = feedback.static(plant)
    found = feedback.synthesize(plant, kind, num_starts=3, **QUIET).check()
    best = jaxlqr.discrete_lqr(a, b, eye, one).gain
    np.testing.assert_allclose(found.controller, best, rtol=1e-6)  # Newton's method ends at rounding of the cost
    assert found.cost == pytest.approx(float(feedback.h2_cost(best, plant)), rel=1e-10)
    assert found.costs.shape == (1,)
    assert found.history["abscissa"].shape[1] == found.history["cost"].shape[1] == found.start_costs.shape[0] == 3
    assert float(found.history["abscissa"][0].max()) > 0 > float(found.history["abscissa"][-1].min())
    costs = np.asarray(found.history["cost"])
    assert np.all(np.diff(costs, axis=0) <= 1e-12 * costs[:-1])  # no step rises
    again = feedback.synthesize(plant, kind, num_starts=3, **QUIET)
    np.testing.assert_array_equal(again.controller, found.controller)


@pytest.mark.slow
def test_one_gain_for_a_family():
    plants = feedback.stack_plants(
        [feedback.lqg_plant([[a]], [[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]], [[0.0]], dt=1.0) for a in (1.1, 1.4)]
    )
    kind = feedback.static(plants)
    mean = feedback.synthesize(plants, kind, num_starts=2, **QUIET).check()
    grid = jnp.linspace(0.5, 2.0, 3001)[:, None, None]
    values = jax.vmap(lambda gain: jax.vmap(lambda plant: feedback.h2_cost(gain, plant))(plants))(grid)
    assert mean.cost == pytest.approx(float(jnp.min(jnp.mean(values, axis=1))), rel=1e-5)  # the grid is 5e-4 wide
    worst = feedback.synthesize(plants, kind, objective="hinf", num_starts=2, **QUIET)
    peaks = jax.vmap(lambda gain: jax.vmap(lambda plant: feedback.hinf_cost(gain, plant))(plants))(grid)
    least = float(jnp.min(jnp.max(peaks, axis=1)))
    assert worst.cost == pytest.approx(least, rel=1e-3)  # a kink: the two plants are equally bad there


@pytest.mark.slow
@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_full_order_reaches_the_optimum(discrete):
    plant = random_plant(1, n=2, m=1, p=1, r=2, q=2, discrete=discrete)
    found = feedback.synthesize(plant, feedback.dynamic(plant, 2), num_starts=4, **QUIET)
    best = float(feedback.h2_cost(feedback.lqg(plant), plant))
    assert found.cost == pytest.approx(best, rel=1e-6)
    assert found.cost > best * (1 - 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bound"), [("AC15", 15.30), ("HE4", 22.90)])
def test_against_hifoo(name, bound):
    """Static output feedback: HIFOO reports 15.2919 and 22.8382, hinfstruct 15.2 and 22.8."""
    plant = static_plant(name)
    found = feedback.synthesize(plant, feedback.static(plant), objective="hinf", **QUIET)
    assert found.cost <= bound
    assert feedback.hinf_cost(found.controller, plant) == pytest.approx(float(found.cost), rel=1e-9)


@pytest.mark.slow
def test_h2_against_hifoo():
    plant = static_plant("AC15")
    found = feedback.synthesize(plant, feedback.static(plant), num_starts=4, **QUIET).check()
    assert float(found.cost) ** 0.5 == pytest.approx(12.612, rel=1e-4)  # the digits that HIFOO reports


def test_what_fails_says_why():
    one = np.ones((1, 1))
    unseen = feedback.lqg_plant(2 * one, one, 0 * one, one, one, one, 0 * one, dt=1.0)
    lost = feedback.synthesize(unseen, feedback.static(unseen), num_starts=2, **QUIET)
    assert int(lost.status) == jaxlqr.SolveStatus.NOT_STABILIZED
    assert lost.cost == jnp.inf
    with pytest.raises(RuntimeError, match="Give more starts"):
        lost.check()
    noisy = feedback.lqg_plant(one, one, one, one, one, one, one)
    infinite = feedback.synthesize(noisy, feedback.static(noisy), num_starts=2, **QUIET)
    assert int(infinite.status) == jaxlqr.SolveStatus.COST_NOT_FINITE
    with pytest.raises(RuntimeError, match=r"feedback\.dynamic"):
        infinite.check()
    static = feedback.static(noisy)
    faults = [
        (lambda: feedback.synthesize(noisy, static, objective="h3"), 'objective must be "h2" or "hinf"'),
        (lambda: feedback.synthesize(noisy, static, weights=[1.0, 2.0]), "weights must have shape"),
        (lambda: feedback.synthesize(noisy, lambda gain: gain), "controller_class must have a method initial"),
        (lambda: feedback.synthesize(one, lambda gain: gain), "plant must be a GeneralizedPlant"),
    ]
    for call, message in faults:
        with pytest.raises(ValueError, match=message):
            call()


def test_the_shortest_combination():
    rng = np.random.default_rng(0)
    corner = np.array([[1.0, 1.0], [1.0, -1.0], [3.0, 0.0]])
    for rows in (rng.normal(size=(12, 5)) + 0.6, rng.normal(size=(30, 3)), corner):
        point = shortest_combination(rows)
        # The hull lies behind the plane through the point, across it: nothing in it is shorter.
        assert np.min(rows @ point) >= point @ point - 1e-9
