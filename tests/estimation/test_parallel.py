"""The filter in parallel over time against the sequential one: values, derivatives, units, failures."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.estimation import log_likelihood

T, N, P, M = 6, 3, 2, 1  # each doubling of T is one more level of the scan to compile
LONG = 37


def model(seed=0, length=T):
    """Everything at once: inputs, matrices that vary with time, missing entries and rows, a state without a prior."""
    rng = np.random.default_rng(seed)
    root, half, start = rng.normal(size=(N, N)), rng.normal(size=(P, P)), rng.normal(size=(N, N))
    arrays = {
        "A": np.diag([0.9, 0.5, -0.3]) + 0.1 * rng.normal(size=(N, N)), "C": rng.normal(size=(length, P, N)),
        "Q": root @ root.T, "R": half @ half.T + 0.1 * np.eye(P), "x0": rng.normal(size=N), "P0": start @ start.T,
        "u": rng.normal(size=(length, M)), "B": rng.normal(size=(N, M)), "D": rng.normal(size=(P, M)),
    }  # fmt: skip
    y = rng.normal(size=(length, P))
    y[1, 0] = y[-1, 1] = np.nan
    y[3] = np.nan
    return {name: jnp.asarray(array) for name, array in arrays.items()}, y


def value(arrays, y, method, diffuse=(False, True, False)):
    return log_likelihood(y, **arrays, time_varying="C", diffuse=diffuse, method=method)


def along(arrays):
    return jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=float)).reshape(leaf.shape), arrays)


def test_value_and_derivative_are_those_of_the_sequential_filter():
    arrays, y = model()

    def derivative(method):
        return jax.jit(lambda at: jax.jvp(partial(value, y=y, method=method), (at,), (along(arrays),)))(arrays)

    exact, ours = derivative("exact"), derivative("parallel")
    assert float(ours[0]) == pytest.approx(float(exact[0]), rel=1e-12)  # six steps of roundings
    assert float(ours[1]) == pytest.approx(float(exact[1]), rel=1e-11)


@pytest.mark.slow
def test_gradients_and_hessians_are_those_of_the_sequential_filter():
    arrays, y = model(length=LONG)

    def both(method):
        slopes = jax.value_and_grad(partial(value, y=y, method=method))
        return jax.jit(lambda at: jax.jvp(slopes, (at,), (along(arrays),)))(arrays)

    ((exact, slopes), (_, second)), ((ours, our_slopes), (_, our_second)) = both("exact"), both("parallel")
    assert float(ours) == pytest.approx(float(exact), rel=1e-11)  # 37 steps of roundings, conditions of 1e2
    for found, expected in ((our_slopes, slopes), (our_second, second)):
        for name, wanted in expected.items():
            size = np.abs(wanted).max()
            np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-10 * size, err_msg=name)
            assert size > 0, name


@pytest.mark.slow
def test_units_do_not_matter():
    arrays, y = model()
    states, measured = np.array([1e-9, 1.0, 1e6]), np.array([1e5, 1e-7])
    across = {"A": (states, 1 / states), "C": (measured, 1 / states), "Q": (states, states), "R": (measured, measured)}
    across |= {"P0": (states, states), "B": (states, np.ones(M)), "D": (measured, np.ones(M))}
    scaled = {
        name: arrays[name] * np.outer(rows, columns).reshape((1,) * (arrays[name].ndim - 2) + (len(rows), -1))
        for name, (rows, columns) in across.items()
    }
    scaled |= {"x0": arrays["x0"] * states, "u": arrays["u"]}
    # The states that change their units most have a prior: a flat one is a density, which has units.
    found = value(scaled, y * measured, "parallel")
    expected = value(arrays, y, "exact") - np.sum(np.log(measured) * np.sum(~np.isnan(y), axis=0))
    assert float(found) == pytest.approx(float(expected), rel=1e-11)  # of a sum of some hundred


def test_failures_stay_in_their_lane():
    y = np.array([[1.0], [2.0], [np.nan], [0.5]])
    one = jnp.eye(1)

    def run(a, q, r, method="parallel"):
        return log_likelihood(y, a * one, one, q * one, r * one, method=method)

    lanes = [jnp.array(column) for column in ([0.5, 2.0, jnp.nan, 0.5], [1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0])]
    found = jax.jit(jax.vmap(run))(*lanes)
    assert float(found[0]) == pytest.approx(float(run(0.5, 1.0, 1.0, "exact")), rel=1e-13)
    assert found[1] == -np.inf  # no stationary distribution
    assert np.isnan(found[2:]).all()  # NaN given; no noise at all, where the scan does not apply
    # One row needs no scan.
    single = log_likelihood(y[:1], 0.5 * one, one, one, one, method="parallel")
    assert float(single) == pytest.approx(float(log_likelihood(y[:1], 0.5 * one, one, one, one)), rel=1e-14)


@pytest.mark.slow
def test_float32_has_half_the_digits():
    arrays, y = model()
    single = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), (arrays, y))
    found = value(*single, "parallel")
    assert found.dtype == jnp.float32
    assert float(found) == pytest.approx(float(value(arrays, y, "exact")), rel=1e-4)  # eps 1e-7, conditions of 1e2
