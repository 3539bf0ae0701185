"""A badly scaled model against 50 digits, in both precisions: likelihood and steady state."""

import mpmath
import numpy as np
import pytest
from mpmath import mp

from jaxlqr.estimation import log_likelihood, stationary_covariance, steady_state_kalman
from jaxlqr.matrix_equations.scaling import covariance_scale

STATES, MEASURED = np.array([1e-9, 1.0, 1e6]), np.array([1e5, 1e-7])
# Digits that a condition of 1e2 leaves of 16 and of 7.
RTOL = {np.float64: 1e-12, np.float32: 1e-4}


def model(dtype):
    """y, A, C, Q, R in units that differ by fifteen orders of magnitude."""
    rng = np.random.default_rng(0)
    A = np.array([[0.95, 0.1, 0.0], [-0.1, 0.6, 0.2], [0.0, 0.3, 0.5]])
    C, root, half = rng.normal(size=(2, 3)), rng.normal(size=(3, 3)), rng.normal(size=(2, 2))
    y = rng.normal(size=(6, 2))
    y[1, 0] = y[4, 1] = np.nan
    y[3] = np.nan
    arrays = (
        y * MEASURED, A * np.outer(STATES, 1 / STATES), C * np.outer(MEASURED, 1 / STATES),
        root @ root.T * np.outer(STATES, STATES), half @ half.T * np.outer(MEASURED, MEASURED),
    )  # fmt: skip
    return [array.astype(dtype) for array in arrays]


def in_digits(*arrays):
    return [mp.matrix(np.asarray(array, float).tolist()) for array in arrays]


def stationary(A, Q):
    """P = A P A' + Q as one linear system."""
    n = A.rows
    system, right = mp.eye(n * n), mp.matrix(n * n, 1)
    for i in range(n):
        for j in range(n):
            right[i * n + j] = Q[i, j]
            for k in range(n):
                for m in range(n):
                    system[i * n + j, k * n + m] -= A[i, k] * A[j, m]
    solved = mp.lu_solve(system, right)
    return mp.matrix([[solved[i * n + j] for j in range(n)] for i in range(n)])


def density(y, A, C, Q, R):
    """The log-likelihood, step by step."""
    total, mean, P = mp.mpf(0), mp.matrix(A.rows, 1), stationary(A, Q)
    for row in y:
        seen = [int(i) for i in np.flatnonzero(~np.isnan(row))]
        if seen:
            H = mp.matrix([[C[i, j] for j in range(A.rows)] for i in seen])
            F = H * P * H.T + mp.matrix([[R[i, j] for j in seen] for i in seen])
            error = mp.matrix([float(row[i]) for i in seen]) - H * mean
            total -= (len(seen) * mp.log(2 * mp.pi) + mp.log(mp.det(F)) + (error.T * F**-1 * error)[0]) / 2
            gain = P * H.T * F**-1
            mean, P = mean + gain * error, P - gain * H * P
        mean, P = A * mean, A * P * A.T + Q
    return total


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_a_badly_scaled_model_against_50_digits(dtype):
    y, *arrays = model(dtype)
    rtol = RTOL[dtype]
    with mpmath.workdps(50):
        A, C, Q, R = in_digits(*arrays)
        expected = float(density(y, A, C, Q, R))
        P = start = stationary(A, Q)
        for _ in range(200):  # the closed loop halves the error of P in each
            F = C * P * C.T + R
            P = A * (P - P * C.T * F**-1 * C * P) * A.T + Q
        gain = P * C.T * (C * P * C.T + R) ** -1
        start, P, gain = (np.array(x.tolist(), float) for x in (start, P, gain))
    found = log_likelihood(y, *arrays)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(expected, rel=rtol)
    close(stationary_covariance(arrays[0], arrays[2]), start, covariance_scale(start), rtol)
    settled = steady_state_kalman(*arrays).check()
    close(settled.prior_covariance, P, covariance_scale(P), rtol)
    close(settled.filter_gain, gain, np.outer(STATES, 1 / MEASURED), 10 * rtol)


def close(found, expected, scale, rtol):
    """Relative to the units of each entry."""
    assert np.max(np.abs(np.asarray(found, float) - expected) / np.asarray(scale)) < rtol
