"""Finite zeros of a system, in NumPy, by reduction of its pencil to one without infinite eigenvalues.

Source: Emami-Naeini and Van Dooren, Computation of zeros of linear multivariable systems, Automatica 18 (1982).
Singular value decompositions of balanced matrices determine the ranks.
"""

import numpy as np
import scipy.linalg

_EPS = float(np.finfo(float).eps)
_PASSES = 12


def finite_zeros(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The finite transmission zeros, followed by NaN, complex [n]; all NaN where an entry is not finite."""
    padded = np.full(len(a), complex(np.nan, np.nan))
    if not len(a) or not all(np.all(np.isfinite(matrix)) for matrix in (a, b, c, d)):
        return padded
    a, b, c, d = _balanced(a, b, c, d)
    size = np.linalg.norm(np.block([[a, b], [c, d]]), 2)
    tolerance = 10 * max(a.shape[0] + max(d.shape), 1) * _EPS * size
    # The rows of D are compressed, and then its columns: D becomes square and invertible.
    a, b, c, d = _reduced(a, b, c, d, tolerance)
    a, c, b, d = (matrix.T for matrix in _reduced(a.T, c.T, b.T, d.T, tolerance))
    found = _regular_zeros(a, b, c, d)
    padded[: len(found)] = found
    return padded


def _balanced(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, ...]:
    """The system with states, inputs and outputs scaled by powers of two, so that rows and columns have equal sizes."""
    for _ in range(_PASSES):
        inputs = _factor(np.max(np.abs(np.vstack([b, d])), axis=0))
        b, d = b / inputs, d / inputs
        outputs = _factor(np.max(np.abs(np.hstack([c, d])), axis=1))[:, None]
        c, d = c / outputs, d / outputs
        off = np.abs(a - np.diag(np.diagonal(a)))
        rows = np.max(np.hstack([off, np.abs(b)]), axis=1)
        columns = np.max(np.vstack([off, np.abs(c)]), axis=0)
        there = (rows > 0) & (columns > 0)
        states = _factor(np.where(there, np.sqrt(rows / np.where(columns > 0, columns, 1)), 1))
        a, b, c = a * states / states[:, None], b / states[:, None], c * states
    return a, b, c, d


def _factor(size: np.ndarray) -> np.ndarray:
    """The power of two next to each size; 1 for zero."""
    return np.where(size > 0, 2.0 ** np.round(np.log2(np.where(size > 0, size, 1))), 1)


def _reduced(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A system with the same finite zeros whose D has full row rank."""
    while True:
        left, values, _ = np.linalg.svd(d)
        rank = int(np.sum(values > tolerance))
        c, d = left.T @ c, left.T @ d
        rest = c[rank:]
        c, d = c[:rank], d[:rank]
        if not len(rest) or not len(a):
            return a, b, c, d
        _, values, right = np.linalg.svd(rest)
        seen = int(np.sum(values > tolerance))
        if seen == 0:
            return a, b, c, d
        # States that rest does not see, first; the others turn into outputs.
        turn = np.vstack([right[seen:], right[:seen]])
        kept = len(a) - seen
        a, b, c = turn @ a @ turn.T, turn @ b, c @ turn.T
        c, d = np.vstack([a[kept:, :kept], c[:, :kept]]), np.vstack([b[kept:], d])
        a, b = a[:kept, :kept], b[:kept]


def _regular_zeros(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Zeros of a system whose D is square and invertible, without its inverse."""
    n = len(a)
    if not n:
        return np.empty(0, complex)
    if not d.size:
        return np.linalg.eigvals(a)
    # The null space of [C D] as columns of turn; on it the pencil is [A B] turn - z [I 0] turn.
    turn = np.linalg.svd(np.hstack([c, d]))[2][len(d) :].T
    return np.asarray(scipy.linalg.eigvals(np.hstack([a, b]) @ turn, turn[:n]))
