"""Other quadratic costs: multiplicative noise, periodic plants, finite horizons, integral action, references."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import feedback
from tests.feedback.cases import random_plant, stabilising


def second_moments(plants, gains, start, steps):
    """Costs E |z_t|^2 of a time-varying loop, by the recursion of the covariance in NumPy."""
    p, costs = start, []
    for t in range(steps):
        plant, gain = plants[t % len(plants)], gains[t % len(gains)]
        m = {name: np.asarray(getattr(plant, name)) for name in ("A", "B1", "B2", "C1", "C2", "D11", "D12", "D21")}
        a, b = m["A"] - m["B2"] @ gain @ m["C2"], m["B1"] - m["B2"] @ gain @ m["D21"]
        c, d = m["C1"] - m["D12"] @ gain @ m["C2"], m["D11"] - m["D12"] @ gain @ m["D21"]
        costs.append(np.trace(c @ p @ c.T) + np.sum(d**2))
        p = a @ p @ a.T + b @ b.T
    return np.array(costs), p


def varying():
    plants = [random_plant(seed, n=2, m=1, p=1, r=2, q=2, discrete=True) for seed in (0, 1, 2)]
    plants = [dataclasses.replace(plant, A=0.8 * plant.A) for plant in plants]
    return plants, feedback.stack_plants(plants), np.array([[[0.1]], [[-0.2]], [[0.05]]])


def test_periodic_plants():
    plants, stack, gains = varying()
    lifted = feedback.periodic_plant(stack)
    gain = feedback.scheduled(stack, lifted)(jnp.asarray(gains))
    costs, _ = second_moments(plants, gains, np.zeros((2, 2)), 600)
    assert feedback.h2_cost(gain, lifted) == pytest.approx(costs[-3:].mean(), rel=1e-10)  # 200 periods have decayed


def test_finite_horizons():
    plants, stack, gains = varying()
    m, s = np.array([[1.0], [2.0]]), np.array([[3.0, 1.0]])
    lifted = feedback.finite_horizon_plant(stack, initial=m, terminal=s)
    kind = feedback.scheduled(stack, lifted)
    costs, last = second_moments(plants, gains, m @ m.T, 3)
    expected = costs.sum() + (s @ last @ s.T).item()
    assert feedback.h2_cost(kind(jnp.asarray(gains)), lifted) == pytest.approx(expected, rel=1e-12)  # roundings
    # With the whole state measured the optimum is that of the Riccati recursion.
    whole = dataclasses.replace(
        stack, C2=jnp.stack([jnp.eye(2)] * 3), D21=jnp.zeros((3, 2, 2)), B1=0 * stack.B1, D11=0 * stack.D11
    )
    value, best = s.T @ s, []
    for plant in reversed(plants):
        a, b, c, d = (np.asarray(leaf) for leaf in (plant.A, plant.B2, plant.C1, plant.D12))
        gain = np.linalg.solve(d.T @ d + b.T @ value @ b, d.T @ c + b.T @ value @ a)
        best.insert(0, gain)
        value = (a - b @ gain).T @ value @ (a - b @ gain) + (c - d @ gain).T @ (c - d @ gain)
    lifted = feedback.finite_horizon_plant(whole, initial=m, terminal=s)
    kind = feedback.scheduled(whole, lifted)
    cost, slope = jax.value_and_grad(lambda gains: feedback.h2_cost(kind(gains), lifted))(jnp.asarray(np.stack(best)))
    assert cost == pytest.approx((m.T @ value @ m).item(), rel=1e-12)
    assert float(jnp.max(jnp.abs(slope))) < 1e-10 * float(cost)  # roundings


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_multiplicative_noise_against_a_dense_recursion(discrete):
    plant = random_plant(3, n=2, m=1, p=1, r=2, q=2, discrete=discrete)
    controller = stabilising(plant)
    rng = np.random.default_rng(0)
    noise = feedback.MultiplicativeNoise(0.02 * rng.normal(size=(2, 2, 2)), 0.02 * rng.normal(size=(2, 2, 1)))
    loop = feedback.closed_loop(controller, plant)
    a, b, c, d = (np.asarray(leaf) for leaf in (loop.A, loop.B, loop.C, loop.D))
    u = np.concatenate([controller.D @ plant.C2, controller.C], axis=1)
    moves = [
        np.vstack([np.hstack([x, np.zeros((2, 2))]) + y @ u, np.zeros((2, 4))])
        for x, y in zip(*astuple(noise), strict=True)
    ]
    kicks = [np.vstack([y @ controller.D @ plant.D21, np.zeros((2, 2))]) for y in noise.B2]
    added = b @ b.T + sum(kick @ kick.T for kick in kicks)
    p, dt = np.zeros((4, 4)), 1.0 if discrete else 2e-3
    for _ in range(20_000):
        change = sum(move @ p @ move.T for move in moves) + added
        p = a @ p @ a.T + change if discrete else p + dt * (a @ p + p @ a.T + change)
    expected = np.trace(c @ p @ c.T) + np.sum(d**2)
    value = feedback.multiplicative_cost(controller, plant, noise)
    assert value == pytest.approx(expected, rel=1e-8)  # the recursion has settled
    none = jax.tree.map(lambda leaf: 0 * leaf, noise)
    plain = feedback.h2_cost(controller, plant)
    assert feedback.multiplicative_cost(controller, plant, none) == pytest.approx(float(plain), rel=1e-9)
    assert value > plain
    wild = jax.tree.map(lambda leaf: 1e3 * leaf, noise)
    assert feedback.multiplicative_cost(controller, plant, wild) == jnp.inf  # not stable in mean square
    step, along = 1e-6, jax.tree.map(jnp.ones_like, controller.A)

    def cost(t):
        return feedback.multiplicative_cost(dataclasses.replace(controller, A=controller.A + t * along), plant, noise)

    slope = jax.grad(cost)(0.0)
    assert slope == pytest.approx(float(cost(step) - cost(-step)) / (2 * step), rel=1e-5)  # step^2 and rounding


def astuple(noise):
    return np.asarray(noise.A), np.asarray(noise.B2)


def test_multiplicative_noise_against_a_simulation():
    one = np.ones((1, 1))
    plant = feedback.generalized_plant(0.9 * one, one, one, [[1.0], [0.0]], one, D12=[[0.0], [1.0]], dt=1.0)
    noise = feedback.MultiplicativeNoise(np.array([[[0.3]], [[0.0]]]), np.array([[[0.0]], [[0.4]]]))
    value = float(feedback.multiplicative_cost(0.5 * one, plant, noise))
    rng, x, total = np.random.default_rng(1), np.zeros(20_000), np.zeros(20_000)
    for step in range(200):
        u = -0.5 * x
        total += (x**2 + u**2) * (step >= 50)  # the start is forgotten
        e = rng.normal(size=(3, len(x)))
        x = (0.9 + 0.3 * e[0]) * x + (1 + 0.4 * e[1]) * u + e[2]
    means = total / 150
    error = means.std() / np.sqrt(len(means))
    assert error < 0.01 * value  # a bias of 5 % is five standard errors
    assert abs(means.mean() - value) < 5 * error


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_integral_action_removes_a_constant_disturbance(discrete):
    a, b, c = np.array([[0.9, 0.1], [0.0, 0.8]]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]])
    a = a if discrete else a - np.eye(2)
    dt, eye = 1.0 if discrete else None, np.eye(2)
    plant = feedback.lqg_plant(a, b, eye, eye, [[1.0]], eye, 0 * eye, dt=dt)
    wide = feedback.with_integral_action(plant, c, weight=[[0.5]])
    regulator = jaxlqr.discrete_lqr if discrete else jaxlqr.continuous_lqr
    q = wide.C1.T @ wide.C1
    assert q[2, 2] == pytest.approx(0.5)
    gain = regulator(wide.A, wide.B2, q, wide.D12.T @ wide.D12).gain
    slope = jax.grad(feedback.h2_cost)(gain, wide)
    assert float(jnp.max(jnp.abs(slope))) < 1e-9  # the Riccati solution is rounded
    loop = np.asarray(wide.A - wide.B2 @ gain)
    push = np.array([0.3, 1.0, 0.0])
    rest = np.linalg.solve((np.eye(3) if discrete else 0) - loop, push)
    assert (c @ rest[:2]).item() == pytest.approx(0, abs=1e-12)  # the output is zero at rest


def test_references_are_followed():
    eye, one = np.eye(2), np.ones((1, 1))
    plant = feedback.lqg_plant([[0.9, 0.1], [0.0, 0.8]], [[0.0], [1.0]], eye, 0 * eye, 1e-3 * one, eye, 0 * eye, dt=1.0)
    wide = feedback.with_reference(plant, [[1.0, 0.0]], 0.999 * one, one, weight=one, noise=one)
    gain = jaxlqr.discrete_lqr(wide.A, wide.B2, wide.C1.T @ wide.C1, wide.D12.T @ wide.D12).gain
    best = feedback.h2_cost(gain, wide)
    assert jnp.isfinite(best)
    without = gain.at[0, 2].set(0.0)  # no feedforward: the output stays at zero, and the error is the reference
    assert feedback.h2_cost(without, wide) > 5 * best
    x = np.array([0.0, 0.0, 1.0])
    for _ in range(30):
        x = np.asarray(wide.A - wide.B2 @ gain) @ x
    assert x[0] == pytest.approx(x[2], rel=0.05)  # the weight of the control keeps a small error
    for call, message in [
        (lambda: feedback.with_reference(plant, [[1.0, 0.0]], one, eye, weight=one, noise=one), "reference must have"),
        (lambda: feedback.with_integral_action(plant, [[1.0]], weight=one), r"outputs must have shape \[k, 2\]"),
        (lambda: feedback.with_integral_action(plant, [[1.0, 0.0]], weight=eye), r"weight must have shape \[1, 1\]"),
        (lambda: feedback.periodic_plant(plant), "plants must be a stack of plants in discrete time"),
        (lambda: feedback.multiplicative_cost(gain[:, :2], plant, plant), "noise must be a MultiplicativeNoise"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
