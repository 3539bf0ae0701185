"""Riccati equations of weakly coupled, dense and chained systems in units 1e+-9, against 80 digits."""

import jax
import numpy as np
import pytest
import scipy.linalg

import jaxlqr
from jaxlqr import SolveStatus
from tests.numerical import exact as digits

N = 3


def powers(rng, decades, *shape):
    return 10.0 ** rng.uniform(-decades, decades, shape)


def weakly_coupled(rng, discrete):
    """Modes of other speeds, weights and inputs, coupled by 1e-9 to 0.1 of their speeds."""
    rates = rng.choice([-1, 1], N) * (1 - 10.0 ** rng.uniform(-3, 0, N) if discrete else powers(rng, 3, N))
    speeds = np.sqrt(np.outer(*[np.ones(N) if discrete else np.abs(rates)] * 2))
    coupling = 10.0 ** rng.uniform(-9, -1) * rng.normal(size=(N, N)) * speeds * (1 - np.eye(N))
    return np.diag(rates) + coupling, *(np.diag(powers(rng, 3, N)) for _ in range(3))


def dense(rng, discrete):
    a, (root, weights) = rng.normal(size=(N, N)), rng.normal(size=(2, N, N))
    a *= rng.choice([0.5, 0.9, 0.999, 1.2]) / np.max(np.abs(np.linalg.eigvals(a)))
    return a - (not discrete) * np.eye(N), rng.normal(size=(N, N)), root @ root.T, weights @ weights.T + 0.1 * np.eye(N)


def chain(rng, discrete):
    """Integrators in a row, driven at their end and sampled 1 to 1000 times in a time unit."""
    a, b = np.eye(N, k=1), np.eye(N)[:, -1:] * np.eye(N)[-1]
    if not discrete:
        return a, b, np.diag(powers(rng, 1, N)), np.eye(N)
    held = scipy.linalg.expm(np.block([[a, b], [np.zeros((N, 2 * N))]]) * 10.0 ** rng.uniform(-3, 0))
    return held[:N, :N], held[:N, N:], np.diag(powers(rng, 1, N)), np.eye(N)


def problems(discrete, count):
    """Problems a, b, q, r, a reference in 80 digits of each, and the same problems in other units."""
    rng = np.random.default_rng(discrete)
    solve = digits.discrete_riccati if discrete else digits.continuous_riccati
    plain = [family(rng, discrete) for family in (weakly_coupled, dense, chain) for _ in range(count)]
    references = np.array([np.asarray(solve(*map(digits.exact, problem)), float) for problem in plain])
    # Powers of two round nothing, so that the reference holds in these units, too.
    T, U = 2.0 ** rng.integers(-30, 31, (2, len(plain), N))
    row, column, inputs = T[:, :, None], T[:, None, :], U[:, None, :]
    a, b, q, r = map(np.stack, zip(*plain, strict=True))
    return references / row / column, (row * a / column, row * b * inputs, q / row / column, r * inputs * U[:, :, None])


@pytest.mark.parametrize("count", [12, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("discrete", [True, False])
def test_every_entry_is_right_and_the_status_says_so(discrete, count):
    references, arrays = problems(discrete, count)
    solve = jaxlqr.discrete_are_result if discrete else jaxlqr.continuous_are_result
    result = jax.jit(jax.vmap(solve))(*arrays)
    root = np.sqrt(np.diagonal(references, axis1=1, axis2=2))
    errors = np.max(np.abs(result.value - references) / root[:, :, None] / root[:, None, :], axis=(1, 2))
    assert np.all(result.status == SolveStatus.SOLVED)
    # The closed loop of a chain that is sampled a thousand times has a condition of 1e6.
    assert np.max(errors) < 1e-9
