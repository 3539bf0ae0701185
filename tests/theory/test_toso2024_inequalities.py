"""The inequalities (9) to (11) that the proofs of toso2024 rest on."""

import numpy as np


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
