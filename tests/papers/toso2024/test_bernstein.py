"""Lemma 7 of toso2024, the matrix Bernstein inequality, where the probability of a miss is known exactly."""

import numpy as np
import pytest
import scipy.stats

from jaxlqr.papers.toso2024.theory.guarantees import bernstein


def samples(shape, variance, largest, epsilon, delta):
    return int(np.ceil(bernstein(shape, variance, largest, epsilon, delta)))


def test_bernstein_holds_exactly_for_two_points():
    """Lemma 7 with one row and column: the probability of a miss is a binomial tail."""
    worst = 0.0
    for p in (0.5, 0.1, 0.01):
        for relative in (0.3, 0.1, 0.03):
            for delta in (0.2, 0.05):
                # 0 or 1: at most 1 - p from the mean, variance p (1 - p).
                bound, variance, epsilon = max(p, 1 - p), p * (1 - p), relative * np.sqrt(p)
                m = samples((1, 1), variance, bound, epsilon, delta)
                counts = np.arange(m + 1)
                missed = np.abs(counts / m - p) > epsilon
                miss = scipy.stats.binom.pmf(counts[missed], m, p).sum()
                worst = max(worst, miss / delta)
    assert 0.05 < worst < 1


@pytest.mark.parametrize("shape", [(2, 3), (5, 2), (1, 4), (3, 3)])
def test_bernstein_holds_exactly_for_rectangles(shape):
    """Lemma 7: Z has two random signs on its diagonal, or one sign that all of the diagonal shares.

    Z Z' and Z' Z are projections, so the variance and the bound are 1. The mean of m signs is binomial. The error in
    Frobenius norm is that of two independent means, or that of one times the root of the rank.
    """
    rank, worst = min(shape), 0.0
    for epsilon in (0.5, 0.2):
        for delta in (0.3, 0.05):
            m = samples(shape, 1.0, 1.0, epsilon, delta)
            means, weights = 2 * np.arange(m + 1) / m - 1, scipy.stats.binom.pmf(np.arange(m + 1), m, 0.5)
            shared = weights[np.sqrt(rank) * np.abs(means) > epsilon].sum()
            apart = np.hypot(means[:, None], means[None]) > epsilon
            own = np.sum(np.outer(weights, weights)[apart]) if rank == 2 else shared
            worst = max(worst, shared / delta, own / delta)
    assert 1e-4 < worst < 1


def test_a_run_of_many_estimates_misses_more_often_than_one():
    """Theorems 2 and 4 take the samples of one estimate for a run: 3 M N estimates need delta / (3 M N)."""
    delta, p, epsilon = 0.2, 0.5, 0.1
    m = samples((1, 1), 0.25, 0.5, epsilon, delta)
    counts = np.arange(m + 1)
    one = scipy.stats.binom.pmf(counts[np.abs(counts / m - p) > epsilon], m, p).sum()
    assert one < delta
    assert 1 - (1 - one) ** (3 * 10 * 200) > delta  # Figure 1: ten tasks, 200 iterations
