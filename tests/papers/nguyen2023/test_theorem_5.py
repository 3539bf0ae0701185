"""Theorem 5 of nguyen2023, its Remark 1, and Lemma 4 with the steps of its proof (N13)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.papers.nguyen2023 import theory


def mean_squared_gradient(targets, start, alpha):
    """Of Algorithm 1 with M = 1 and T = 1, whose weight is one: the tasks are losses 1 - exp(-(x - c)^2 / 2)."""

    def loss(x, target):
        return 1 - jnp.exp(-((x - target) ** 2) / 2)

    def update(x, target):
        slope = jaxlqr.maml_gradient(loss, x, jnp.reshape(target, (1,)), inner_step_size=1e-9)  # gamma tends to zero
        return x - alpha * slope, slope**2

    return float(jnp.mean(jax.jit(lambda targets: jax.lax.scan(update, start, targets)[1])(targets)))


def test_theorem_5_fails_for_new_mini_batches_and_holds_for_the_same_tasks():
    """Erratum N13: line 6 of Algorithm 1 takes new tasks; (46) to (50) add up differences of two losses as of one."""
    num_updates, alpha, start = 20000, 0.5, jnp.array(0.5)
    bound = theory.theorem_5(
        bound=1.0, delta=0.0, num_tasks=1, alpha=alpha, smoothness=1.0, sigma=0.0,
        first_loss=float(1 - jnp.exp(-(start**2) / 2)), num_updates=num_updates,
    )  # fmt: skip
    assert bound.floor == 0
    same = mean_squared_gradient(jnp.zeros(num_updates), start, alpha)
    assert 0 < same <= bound.transient < 2e-5
    alternating = mean_squared_gradient(jnp.resize(jnp.array([0.0, 1.0]), (num_updates,)), start, alpha)
    assert alternating == pytest.approx(0.266, abs=1e-3)  # the value on the page has three digits


def test_remark_1_is_wrong_about_the_number_of_tasks_and_about_the_limit():
    """Erratum N13: at the paper's constants eps_0 grows as the square root of M, and delta -> 0 does not make it 0."""

    def floor(num_tasks, delta):
        told = theory.theorem_5(
            bound=np.log(5), delta=delta, num_tasks=num_tasks, alpha=1e-4, smoothness=1.0, sigma=1.0, first_loss=0.0,
            num_updates=1,
        )  # fmt: skip
        return told.floor

    assert floor(10, 0.023) / floor(5, 0.023) == pytest.approx(np.sqrt(2), rel=1e-3)  # the other terms are below 1e-4
    assert floor(10, 0.0) > 4e-6


def test_lemma_4_and_its_steps_hold_on_sines():
    """Losses A sin(w' x + p) in the plane, their constants exact; (29), (32), (33), (34) and (35)."""
    rng = np.random.default_rng(0)
    count = 500
    phases = rng.uniform(0, 2 * np.pi, (2, count))
    heights, gamma = 10 ** rng.uniform(-1, 0.5, count), 10 ** rng.uniform(-3, 0.5, count)
    waves = rng.normal(size=(count, 2)) * 10 ** rng.uniform(-0.5, 0.3, (count, 1))
    points = rng.normal(size=(2, count, 2))

    def one(height, wave, phases, gamma, ends):
        first, second = ends

        def loss(x, phase):
            return height * jnp.sin(wave @ x + phase)

        def adapted(x):
            return x - gamma * jax.grad(loss)(x, phases[0])

        def hessian(x):
            return jax.hessian(loss)(x, phases[0])

        size = jnp.linalg.norm(wave)
        L, S, rho = (height * size**power for power in (1, 2, 3))
        distance = jnp.linalg.norm(first - second)
        slopes = [jax.grad(loss)(adapted(x), phases[1]) for x in ends]
        contraction = jnp.eye(2) - gamma * hessian(first)
        parts = contraction @ (slopes[0] - slopes[1]), gamma * (hessian(first) - hessian(second)) @ slopes[1]
        gradients = [jax.grad(lambda x: loss(adapted(x), phases[1]))(x) for x in ends]
        return jnp.array([
            jnp.linalg.norm(adapted(first) - adapted(second)) / ((1 + gamma * S) * distance),
            jnp.linalg.norm(contraction, 2) / (1 + gamma * S),
            jnp.linalg.norm(parts[0]) / (S * (1 + gamma * S) ** 2 * distance),
            jnp.linalg.norm(parts[1]) / (gamma * rho * L * distance),
            jnp.linalg.norm(gradients[0] - gradients[1]) / (theory.adapted_smoothness(S, rho, L, gamma) * distance),
        ])  # fmt: skip

    every = jax.jit(jax.vmap(one, (0, 0, 1, 0, 1)))
    # From points as drawn, and from the crests of both sines, where the bounds are nearly attained.
    ratios = [every(heights, waves, phases, gamma, points)]
    near = 1e-3 * points / np.linalg.norm(waves, axis=1)[None, :, None]
    crest = waves * ((np.pi / 2 - phases[0]) / np.sum(waves**2, axis=1))[:, None]
    ratios.append(every(heights, waves, np.stack([phases[0], phases[0]]), np.minimum(gamma, 1e-2), crest[None] + near))
    largest = np.max(np.concatenate([np.asarray(rows) for rows in ratios]), axis=0)
    assert np.all(largest <= 1 + 1e-12)  # rounding
    assert np.all(largest > [0.9, 0.9, 0.5, 0.1, 0.5])  # so that none holds for being absurdly large
