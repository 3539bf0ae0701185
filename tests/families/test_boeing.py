"""The Boeing system, released and printed: the facts of erratum T1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import boeing, boeing_initial_gain

# The facts are known to the digits given here; rtol is half a unit of the last one.


@jax.jit
def facts(task):
    gain = jaxlqr.optimal_gain(task)
    return {
        "rho start": jaxlqr.spectral_radius(boeing_initial_gain(), task),
        "cost start": jaxlqr.cost(boeing_initial_gain(), task),
        "rho optimum": jaxlqr.spectral_radius(gain, task),
        "cost optimum": jaxlqr.optimal_cost(task),
    }


def test_released_variant():
    found = facts(boeing())
    np.testing.assert_allclose(found["rho start"], 0.9502, atol=5e-5)
    np.testing.assert_allclose(found["cost optimum"], 17.1835, atol=5e-5)
    np.testing.assert_allclose(found["cost start"], 100.66, atol=5e-3)
    # The printed gain has three decimals, which changes the third digit.
    rounded = jnp.round(boeing_initial_gain(), 3)
    np.testing.assert_allclose(jaxlqr.cost(rounded, boeing()), 101.218, atol=5e-4)
    np.testing.assert_allclose(jaxlqr.spectral_radius(rounded, boeing()), 0.95059, atol=5e-6)


def test_printed_variant_cannot_be_run_from_the_printed_gain():
    found = facts(boeing(variant="printed"))
    np.testing.assert_allclose(found["rho start"], 3.07, atol=5e-3)
    assert found["cost start"] == np.inf
    np.testing.assert_allclose(found["cost optimum"], 75.14369, atol=5e-6)
    np.testing.assert_allclose(found["rho optimum"], 0.63933, atol=5e-6)


def test_matrices():
    released, printed = boeing(), boeing(variant="printed")
    np.testing.assert_array_equal(released.A[1], [0.01, 4.7, 0.0, 0.0])
    np.testing.assert_array_equal(printed.A[1], [0.01, 0.47, 4.7, 0.0])
    np.testing.assert_array_equal(released.A[jnp.array([0, 2, 3])], printed.A[jnp.array([0, 2, 3])])
    np.testing.assert_array_equal(released.Sigma0, np.eye(4) / 4)
    assert boeing_initial_gain().shape == (2, 4)


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"variant must be .*got 'corrected'"):
        boeing(variant="corrected")
