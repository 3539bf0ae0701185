"""Riccati equations in which states cost nothing: zero rows of the solution, filled with rounding."""

import jax
import numpy as np
import pytest
import scipy.linalg

import jaxlqr
from jaxlqr import SolveStatus

N, COUNT = 4, 400


def problem(rng, discrete, in_other_units):
    """A costly part that drives a stable part without cost, in any order of the states."""
    half = N // 2
    a, root = rng.normal(size=(N, N)), rng.normal(size=(half, half))
    a[:half, half:] = 0
    own = np.linalg.eigvals(a[half:, half:])
    if discrete:
        a[half:, half:] *= 0.9 / np.max(np.abs(own))
    else:
        a[half:, half:] -= (0.3 + np.max(own.real)) * np.eye(N - half)
    b, q = rng.normal(size=(N, 2)), scipy.linalg.block_diag(root @ root.T, np.zeros((N - half, N - half)))
    order = rng.permutation(N)
    units = 10.0 ** rng.uniform(-3, 3, N) if in_other_units else np.ones(N)
    a, q = (x[np.ix_(order, order)] for x in (a, q))
    return a * units / units[:, None], b[order] / units[:, None], q * units * units[:, None]


@pytest.mark.parametrize("discrete", [True, False])
def test_states_without_cost_do_not_hide_the_solution(discrete):
    rng = np.random.default_rng(0)
    problems = [problem(rng, discrete, in_other_units=bool(i % 2)) for i in range(COUNT)]
    solve = jaxlqr.discrete_are_result if discrete else jaxlqr.continuous_are_result
    reference = scipy.linalg.solve_discrete_are if discrete else scipy.linalg.solve_continuous_are
    result = jax.jit(jax.vmap(solve, in_axes=(0, 0, 0, None)))(*map(np.stack, zip(*problems, strict=True)), np.eye(2))
    for x, status, (a, b, q) in zip(result.value, result.status, problems, strict=True):
        # A row of rounding instead of zeros is no solution entry by entry, which the status may say.
        assert status in (SolveStatus.SOLVED, SolveStatus.INACCURATE)
        known = np.diagonal(q) > 0
        exact = reference(a, b, q, np.eye(2))[np.ix_(known, known)]
        root = np.sqrt(np.diagonal(exact))
        # What SciPy's errors leave in these units.
        assert np.max(np.abs(x[np.ix_(known, known)] - exact) / np.outer(root, root)) < 1e-7
    assert np.mean(result.status == SolveStatus.SOLVED) > 0.9
