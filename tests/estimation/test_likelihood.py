"""The log-likelihood against statsmodels, dense Gaussian densities and 50 digits; derivatives, failures and lanes."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import multivariate_normal

from jaxlqr import SolveStatus
from jaxlqr.estimation import forecast, kalman_filter, log_likelihood, smoother

RNG = np.random.default_rng(0)
LONG = 0.3 * np.cumsum(RNG.normal(size=70)) + RNG.normal(size=70)
LONG[[5, 20, 21, 22]] = np.nan
SERIES = 0.1 * RNG.normal(size=(50, 3)).cumsum(axis=0) + RNG.normal(size=(50, 3))
SERIES[3, 1] = SERIES[10, 0] = np.nan
SERIES[30:33] = np.nan


def matrices(model, params):
    """A, C, Q, R of a model of statsmodels."""
    model.update(params)
    system = model.ssm
    loading = system["selection"]
    return system["transition"], system["design"], loading @ system["state_cov"] @ loading.T, system["obs_cov"]


def sarimax():
    return sm.tsa.SARIMAX(LONG, order=(2, 0, 1)), np.array([0.5, 0.3, 0.4, 1.3]), False


def dynamic_factor():
    model = sm.tsa.DynamicFactor(SERIES, k_factors=1, factor_order=2)
    return model, np.array([0.8, 0.5, -0.3, 1.0, 0.7, 1.2, 0.5, 0.2]), False


def unobserved_components():
    model = sm.tsa.UnobservedComponents(LONG, "local linear trend", use_exact_diffuse=True)
    model.ssm.loglikelihood_burn = 0
    return model, np.array([1.0, 0.3, 0.1]), True


MODELS = {"SARIMAX": sarimax, "dynamic factor": dynamic_factor, "unobserved components": unobserved_components}


@pytest.mark.parametrize("name", MODELS)
def test_statsmodels_with_missing_data(name):
    model, params, diffuse = MODELS[name]()
    model.ssm.tolerance = 0  # else it keeps gains that have not settled to rounding
    arrays = matrices(model, params)
    y = np.asarray(model.endog)
    expected = model.loglike(params)
    for method in ("auto", "exact"):
        value = log_likelihood(y, *arrays, diffuse=diffuse, method=method)
        assert float(value) == pytest.approx(expected, rel=1e-10), (
            method
        )  # some hundred roundings, and a start of theirs
    if name == "dynamic factor":
        return  # its moments compile anew, and show nothing else
    result, ours = model.smooth(params), smoother(y, *arrays, diffuse=diffuse).check()
    np.testing.assert_allclose(ours.means, result.smoothed_state.T, rtol=0, atol=1e-8)  # of numbers of size one
    np.testing.assert_allclose(ours.covariances, result.smoothed_state_cov.transpose(2, 0, 1), rtol=0, atol=1e-8)
    passed = kalman_filter(y, *arrays, diffuse=diffuse).check()
    first = 3  # a flat start has no moments before two measurements
    np.testing.assert_allclose(passed.filtered_means[first:], result.filtered_state.T[first:], rtol=0, atol=1e-8)
    np.testing.assert_allclose(passed.predicted_means[first:], result.predicted_state.T[first:-1], rtol=0, atol=1e-8)
    assert bool(np.isnan(passed.filtered_means[0]).all()) is diffuse
    ahead, wanted = forecast(y, *arrays, 4, diffuse=diffuse).check(), result.get_forecast(4)
    np.testing.assert_allclose(ahead.means[:, 0], wanted.predicted_mean, rtol=1e-8)
    np.testing.assert_allclose(ahead.covariances[:, 0, 0], wanted.var_pred_mean, rtol=1e-8)


# --- a dense Gaussian vector ------------------------------------------------------------------------------------------

T, N, P, M = 5, 3, 2, 1


def small(seed=1):
    rng = np.random.default_rng(seed)
    root, half, start = rng.normal(size=(N, 2)), rng.normal(size=(P, P)), rng.normal(size=(N, N))
    model = {
        "A": 0.4 * rng.normal(size=(N, N)), "C": rng.normal(size=(T, P, N)), "Q": root @ root.T, "R": half @ half.T,
        "x0": rng.normal(size=N), "P0": start @ start.T, "u": rng.normal(size=(T, M)), "B": rng.normal(size=(N, M)),
        "D": rng.normal(size=(P, M)),
    }  # fmt: skip
    y = rng.normal(size=(T, P))
    y[1, 0] = np.nan
    y[3] = np.nan
    return y, model


def stacked(model):
    """Means and covariance of all states, and the matrix and mean of all measurements."""
    A, C, Q, R, x0, P0, u, B, D = model.values()
    maps = [np.eye(N)]
    for _ in range(T - 1):
        maps.append(A @ maps[-1])
    means = [x0]
    for t in range(T - 1):
        means.append(A @ means[-1] + B @ u[t])
    loading = np.zeros((T * N, T * N))  # of x0 and the noises
    for t in range(T):
        for s in range(t + 1):
            loading[t * N : (t + 1) * N, s * N : (s + 1) * N] = maps[t - s]
    noise = np.zeros((T * N, T * N))
    for t in range(T):
        noise[t * N : (t + 1) * N, t * N : (t + 1) * N] = Q if t else P0
    seen = np.zeros((T * P, T * N))
    for t in range(T):
        seen[t * P : (t + 1) * P, t * N : (t + 1) * N] = C[t]
    return np.concatenate(means), loading @ noise @ loading.T, seen, (u @ D.T).ravel(), np.kron(np.eye(T), R)


def test_inputs_and_time_varying_matrices_against_a_dense_gaussian():
    y, model = small()
    means, spread, seen, pushed, noise = stacked(model)
    there = ~np.isnan(y.ravel())
    H, b = seen[there], pushed[there]
    total = H @ spread @ H.T + noise[np.ix_(there, there)]
    expected = multivariate_normal(H @ means + b, total).logpdf(y.ravel()[there])
    assert float(log_likelihood(y, **model, time_varying="C")) == pytest.approx(expected, rel=1e-12)  # some roundings
    gain = spread @ H.T @ np.linalg.inv(total)
    posterior, left = means + gain @ (y.ravel()[there] - H @ means - b), spread - gain @ H @ spread
    ours = smoother(y, **model, time_varying="C").check()
    np.testing.assert_allclose(ours.means, posterior.reshape(T, N), atol=1e-11)  # roundings times a condition of 1e3
    blocks = left.reshape(T, N, T, N)
    for t in range(T):
        np.testing.assert_allclose(ours.covariances[t], blocks[t, :, t], atol=1e-11)
    for t in range(T - 1):
        np.testing.assert_allclose(ours.cross_covariances[t], blocks[t + 1, :, t], atol=1e-11)


def test_a_flat_prior_is_the_limit_of_a_wide_one():
    y, model = small()
    model["P0"][0, :] = model["P0"][:, 0] = 0.0
    flat = log_likelihood(y, **model, time_varying="C", diffuse=[True, False, False])
    wide = 1e8
    near = log_likelihood(y, **(model | {"P0": model["P0"] + np.diag([wide, 0, 0])}), time_varying="C")
    assert float(flat) == pytest.approx(float(near) + 0.5 * np.log(wide), abs=1e-6)  # the next term of the limit is 1/k


# --- settled gains ----------------------------------------------------------------------------------------------------


def autoregression(T, seed=2):
    rng = np.random.default_rng(seed)
    A, C = np.array([[0.8, 0.2], [-0.1, 0.5]]), np.array([[1.0, 0.5]])
    return rng.normal(size=(T, 1)), A, C, 0.5 * np.eye(2), np.array([[0.3]])


def test_settled_gains_change_rounding_only():
    y, A, C, Q, R = autoregression(200)
    y[100] = np.nan
    exact = log_likelihood(y, A, C, Q, R, method="exact")
    assert float(log_likelihood(y, A, C, Q, R)) == pytest.approx(float(exact), rel=1e-12)  # the contract says 1e-10
    scales = jnp.array([1.0, 0.9, 1.2])
    many = jax.jit(jax.vmap(lambda s: log_likelihood(y, s * A, C, Q, R)))(scales)
    few = [log_likelihood(y, s * A, C, Q, R, method="exact") for s in scales]
    np.testing.assert_allclose(many, few, rtol=1e-12)
    # The third system is so near to instability that its covariance settles last; all of them do.
    assert np.isfinite(many).all()


@pytest.mark.slow
def test_hessians_are_those_of_differences_of_gradients():
    y, A, C, Q, R = autoregression(70)
    y[40] = np.nan

    def value(params):
        return log_likelihood(y, params[0] * A, C, params[1] * Q, params[2] * R, method="auto")

    def exact(params):
        return log_likelihood(y, params[0] * A, C, params[1] * Q, params[2] * R, method="exact")

    params, step = jnp.array([0.9, 1.1, 0.8]), 1e-5
    gradient, hessian = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))(params)
    differences = [(gradient(params + step * e) - gradient(params - step * e)) / (2 * step) for e in jnp.eye(3)]
    np.testing.assert_allclose(hessian, jnp.stack(differences), rtol=1e-6, atol=1e-6)  # of differences
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-10)
    # Gains that are kept have the derivatives of the settled covariance.
    np.testing.assert_allclose(gradient(params), jax.jit(jax.grad(exact))(params), rtol=1e-9)


def test_gradients_of_everything_are_finite_beside_missing_data():
    y, model = small()
    gradients = jax.grad(lambda model, y: log_likelihood(y, **model, time_varying="C"), argnums=(0, 1))(model, y)
    for leaf in jax.tree.leaves(gradients):
        assert np.isfinite(leaf).all()
    assert np.all(np.asarray(gradients[1])[np.isnan(y)] == 0)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients))


# --- edges ------------------------------------------------------------------------------------------------------------


def test_near_a_unit_root_against_50_digits():
    y = np.array([[1.0], [2.0], [np.nan], [4.0]])
    root = 1 - 1e-9
    with mpmath.workdps(50):
        a, q, r, total = mpmath.mpf(root), mpmath.mpf(1), mpmath.mpf(1) / 2, mpmath.mpf(0)
        mean, variance = mpmath.mpf(0), q / (1 - a * a)
        for value in y[:, 0]:
            if not np.isnan(value):
                spread = variance + r
                error, gain = mpmath.mpf(float(value)) - mean, variance / spread
                total -= (mpmath.log(2 * mpmath.pi * spread) + error * error / spread) / 2
                mean, variance = mean + gain * error, variance * r / spread
            mean, variance = a * mean, a * a * variance + q
        expected = float(total)
    one = np.eye(1)
    # The stationary variance has a condition of 1e9; the others lose nothing, in Joseph's form.
    assert float(log_likelihood(y, root * one, one, one, 0.5 * one)) == pytest.approx(expected, abs=1e-7)


def test_what_cannot_be_is_minus_infinity_in_its_lane_only():
    y, A, C, Q, R = autoregression(5)
    scales, noise = jnp.array([1.0, 2.0, 1.0, jnp.nan]), jnp.array([1.0, 1.0, -100.0, 1.0])
    result = jax.jit(jax.vmap(lambda s, r: kalman_filter(y, s * A, C, Q, r * R)))(scales, noise)
    wanted = ["SOLVED", "NO_START", "NOT_POSITIVE_DEFINITE", "NOT_FINITE"]
    assert [SolveStatus(code).name for code in result.status.tolist()] == wanted
    np.testing.assert_array_equal(result.log_likelihood[1:3], -np.inf)
    assert np.isnan(result.log_likelihood[3])
    assert float(result.log_likelihood[0]) == pytest.approx(float(log_likelihood(y, A, C, Q, R)), rel=1e-13)
    with pytest.raises(ArithmeticError, match=r"1 of 3 series NO_START .*diffuse=True"):
        jax.tree.map(lambda leaf: leaf[:3], result).check()
    # Nothing measures the second state of a flat start.
    unseen = smoother(y, np.diag([0.5, 0.5]), np.array([[1.0, 0.0]]), Q, R, diffuse=True)
    assert unseen.status == SolveStatus.NO_START
    assert unseen.log_likelihood == -np.inf


def test_thousands_of_draws_have_a_value_each():
    y, A, C, Q, R = autoregression(3)
    scales = jnp.linspace(0.1, 1.0, 4096)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(lambda s: log_likelihood(y, s * A, C, Q, R))))(scales)
    assert value.shape == slope.shape == (4096,)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


def test_float32_has_half_the_digits():
    arrays = autoregression(40)
    single = log_likelihood(*(jnp.asarray(array, jnp.float32) for array in arrays))
    assert single.dtype == jnp.float32
    assert float(single) == pytest.approx(float(log_likelihood(*arrays)), rel=1e-5)  # 40 terms of eps 1e-7


def test_mistakes_get_one_sentence():
    y, A, C, Q, R = autoregression(5)
    moving = np.stack([A] * 5)
    cases = {
        r"argument C must have shape \(2, 2\), got \(2, 1\)": lambda: log_likelihood(y, A, C.T, Q, R),
        "argument y must have 2 axes, got shape": lambda: log_likelihood(y[:, 0], A, C, Q, R),
        "argument time_varying must name matrices": lambda: log_likelihood(y, A, C, Q, R, time_varying="F"),
        "argument P0 must be given where A or Q": lambda: log_likelihood(y, moving, C, Q, R, time_varying="A"),
        "argument P0 must be given where only some": lambda: log_likelihood(y, A, C, Q, R, diffuse=[True, False]),
        "argument diffuse must be True, False or 2": lambda: log_likelihood(y, A, C, Q, R, diffuse=[True]),
        "argument method must be": lambda: log_likelihood(y, A, C, Q, R, method="steady"),
        "argument u must have shape": lambda: forecast(y, A, C, Q, R, 2, u=np.ones((5, 1)), B=np.ones((2, 1))),
        "num_steps must be an integer": lambda: forecast(y, A, C, Q, R, 0),
    }
    for sentence, call in cases.items():
        with pytest.raises(ValueError, match=sentence):
            call()
    with pytest.raises(TypeError, match="all arguments must be real"):
        log_likelihood(y, 1j * A, C, Q, R)
