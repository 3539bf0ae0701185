"""The inequalities (9) to (11) and Lemma 7 that the proofs of toso2024 rest on."""

import numpy as np
import pytest
import scipy.stats


def spectral(matrix):
    return np.linalg.norm(matrix, 2)


def test_young_and_jensen_hold():
    rng = np.random.default_rng(0)
    tightest = 0.0
    for _ in range(500):
        shape, beta = rng.integers(1, 5, 2), np.exp(rng.normal())
        A, B, *others = rng.standard_normal((5, *shape))
        for norm in (spectral, np.linalg.norm):
            young = (1 + beta) * norm(A) ** 2 + (1 + 1 / beta) * norm(B) ** 2
            jensen = 5 * sum(norm(X) ** 2 for X in (A, B, *others))
            assert norm(A + B) ** 2 <= young * (1 + 1e-12)
            assert norm(A + B + sum(others)) ** 2 <= jensen * (1 + 1e-12)
            tightest = max(tightest, norm(A + B) ** 2 / young)
    assert tightest > 0.9  # the search is not idle


def test_the_inner_product_inequality_is_false_in_spectral_norm():
    eye = np.eye(2)
    # <I, I> = 2, and (10) bounds it by 1/2 + 1/2 with beta = 1.
    assert np.sum(eye * eye) == 2 > spectral(eye) ** 2 / 2 + spectral(eye) ** 2 / 2
    rng = np.random.default_rng(1)
    for _ in range(500):
        shape, beta = rng.integers(1, 5, 2), np.exp(rng.normal())
        A, B = rng.standard_normal((2, *shape))
        right = beta / 2 * np.linalg.norm(A) ** 2 + np.linalg.norm(B) ** 2 / (2 * beta)
        assert np.sum(A * B) <= right * (1 + 1e-12)


def bernstein(shape, variance, largest, epsilon, delta):
    """Samples that Lemma 7 asks for."""
    least = min(shape)
    factor = variance + largest * epsilon / (3 * np.sqrt(least))
    return int(np.ceil(2 * least / epsilon**2 * factor * np.log(sum(shape) / delta)))


@pytest.mark.parametrize("shape", [(2, 3), (5, 2), (1, 4), (3, 3)])
def test_bernstein_holds_exactly_for_rectangles(shape):
    """Lemma 7: Z has two random signs on its diagonal, or one sign that all of the diagonal shares.

    Z Z' and Z' Z are projections, so the variance and the bound are 1. The mean of m signs is binomial. The error in
    Frobenius norm is that of two independent means, or that of one times the root of the rank.
    """
    rank, worst = min(shape), 0.0
    for epsilon in (0.5, 0.2):
        for delta in (0.3, 0.05):
            m = bernstein(shape, 1.0, 1.0, epsilon, delta)
            means, weights = 2 * np.arange(m + 1) / m - 1, scipy.stats.binom.pmf(np.arange(m + 1), m, 0.5)
            shared = weights[np.sqrt(rank) * np.abs(means) > epsilon].sum()
            apart = np.hypot(means[:, None], means[None]) > epsilon
            own = np.sum(np.outer(weights, weights)[apart]) if rank == 2 else shared
            worst = max(worst, shared / delta, own / delta)
    assert 1e-4 < worst < 1
