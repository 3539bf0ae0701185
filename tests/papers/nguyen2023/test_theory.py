"""The lemmas under Theorem 5 of nguyen2023: the corrected ones hold, the printed ones do not (N8)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.papers.nguyen2023 import theory
from jaxlqr.supervised import Risk, make_supervised_tasks


def classifier(num_classes, size, seed):
    rng = np.random.default_rng(seed)
    y = rng.dirichlet(np.ones(num_classes)) if seed % 2 else np.eye(num_classes)[seed % num_classes]
    return tuple(jnp.asarray(value) for value in (rng.normal(size=size), rng.normal(size=(num_classes, size)), y))


@pytest.mark.parametrize(("num_classes", "size"), [(3, 5), (4, 4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_derivatives_of_the_cross_entropy(num_classes, size, seed):
    arguments = classifier(num_classes, size, seed)
    exact, curvature = jax.grad(theory.cross_entropy)(*arguments), jax.hessian(theory.cross_entropy)(*arguments)
    np.testing.assert_allclose(theory.cross_entropy_gradient(*arguments), exact, rtol=0, atol=1e-14)
    np.testing.assert_allclose(theory.cross_entropy_hessian(*arguments), curvature, rtol=0, atol=1e-14)
    assert float(jnp.linalg.eigvalsh(curvature).min()) > -1e-14
    if num_classes != size:
        for printed in (theory.printed_cross_entropy_gradient, theory.printed_cross_entropy_hessian):
            with pytest.raises(ValueError, match="argument S must be square"):
                printed(*arguments)
        return
    gradient = theory.printed_cross_entropy_gradient(*arguments)
    assert float(jnp.linalg.norm(gradient - exact)) > 0.1 * float(jnp.linalg.norm(exact))
    hessian = theory.printed_cross_entropy_hessian(*arguments)
    assert float(jnp.abs(hessian - hessian.T).max()) > 1e-2
    assert float(jnp.linalg.norm(hessian - curvature)) > 0.1 * float(jnp.linalg.norm(curvature))


def test_printed_formulas_are_those_of_the_paper_term_by_term():
    x, S, y = (np.asarray(value) for value in classifier(3, 3, 1))
    p = np.exp(S @ x) / np.sum(np.exp(S @ x))
    gradient, hessian = np.zeros(3), np.zeros((3, 3))
    for i in range(3):
        gradient[i] = sum(y[j] * ((j == i) - p[i]) * S[i, j] for j in range(3))
        for k in range(3):
            hessian[i, k] = -p[k] * ((k == i) - p[i]) * S[i, k] * sum(y[j] * S[i, j] for j in range(3))
    arguments = tuple(jnp.asarray(value) for value in (x, S, y))
    np.testing.assert_allclose(theory.printed_cross_entropy_gradient(*arguments), gradient, rtol=1e-13)
    np.testing.assert_allclose(theory.printed_cross_entropy_hessian(*arguments), hessian, rtol=1e-13)


def test_norm_of_weights_near_uniform_ones():
    for num_tasks in (1, 4, 10):
        bound = theory.weight_norm(0.3, num_tasks)
        farthest = (1 / num_tasks + 0.3 / np.sqrt(num_tasks)) * np.ones(num_tasks)  # along the ones, by 0.3
        np.testing.assert_allclose(np.linalg.norm(farthest), bound.corrected, rtol=1e-14)  # attained
        assert bound.printed == 1.3 >= bound.corrected


def test_variance_grows_with_the_curvature_of_the_inner_step():
    """Losses -S x^2 / 2 + s x of samples s: the gradient of each has deviation sigma, and after an inner step
    (1 + gamma S) times that, so the printed bound is exceeded and the corrected one attained."""
    gamma, S, sigma, num_tasks = 0.4, 2.0, 0.5, 4
    samples = jnp.array([-sigma, sigma])

    def adapted_loss(x, query):
        inner = -S * x  # the gradient of the support, of mean zero
        phi = x - gamma * inner
        return -S * phi**2 / 2 + query * phi

    gradients = jax.vmap(jax.grad(adapted_loss), (None, 0))(jnp.array(0.7), samples)
    # Tasks are independent, so variances add with the squares of their weights 1/M.
    variance = float(jnp.var(gradients)) / num_tasks
    bound = theory.gradient_variance(sigma, 0.0, num_tasks, gamma, S)
    np.testing.assert_allclose(variance, bound.corrected, rtol=1e-12)
    assert variance > 3 * bound.printed


def test_floor_is_what_remains_of_the_theorem():
    delta, bound, num_tasks, alpha = 0.02, 1.6, 10, 1e-4
    floor = theory.stationarity_floor(bound, delta, num_tasks, alpha)
    for variance in (0.0, 1e-3, 10.0):
        for smoothness in (1e-9, 1.0, 100.0):
            length = smoothness * (delta * np.sqrt(num_tasks) + 1)
            assert alpha * length < 2  # as the theorem asks
            epsilon = (4 * delta * bound * np.sqrt(num_tasks) + alpha**2 * variance * length) / (
                alpha * (2 - alpha * length)
            )
            assert epsilon >= floor
    np.testing.assert_allclose(floor, 2024, rtol=1e-3)


def test_the_squared_loss_has_the_constants_of_table_5():
    """(109) to (114): the gradient of the risk, and both Lipschitz constants, over random parameters in a ball."""
    rng = np.random.default_rng(0)
    ratios = []
    # |S x - y|^2 of the paper is eight times the risk of four points, a mean of halved squares.
    squared = jax.jit(jax.value_and_grad(lambda x, task: 8 * Risk(kind="squared")(x, task)))
    for _ in range(50):
        S, y = rng.normal(size=(4, 3)), rng.normal(size=4)
        x = rng.normal(size=(2, 3))
        x *= np.array([1.0, rng.uniform(0, 1)])[:, None] / np.linalg.norm(x, axis=1, keepdims=True)  # |x| <= 1
        task = jax.tree.map(lambda leaf: leaf[0], make_supervised_tasks(S[None], y[None]))
        losses, slopes = zip(*(map(np.asarray, squared(jnp.asarray(end), task)) for end in x), strict=True)
        np.testing.assert_allclose(losses[0], np.sum((S @ x[0] - y) ** 2), rtol=1e-12)  # (109); rounding
        np.testing.assert_allclose(slopes[0], 2 * S.T @ (S @ x[0] - y), rtol=1e-12, atol=1e-12)  # (113); rounding
        distance = np.linalg.norm(x[0] - x[1])
        bend = np.linalg.norm(S.T @ S, 2)
        ratios.append([
            abs(losses[0] - losses[1]) / (2 * (bend + np.linalg.norm(S.T @ y)) * distance),
            np.linalg.norm(slopes[0] - slopes[1]) / (2 * bend * distance),
        ])  # fmt: skip
    assert np.all(np.array(ratios) <= 1)
    assert np.all(np.max(ratios, axis=0) > 0.5)


def test_the_printed_lipschitz_constant_of_the_cross_entropy_fails_and_ours_is_attained():
    """Erratum N8, Table 5: 2 |S|_1 in the induced norm of A.1."""
    rows, label = jnp.stack([jnp.ones(25), -jnp.ones(25)]), jnp.array([1.0, 0.0])
    slope = float(jnp.linalg.norm(theory.cross_entropy_gradient(-10 * jnp.ones(25), rows, label)))
    bound = theory.cross_entropy_lipschitz(rows)
    assert slope == pytest.approx(10, rel=1e-12)  # the loss is exp(-500) from saturated
    assert float(bound.corrected) == pytest.approx(slope, rel=1e-12)
    assert slope > 2.4 * float(bound.printed)
    for seed in range(20):
        x, S, y = classifier(4, 5, seed)
        bound = float(theory.cross_entropy_lipschitz(S).corrected)
        assert float(jnp.linalg.norm(theory.cross_entropy_gradient(x, S, y))) <= bound
        other = x + jnp.asarray(np.random.default_rng(seed).normal(size=5))
        change = abs(theory.cross_entropy(other, S, y) - theory.cross_entropy(x, S, y))
        assert float(change) <= bound * float(jnp.linalg.norm(other - x))  # (120), with <= for the printed =


def test_corollary_6_holds_and_is_attained():
    """(14a) to (14c), (15) and (17) for weights at the distance delta from uniform ones."""
    rng, delta, num_tasks = np.random.default_rng(0), 0.3, 4
    moves = rng.normal(size=(200, num_tasks))
    moves = np.concatenate([moves, np.ones((1, num_tasks)), -moves[:1]])
    weights = 1 / num_tasks + delta * moves / np.linalg.norm(moves, axis=1, keepdims=True)
    apart = np.linalg.norm(weights[:, None] - weights[None], axis=2)
    assert np.max(apart) == pytest.approx(2 * delta, rel=1e-12)  # rounding
    assert np.max(weights.sum(axis=1)) == pytest.approx(delta * np.sqrt(num_tasks) + 1, rel=1e-12)
    assert np.all(np.linalg.norm(weights, axis=1) <= theory.weight_norm(delta, num_tasks).corrected * (1 + 1e-12))


def test_lemma_13_fails_for_small_steps_and_the_first_half_of_it_holds():
    """(84) says J(eps) - J(0) <= eta eps_1 theta for every eps up to eps_1: not at 0, where the left side is 0."""
    theta, eta, last = -1.0, 0.6, 0.5
    epsilon = np.linspace(0, last, 101)
    change = (epsilon - epsilon**2 / 2) * theta  # exact for linear-quadratic problems, N3
    assert np.all(change[1:] < eta * epsilon[1:] * theta)  # (82)
    assert np.any(change > eta * last * theta)  # (84)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.weight_norm(0.1, 0), "num_tasks must be at least 1, got 0"),
        (lambda: theory.stationarity_floor(1.0, 0.1, 0, 1e-3), "num_tasks must be at least 1"),
        (
            lambda: theory.theorem_5(
                bound=1.0, delta=0.0, num_tasks=1, alpha=2.5, smoothness=1.0, sigma=0.0, first_loss=1.0, num_updates=1
            ),
            r"alpha must lie in \(0, 2\) for this smoothness, got 2\.5",
        ),
        (lambda: theory.stationarity_floor(1.0, 0.1, 4, 0.0), r"alpha must be a positive step size, got 0\.0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
