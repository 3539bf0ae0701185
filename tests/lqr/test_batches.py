"""Batches: vmap is a loop, lanes do not touch each other, unstable lanes are marked in every derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import closed_form
from tests.problems import bank, random_problem
from tests.references import relative_error

SAME_SHAPE = [problem for problem in bank() if problem.task.B.shape == (4, 2)]


def value_gradient_product(K, X, task):
    value, gradient = jax.value_and_grad(jaxlqr.cost)(K, task)
    forward = jax.jvp(lambda gain: jaxlqr.cost(gain, task), (K,), (X,))[1]
    return value, gradient, jaxlqr.hessian_vector_product(K, X, task), forward


single = jax.jit(value_gradient_product)
batched = jax.jit(jax.vmap(value_gradient_product))


def stack(problems):
    return tuple(jnp.stack([getattr(p, name) for p in problems]) for name in ("K", "X")), jaxlqr.stack_tasks(
        [p.task for p in problems]
    )


def test_vmap_over_the_whole_bank_is_a_loop():
    (K, X), task = stack(SAME_SHAPE)
    together = batched(K, X, task)
    for lane, problem in enumerate(SAME_SHAPE):
        alone = single(problem.K, problem.X, problem.task)
        # Another order of summation, so not the same bits; rounding is amplified as in a single solve, by up to
        # 1 / (1 - radius), but the rounding of A - B K is common to both.
        for found, expected in zip(together, alone, strict=True):
            assert relative_error(found[lane], expected) < 1e-9, problem.name


def test_nested_vmap_and_an_unbatched_argument():
    (K, _), task = stack(SAME_SHAPE)
    table = jax.jit(jax.vmap(jax.vmap(jaxlqr.cost, (None, 0)), (0, None)))(K[:3] * 0.1, task)
    cost = jax.jit(jaxlqr.cost)
    for i in range(3):
        for j, problem in enumerate(SAME_SHAPE):
            expected = cost(K[i] * 0.1, problem.task)
            assert table[i, j] == expected == np.inf or relative_error(table[i, j], expected) < 1e-9


# n = 4 takes the task-last kernel, in one block of 64 or in several; n = 12 the batched matrix product.
@pytest.mark.parametrize(("n", "lanes"), [(4, 7), (4, 150), (12, 80)])
def test_an_unstable_lane_changes_no_other_lane_by_one_bit(n, lanes):
    rng = np.random.default_rng(n)
    # Lanes of very different radius, so that lanes finish at very different doublings.
    problems = [random_problem(100 + i, n, 2, radius=float(r)) for i, r in enumerate(np.linspace(0.1, 0.9999, 7))]
    (K, X), task = stack([problems[i % 7] for i in range(lanes)])
    K = K * (1 + 1e-6 * jnp.asarray(rng.standard_normal(K.shape)))
    before = batched(K, X, task)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in before)
    bad = np.zeros(lanes, bool)
    # Just unstable, far unstable, overflowing, NaN, one of them in each block of 64.
    poison = [1.0, 1e3, 1e200, np.nan]
    for number, lane in enumerate(rng.choice(lanes, size=lanes // 3, replace=False)):
        bad[lane] = True
        identity = jnp.eye(2, n) * poison[number % 4]
        K = K.at[lane].set(K[lane] + 100 * identity)
    after = batched(K, X, task)
    assert np.array_equal(bad, np.asarray(after[0]) == np.inf)
    for clean, touched in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.asarray(clean)[~bad], np.asarray(touched)[~bad])
        if touched is not after[0]:
            assert np.all(np.isnan(np.asarray(touched)[bad]))


@pytest.mark.parametrize("offset", [100.0, 1e200])
def test_an_unstable_gain_costs_infinity_and_has_nan_derivatives_in_both_modes(offset):
    problem = random_problem(4, 4, 2)
    value, gradient, product, forward = single(problem.K + offset, problem.X, problem.task)
    assert value == np.inf
    closed = closed_form.gradient(problem.K + offset, problem.task)
    for derivative in (gradient, product, forward, closed):
        assert bool(jnp.all(jnp.isnan(derivative)))
    in_the_task = jax.grad(jaxlqr.cost, argnums=1)(problem.K + offset, problem.task)
    assert all(bool(jnp.all(jnp.isnan(leaf))) for leaf in jax.tree.leaves(in_the_task))


def to_float32(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def test_float32_stays_float32_and_is_as_accurate_as_it_can_be():
    chosen = [p for p in SAME_SHAPE if p.name in ("random n=4 m=2", "boeing", "radius 0.999")]
    for problem in chosen:
        exact = single(problem.K, problem.X, problem.task)
        found = single(*to_float32((problem.K, problem.X, problem.task)))
        radius = float(jaxlqr.spectral_radius(problem.K, problem.task))
        # Rounding the data at eps = 1.2e-7 moves the cost by eps / (1 - radius), its Hessian by three times that;
        # the Boeing system is not normal, which costs another digit: hence the factor 60.
        tolerance = 60 * 1.2e-7 / (1 - radius)
        for value, expected in zip(found, exact, strict=True):
            assert value.dtype == jnp.float32
            assert relative_error(np.asarray(value, float), expected) < tolerance, problem.name


def test_float32_optimal_gain_and_unstable_lane():
    problem = random_problem(4, 4, 2)
    K, task = to_float32((problem.K, problem.task))
    gain = jaxlqr.optimal_gain(task)
    assert gain.dtype == jnp.float32
    # A well-conditioned Riccati equation: a few hundred roundings of 1.2e-7.
    assert relative_error(np.asarray(gain, float), jaxlqr.optimal_gain(problem.task)) < 1e-5
    assert jaxlqr.cost(K + 100, task) == np.inf
    assert jaxlqr.cost(K + 100, task).dtype == jnp.float32


@pytest.mark.parametrize("what", ["cost", "gradient", "product", "batch"])
def test_lowers_for_cuda(what):
    problem = random_problem(4, 4, 2)
    functions = {
        "cost": lambda K, X, task: jaxlqr.cost(K, task),
        "gradient": lambda K, X, task: jax.grad(jaxlqr.cost)(K, task),
        "product": lambda K, X, task: jaxlqr.hessian_vector_product(K, X, task),
        "batch": jax.vmap(value_gradient_product),
    }
    arguments = (problem.K, problem.X, problem.task)
    if what == "batch":
        arguments = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), arguments)
    lowered = jax.jit(functions[what]).trace(*arguments).lower(lowering_platforms=("cuda",))
    # No host callback and no CPU-only LAPACK call can be inside.
    text = lowered.as_text()
    assert "callback" not in text
    assert "lapack" not in text
