"""Independent references, in NumPy and extended precision: nothing here calls jaxlqr or differentiates with JAX."""

import numpy as np

from jaxlqr import LQRTask


def relative_error(actual, expected) -> float:
    """Largest entry of the difference over the largest entry of ``expected``."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))


def scalar_cost(K, task: LQRTask) -> float:
    """(q + r k^2) sigma0 / (1 - (a - b k)^2), the cost for n = m = 1."""
    a, b, q, r, s = (float(leaf[0, 0]) for leaf in (task.A, task.B, task.Q, task.R, task.Sigma0))
    k = float(K[0, 0])
    return (q + r * k**2) * s / (1 - (a - b * k) ** 2)


def dense_lyapunov(a: np.ndarray, q: np.ndarray) -> np.ndarray:
    """x = a x a^H + q as one linear system of n^2 unknowns (row-major: vec(a x a^H) = (a kron conj(a)) vec(x))."""
    n = a.shape[0]
    return np.linalg.solve(np.eye(n * n) - np.kron(a, a.conj()), q.reshape(-1)).reshape(n, n)


def truncated_sum(a: np.ndarray, q: np.ndarray, terms: int) -> np.ndarray:
    """The first ``terms`` terms of the sum of a^k q a^kT, one after another."""
    total, term = np.zeros_like(q), q
    for _ in range(terms):
        total, term = total + term, a @ term @ a.T
    return total


def long_sum(a: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of a^k q a^kT (no conjugate: analytic in the entries) over 2^40 terms, in extended precision."""
    for _ in range(40):
        q, a = q + a @ q @ a.T, a @ a
        if np.max(np.abs(a)) < 1e-30:
            break
    return q


def _long(K, task: LQRTask):
    arrays = (task.A, task.B, task.Q, task.R, task.Sigma0)
    A, B, Q, R, S = (np.asarray(x).astype(np.longdouble) for x in arrays)
    K = np.asarray(K)
    return K.astype(np.clongdouble if np.iscomplexobj(K) else np.longdouble), A, B, Q, R, S


def long_cost(K, task: LQRTask):
    """The cost in extended precision; analytic in ``K``."""
    K, A, B, Q, R, S = _long(K, task)
    return np.sum(long_sum((A - B @ K).T, Q + K.T @ R @ K) * S)


def long_gradient(K, task: LQRTask) -> np.ndarray:
    """2 E Sigma in extended precision; analytic in ``K``."""
    K, A, B, Q, R, S = _long(K, task)
    A_K = A - B @ K
    P = long_sum(A_K.T, Q + K.T @ R @ K)
    return 2 * (R @ K - B.T @ P @ A_K) @ long_sum(A_K, S)


def complex_step(function, K, X, size: float = 1e-30):
    """Derivative of an analytic ``function`` along ``X``: Im f(K + i h X) / h has no cancellation, so h can vanish."""
    K, X = (np.asarray(value).astype(np.longdouble) for value in (K, X))
    return np.imag(function(K + 1j * np.longdouble(size) * X)) / np.longdouble(size)


def slope(steps, errors) -> float:
    """Exponent p of errors ~ steps^p, by least squares."""
    return float(np.polyfit(np.log(np.asarray(steps)), np.log(np.asarray(errors)), 1)[0])
