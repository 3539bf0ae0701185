"""Intervals that the experiments report."""

import numpy as np


def student_interval(rows: np.ndarray) -> np.ndarray:
    """Mean of ``rows`` [samples, ...] and the ends of its 95 % interval by Student's t, [3, ...]; NaN ends for one.

    >>> print(np.round(student_interval(np.array([1.0, 2.0, 3.0])), 3))
    [ 2.    -0.484  4.484]
    """
    import scipy.stats

    mean, count = np.mean(rows, axis=0), len(rows)
    if count == 1:
        return np.stack([mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)])
    half = scipy.stats.t.ppf(0.975, count - 1) * np.std(rows, axis=0, ddof=1) / np.sqrt(count)
    return np.stack([mean, mean - half, mean + half])
