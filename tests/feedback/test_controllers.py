"""Classes of controllers: each against its difference or transfer equation, and as a loss for the learners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import feedback, systems
from tests.feedback.cases import random_plant

OMEGA = np.array([0.1, 1.0, 7.0])


def transfer(controller):
    return np.asarray(systems.frequency_response(controller, jnp.asarray(OMEGA)))


def zeros_of(plant):
    """The points of the boundary at which the transfer matrices of :func:`transfer` are taken."""
    return 1j * OMEGA if plant.dt is None else np.exp(1j * OMEGA * float(plant.dt))


def test_gains_with_structure():
    plant = random_plant(0, discrete=True)
    entries = jnp.array([1.0, 2.0, 3.0])
    masked = feedback.structured(plant, mask=[[1, 1], [0, 1]], offset=[[0.0, 0.0], [0.5, 0.0]])
    np.testing.assert_array_equal(masked(entries), [[1, 2], [0.5, 3]])
    blocks = feedback.structured(plant, blocks=[([0], [1]), ([1], [0])])
    np.testing.assert_array_equal(blocks(entries[:2]), [[0, 1], [2, 0]])
    basis = np.stack([np.eye(2), np.ones((2, 2))])
    np.testing.assert_array_equal(feedback.structured(plant, basis=basis)(entries[:2]), [[3, 2], [2, 3]])
    rank_one = feedback.structured(
        plant, function=lambda pair: pair["u"][:, None] * pair["v"][None, :], start={"u": np.ones(2), "v": np.ones(2)}
    )
    start = rank_one.initial(key=0, scale=0.1)
    assert np.linalg.matrix_rank(rank_one(start)) == 1
    assert feedback.h2_cost(rank_one(start), plant) == feedback.h2_cost(rank_one(start), plant)
    np.testing.assert_array_equal(feedback.static(plant)(masked(entries)), masked(entries))


def test_a_controller_with_memory_uses_the_past():
    plant = random_plant(1, p=3, discrete=True)
    kind = feedback.fir(plant, 2)
    gains = kind.initial(key=0)
    assert gains.shape == (3, 2, 3)
    z = zeros_of(plant)
    expected = -sum(np.asarray(gains)[k] * z[:, None, None] ** -k for k in range(3))
    np.testing.assert_allclose(transfer(kind(gains)), expected, rtol=1e-12)  # roundings


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_pid(discrete):
    plant = random_plant(2, discrete=discrete)
    kind = feedback.pid(plant)
    params = kind.initial(key=3)
    p, i, d = (np.asarray(params[name]) for name in ("proportional", "integral", "derivative"))
    tau, s = float(jnp.exp(params["log_filter_time"])), zeros_of(plant)[:, None, None]
    if discrete:
        dt = float(plant.dt)
        s = (1 - 1 / s) / dt  # backward differences
    np.testing.assert_allclose(transfer(kind(params)), -(p + i / s + d * s / (tau * s + 1)), rtol=1e-11)  # roundings
    proportional = feedback.pid(plant, integral=False, derivative=False)(params)
    assert proportional.num_states == 0
    np.testing.assert_array_equal(proportional.D, -p)
    assert feedback.pid(plant, derivative=False)(params).num_states == 2


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_canonical_forms_reach_every_controller(discrete):
    plant = random_plant(3, discrete=discrete)
    best = feedback.lqg(plant)
    # Coordinates in which A is a companion matrix and the first column of B the first unit vector.
    b = np.asarray(best.B)
    columns = np.stack([np.linalg.matrix_power(best.A, k) @ b[:, 0] for k in range(3)], axis=1)
    poly = np.poly(np.asarray(best.A))
    t = columns @ np.array([[1, poly[1], poly[2]], [0, 1, poly[1]], [0, 0, 1]])
    params = {"poly": poly[1:], "B": np.linalg.solve(t, b)[:, 1:], "C": best.C @ t, "D": best.D}
    kind = feedback.dynamic(plant, 3, canonical=True)
    canonical = kind({name: jnp.asarray(leaf) for name, leaf in params.items()})
    np.testing.assert_allclose(transfer(canonical), transfer(best), rtol=1e-8)  # condition of t
    assert set(kind.initial(key=0)) == {"poly", "B", "C"} | ({"D"} if discrete else set())
    start = kind(kind.initial(key=0))
    np.testing.assert_allclose(systems.poles(start), np.full(3, 0.0 if discrete else -1.0), atol=1e-4)  # a triple pole
    full = feedback.dynamic(plant, 2, direct=True)(feedback.dynamic(plant, 2, direct=True).initial(key=1))
    assert (full.num_states, full.num_inputs, full.num_outputs) == (2, 2, 2)


def test_observers_separate():
    plant = random_plant(4, discrete=False)
    best = feedback.lqg_result(plant).check()
    kind = feedback.observer_based(plant)
    controller = kind({"regulator": best.regulator_gain, "estimator": best.estimator_gain})
    assert feedback.h2_cost(controller, plant) == pytest.approx(
        float(feedback.h2_cost(best.controller, plant)), rel=1e-10
    )
    poles = np.linalg.eigvals(feedback.closed_loop(controller, plant).A)
    own = [plant.A - plant.B2 @ best.regulator_gain, plant.A - best.estimator_gain @ plant.C2]
    expected = np.concatenate([np.linalg.eigvals(np.asarray(part)) for part in own])
    np.testing.assert_allclose(np.sort_complex(poles), np.sort_complex(expected), rtol=1e-6)  # of a nonsymmetric matrix
    assert kind.initial(key=0)["estimator"].shape == (3, 2)


def test_the_learners_train_a_controller_with_memory_for_a_family():
    plants = [random_plant(seed, n=2, m=1, p=1, r=2, q=2, discrete=True) for seed in (5, 5)]
    plants[1] = jax.tree.map(lambda leaf: leaf * 0.99 if leaf.shape == (2, 2) else leaf, plants[1])
    family = feedback.stack_plants(plants)
    kind = feedback.dynamic(family, 2)
    best = feedback.lqg(plants[0])
    params = {"A": best.A, "B": 0.9 * best.B, "C": best.C, "D": best.D}

    def loss(params, plant):
        return feedback.h2_cost(kind(params), plant)

    options = {"objective": jaxlqr.Maml(inner_step_size=1e-6), "output": jaxlqr.training.Output(progress=False)}
    result = jaxlqr.meta_train(loss, params, family, num_steps=5, outer_step_size=1e-6, **options)
    losses = np.asarray(result.history["loss"])
    assert np.all(np.diff(losses.reshape(len(losses), -1).mean(axis=1)) < 0)
    assert jaxlqr.ExactOracle().gradient(loss, params, plants[0])["A"].shape == (2, 2)


def test_mistakes():
    plant, continuous = random_plant(6, discrete=True), random_plant(6, discrete=False)
    twice = feedback.stack_plants([plant, jax.tree.map(lambda leaf: 2 * leaf, plant)])
    faults = [
        (lambda: feedback.fir(continuous, 2), "plant must be in discrete time"),
        (lambda: feedback.fir(plant, 0), "memory must be an integer of at least 1"),
        (lambda: feedback.structured(plant), "one of mask, basis, blocks and function, got"),
        (lambda: feedback.structured(plant, mask=[[1, 0]]), r"mask must have shape \(2, 2\)"),
        (lambda: feedback.structured(plant, blocks=[([0], [2])]), "blocks must name measurements from 0 to 1"),
        (lambda: feedback.structured(plant, function=lambda x: x), "function must come with start"),
        (lambda: feedback.structured(plant, function=lambda x: x, start=1.0)(1.0), "function must return a gain"),
        (lambda: feedback.structured(plant, basis=[[1.0]]), r"basis must be gains \[k, 2, 2\]"),
        (lambda: feedback.static(np.eye(2)), "plant must be a GeneralizedPlant, got ndarray"),
        (lambda: feedback.static(twice), "plant must have one sampling time"),
    ]
    for call, message in faults:
        with pytest.raises(ValueError, match=message):
            call()
