"""The lemmas under Theorem 5 of nguyen2023: the corrected ones hold, the printed ones do not (N8)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.theory import nguyen2023 as theory


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
        (lambda: theory.stationarity_floor(1.0, 0.1, 4, 0.0), r"alpha must be a positive step size, got 0\.0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
