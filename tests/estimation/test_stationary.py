"""Stationary covariances and steady-state filters, against SciPy, python-control and long runs of the filter."""

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxlqr import SolveStatus
from jaxlqr.estimation import kalman_filter, lqe, stationary_covariance, steady_state_kalman

A = np.array([[1.02, 0.3, 0.0], [0.0, 0.7, 0.2], [0.1, 0.0, 0.5]])
C = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
HALF = np.random.default_rng(0).normal(size=(5, 5))
JOINT = HALF @ HALF.T  # covariance of both noises
Q, S, R = JOINT[:3, :3], JOINT[:3, 3:], JOINT[3:, 3:]
RTOL = 1e-11  # both solvers are backward stable, the condition is 1e2


def test_stationary_covariance_is_scipys_where_it_exists():
    stable = 0.9 * A
    np.testing.assert_allclose(
        stationary_covariance(stable, Q), scipy.linalg.solve_discrete_lyapunov(stable, Q), rtol=RTOL
    )
    assert np.isnan(stationary_covariance(A, Q)).all()  # where the equation has a solution that is no covariance


def test_both_gains_and_all_covariances():
    result = steady_state_kalman(A, C, Q, R).check()
    P = scipy.linalg.solve_discrete_are(A.T, C.T, Q, R)
    F = C @ P @ C.T + R
    gain = P @ C.T @ np.linalg.inv(F)
    np.testing.assert_allclose(result.prior_covariance, P, rtol=RTOL)
    np.testing.assert_allclose(result.innovation_covariance, F, rtol=RTOL)
    np.testing.assert_allclose(result.filter_gain, gain, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(result.predictor_gain, A @ gain, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(result.posterior_covariance, P - gain @ C @ P, rtol=1e-10, atol=1e-10)
    # python-control returns the gain of the predictor.
    np.testing.assert_allclose(result.predictor_gain, control.dlqe(A, np.eye(3), C, Q, R)[0], rtol=1e-9, atol=1e-9)


def test_the_filter_settles_to_it():
    result = steady_state_kalman(A, C, Q, R)
    run = kalman_filter(np.zeros((80, 2)), A, C, Q, R, P0=np.eye(3))
    np.testing.assert_allclose(run.predicted_covariances[-1], result.prior_covariance, rtol=1e-10)
    np.testing.assert_allclose(run.filtered_covariances[-1], result.posterior_covariance, rtol=1e-10, atol=1e-12)


def test_correlated_noises():
    """With w = S R^-1 v + rest, A - S R^-1 C and Q - S R^-1 S' make an equivalent system without correlation."""
    result = steady_state_kalman(A, C, Q, R, S).check()
    mixed = S @ np.linalg.inv(R)
    plain = steady_state_kalman(A - mixed @ C, C, Q - mixed @ S.T, R)
    np.testing.assert_allclose(result.prior_covariance, plain.prior_covariance, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.predictor_gain, plain.predictor_gain + mixed, rtol=1e-9, atol=1e-9)


def test_continuous_time_is_python_controls():
    drift, G = A - np.eye(3), np.random.default_rng(1).normal(size=(3, 2))
    QN = np.array([[2.0, 0.3], [0.3, 1.0]])
    result = lqe(drift, G, C, QN, R).check()
    gain, covariance, _ = control.lqe(drift, G, C, QN, R)
    np.testing.assert_allclose(result.gain, gain, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-9, atol=1e-9)
    # Correlated noises: the residual of the filter's Riccati equation.
    NN = 0.1 * np.ones((2, 2))
    P, L = (np.asarray(x) for x in jax.tree.leaves(lqe(drift, G, C, QN, R, NN))[1::-1])
    np.testing.assert_allclose(L @ R, P @ C.T + G @ NN, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(drift @ P + P @ drift.T - L @ R @ L.T + G @ QN @ G.T, 0, atol=1e-9)


def test_without_a_steady_state_there_is_nan_and_a_status_in_that_lane_only():
    unseen, unmoved = np.diag([1.1, 0.5, 0.2]), np.diag([1.0, 0.5, 0.2])
    only_last, without_first = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.diag([0.0, 1.0, 1.0])
    cases = [(A, C, Q), (unseen, only_last, Q), (unmoved, C, without_first), (np.nan * A, C, Q)]
    stack = [jnp.stack(arrays) for arrays in zip(*cases, strict=True)]
    result = jax.vmap(lambda A, C, Q: steady_state_kalman(A, C, Q, R))(*stack)
    none = SolveStatus.NO_STEADY_STATE
    assert result.status.tolist() == [SolveStatus.SOLVED, none, none, SolveStatus.NOT_FINITE]
    assert np.isnan(result.filter_gain[1:]).all()
    np.testing.assert_allclose(
        result.filter_gain[0], steady_state_kalman(A, C, Q, R).filter_gain, rtol=1e-12, atol=1e-13
    )
    with pytest.raises(ArithmeticError, match=r"2 of 3 filters NO_STEADY_STATE .*not detectable"):
        jax.tree.map(lambda leaf: leaf[:3], result).check()


@pytest.mark.slow
def test_derivatives_of_two_orders():
    def value(scale):
        result = steady_state_kalman(scale[0] * A, C, Q, R, scale[1] * S)
        return sum(
            jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape)) for leaf in jax.tree.leaves(result)[:5]
        )

    scale, step = jnp.array([0.9, 0.5]), 1e-5
    gradient, hessian = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))(scale)
    differences = [(value(scale + step * e) - value(scale - step * e)) / (2 * step) for e in jnp.eye(2)]
    np.testing.assert_allclose(gradient(scale), differences, rtol=1e-7)  # of differences
    differences = [(gradient(scale + step * e) - gradient(scale - step * e)) / (2 * step) for e in jnp.eye(2)]
    np.testing.assert_allclose(hessian, jnp.stack(differences), rtol=1e-6)
