"""Oracles in 80 digits: nothing here calls jaxlqr, and nothing overflows or underflows."""

import mpmath
import numpy as np

_CONTEXT = mpmath.MPContext()
_CONTEXT.dps = 80
_number = np.frompyfunc(_CONTEXT.mpf, 1, 1)

Exact = np.ndarray  # of mpmath numbers


def exact(array) -> Exact:
    """Floats as they are, in 80 digits."""
    return np.asarray(_number(np.asarray(array, dtype=float)), dtype=object)


def largest(array: Exact):
    """The largest modulus of an entry."""
    return np.max(np.abs(array)) if array.size else _CONTEXT.mpf(0)


def solve(matrix: Exact, right: Exact) -> Exact | None:
    """Gaussian elimination with pivots; None for a matrix that is exactly singular."""
    n = len(matrix)
    rows = np.concatenate([matrix, right.reshape(n, -1)], axis=1)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(rows[k:, k])))
        if rows[pivot, k] == 0:
            return None
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] = rows[k] / rows[k, k]
        others = np.arange(n) != k
        rows[others] = rows[others] - np.outer(rows[others, k], rows[k])
    return rows[:, n:].reshape(right.shape)


def identity(n: int) -> Exact:
    return exact(np.eye(n))


def lyapunov(a: Exact, q: Exact) -> Exact | None:
    """x = a x a' + q; None where no solution is unique."""
    n = len(a)
    found = solve(identity(n * n) - np.kron(a, a), q.reshape(n * n, 1))
    return None if found is None else found.reshape(n, n)


def sylvester(a: Exact, b: Exact, q: Exact) -> Exact | None:
    """a x + x b = q; None where no solution is unique."""
    n, m = q.shape
    found = solve(np.kron(a, identity(m)) + np.kron(identity(n), b.T), q.reshape(n * m, 1))
    return None if found is None else found.reshape(n, m)


def cost_and_gradient(K: Exact, A: Exact, B: Exact, Q: Exact, R: Exact, Sigma0: Exact):
    """tr(P Sigma0), its gradient 2 (R K - B'P A_K) Sigma, P and Sigma."""
    a = A - B @ K
    P, Sigma = lyapunov(a.T, Q + K.T @ R @ K), lyapunov(a, Sigma0)
    return np.sum(P * Sigma0), 2 * (R @ K - B.T @ P @ a) @ Sigma, P, Sigma


def hessian_vector_product(K: Exact, X: Exact, A: Exact, B: Exact, Q: Exact, R: Exact, Sigma0: Exact) -> Exact:
    """Derivative of the gradient along X, by a difference of 40 of the 80 digits."""
    h = _CONTEXT.mpf(10) ** -40
    up, down = (cost_and_gradient(K + sign * h * X, A, B, Q, R, Sigma0)[1] for sign in (1, -1))
    return (up - down) / (2 * h)


def separation(operator: np.ndarray) -> float:
    """Smallest singular value of a matrix over its largest entry, however it is scaled."""
    size = np.max(np.abs(operator))
    if size == 0:
        return 0.0
    return float(np.linalg.svd(operator / size, compute_uv=False)[-1])


def discrete_riccati(a: Exact, b: Exact, q: Exact, r: Exact) -> Exact | None:
    """The stabilising solution of x = a' x a + q - a' x b (r + b' x b)^-1 b' x a; None where doubling finds none."""
    weighted = solve(r, b.T)
    return None if weighted is None else _doubled(a, b @ weighted, q)


def continuous_riccati(a: Exact, b: Exact, q: Exact, r: Exact) -> Exact | None:
    """The stabilising solution of a' x + x a + q = x b r^-1 b' x, after a Cayley transform; None if none is found."""
    weighted = solve(r, b.T)
    if weighted is None:
        return None
    g, n = b @ weighted, len(a)
    c = 2 * n * max(largest(a), largest(g), largest(q))
    inverse = solve(a - c * identity(n), identity(n))
    complement = None if inverse is None else solve(a - c * identity(n) + g @ inverse.T @ q, identity(n))
    if inverse is None or complement is None:
        return None
    return _doubled(
        identity(n) + 2 * c * complement, 2 * c * inverse @ g @ complement.T, 2 * c * complement.T @ q @ inverse
    )


def _doubled(a: Exact, g: Exact, h: Exact) -> Exact | None:
    for _ in range(300):
        solved = solve(identity(len(a)) + g @ h, np.concatenate([a, g], axis=1))
        if solved is None:
            return None
        change = a.T @ h @ solved[:, : len(a)]
        a, g, h = a @ solved[:, : len(a)], g + a @ solved[:, len(a) :] @ a.T, h + change
        if largest(change) <= _CONTEXT.mpf(10) ** -50 * min(np.diagonal(h)):
            return (h + h.T) / 2
    return None
