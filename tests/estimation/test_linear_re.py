"""Klein's map: five published models, ordered QZ on random pencils, and models without a unique stable solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

from jaxlqr import SolveStatus
from jaxlqr.estimation import solve_linear_re
from tests.estimation.models import NAMES, stored, with_roots

EPS = np.finfo(float).eps


SLOW = ("rbc", "sgu", "fvgq")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES])
def test_stored_models(name):
    A, B, g_x, h_x, _ = stored(name)
    solution = solve_linear_re(A, B, len(h_x)).check()
    for ours, theirs in ((solution.g_x, g_x), (solution.h_x, h_x)):
        # The stored solutions have residuals below 1e-10, most of them at rounding.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())
    V = np.concatenate([np.eye(len(h_x)), solution.g_x])
    terms = np.abs(A) @ np.abs(V) @ np.abs(solution.h_x) + np.abs(B) @ np.abs(V)
    terms = np.maximum(terms.max(axis=1), np.max(np.abs(A) + np.abs(B), axis=1))
    residual = np.abs(A @ V @ solution.h_x + B @ V)
    assert np.all(residual <= 1e-13 * terms[:, None])  # n roundings


def ordered_qz(A, B, num_states):
    """g and h by SciPy's generalised Schur form."""
    _, _, _, _, _, Z = scipy.linalg.ordqz(-B, A, sort="iuc", output="complex")
    top, bottom = Z[:num_states, :num_states], Z[num_states:, :num_states]
    g = np.linalg.solve(top.T, bottom.T).T
    V = np.concatenate([np.eye(num_states), g])
    return g.real, -np.linalg.lstsq(A @ V, B @ V, rcond=None)[0].real


def test_roots_close_to_the_circle_against_ordered_qz():
    solve = jax.jit(solve_linear_re, static_argnums=2)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        stable = [1 - 1e-6, *rng.uniform(-0.9, 0.9, size=2)]
        unstable = [1 + 1e-6 if seed % 2 else -1 - 1e-6, 3.0, 0.0]
        A, B = with_roots(seed, stable, unstable)
        g, h, status = solve(A, B, 3)
        assert status == SolveStatus.SOLVED, seed
        g_qz, h_qz = ordered_qz(A, B, 3)
        # QZ is backward stable, and the roots are 1e-6 apart: 10 digits are left in a generic direction.
        for ours, theirs in ((g, g_qz), (h, h_qz)):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
        assert np.sort(np.abs(np.linalg.eigvals(h)))[-1] == pytest.approx(1 - 1e-6, abs=1e-9)


def test_models_without_a_unique_stable_solution_are_nan_in_their_lane_only():
    good = with_roots(1, [0.9, 0.5], [2.0, 0.0, -1.5])
    free = np.zeros((5, 5))
    # The stable vectors do not determine the states: the second state follows an unstable root alone.
    apart = np.diag([1.0, 1 / 2.0, 1.0, 0.0, 1 / 1.5]), np.diag([-0.9, -1.0, -0.5, -1.0, -1.0])
    cases = {
        "unique": (good, SolveStatus.SOLVED),
        "indeterminate": (with_roots(2, [0.9, 0.5, 0.2], [2.0, 0.0]), SolveStatus.NOT_UNIQUE),
        "explosive": (with_roots(3, [0.9], [2.0, 0.0, -1.5, 1.1]), SolveStatus.NO_STABLE_SOLUTION),
        "wrong states": (apart, SolveStatus.NO_STABLE_SOLUTION),
        "unit root": (with_roots(4, [0.9, 1.0], [2.0, 0.0, -1.5]), SolveStatus.NOT_SEPARATED),
        "no equations": ((free, free), SolveStatus.NOT_SEPARATED),
        "not a number": ((np.full((5, 5), np.nan), good[1]), SolveStatus.NOT_FINITE),
    }
    A, B = (jnp.stack([pair[k] for pair, _ in cases.values()]) for k in (0, 1))
    solution = jax.vmap(lambda A, B: solve_linear_re(A, B, 2))(A, B)
    wanted = dict(zip(cases, [status.name for _, status in cases.values()], strict=True))
    found = dict(zip(cases, [SolveStatus(int(code)).name for code in solution.status], strict=True))
    assert found == wanted
    assert np.isnan(solution.g_x[1:]).all()
    assert np.isnan(solution.h_x[1:]).all()
    g, h, _ = solve_linear_re(*good, 2)
    np.testing.assert_allclose(solution.g_x[0], g, rtol=0, atol=1e-12 * np.abs(g).max())  # batched LAPACK rounds anew
    np.testing.assert_allclose(solution.h_x[0], h, rtol=0, atol=1e-12 * np.abs(h).max())
    with pytest.raises(ArithmeticError, match=r"1 of 7 models NOT_UNIQUE .*policy rule"):
        jax.tree.map(lambda leaf: leaf[jnp.array([0, 1, 0, 0, 0, 0, 0])], solution).check()


def test_a_radius_above_one_admits_unit_roots():
    A, B = with_roots(4, [0.9, 1.0], [2.0, 0.0, -1.5])
    solution = solve_linear_re(A, B, 2, radius=1.01).check()
    assert np.max(np.abs(np.linalg.eigvals(solution.h_x))) == pytest.approx(1.0, abs=1e-10)


def test_units_do_not_matter():
    A, B = with_roots(5, [0.9, 0.5], [2.0, 0.0, -1.5])
    g, h, _ = solve_linear_re(A, B, 2)
    rng = np.random.default_rng(0)
    rows, units = (10.0 ** rng.uniform(-9, 6, size=5) for _ in range(2))
    scaled = solve_linear_re(rows[:, None] * A / units, rows[:, None] * B / units, 2).check()
    # Condition 1e3: balancing restores the digits, but not the bits.
    np.testing.assert_allclose(scaled.g_x / units[2:, None] * units[:2][None], g, rtol=0, atol=1e-12 * np.abs(g).max())
    np.testing.assert_allclose(scaled.h_x / units[:2, None] * units[:2][None], h, rtol=0, atol=1e-12 * np.abs(h).max())


def test_a_first_derivative():
    """The quick part of the next test: along one direction, which is enough for a wrong sign or term."""
    args = tuple(map(jnp.asarray, with_roots(6, [0.9, 0.5], [2.0, -1.5])))
    directions = tuple(jnp.asarray(np.random.default_rng(7).normal(size=(4, 4))) for _ in args)

    def solve(A, B):
        return tuple(solve_linear_re(A, B, 2))[:2]

    (g, h), (dg, dh) = jax.jit(lambda args: jax.jvp(solve, args, directions))(args)
    (A, B), (dA, dB) = args, directions
    V, dV = jnp.concatenate([jnp.eye(2), g]), jnp.concatenate([jnp.zeros((2, 2)), dg])
    change = dA @ V @ h + dB @ V
    residual = A @ dV @ h + A @ V @ dh + B @ dV + change
    np.testing.assert_allclose(residual, 0, atol=1e-11 * np.abs(change).max())  # condition 1e2


@pytest.mark.slow
def test_derivatives_of_two_orders():
    A, B = map(jnp.asarray, with_roots(6, [0.9, 0.5], [2.0, -1.5]))
    solve = jax.jit(lambda A, B: tuple(solve_linear_re(A, B, 2))[:2])
    check_grads(solve, (A, B), order=2, eps=1e-6, rtol=1e-5, atol=1e-5)  # of differences


def test_float32_has_half_the_digits():
    A, B, g_x, h_x, _ = stored("rbc_sv")
    solution = solve_linear_re(jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32), len(h_x)).check()
    assert solution.g_x.dtype == jnp.float32
    np.testing.assert_allclose(solution.g_x, g_x, atol=1e-4 * np.abs(g_x).max())  # eps 1e-7 and a condition of 1e2
    np.testing.assert_allclose(solution.h_x, h_x, atol=1e-4 * np.abs(h_x).max())


def test_mistakes_get_one_sentence():
    with pytest.raises(ValueError, match="num_states must be from 1 to 1, got 2; a model without jumping"):
        solve_linear_re(np.eye(2), np.eye(2), 2)
    with pytest.raises(ValueError, match="num_states must be an integer of at least 1, got 0"):
        solve_linear_re(np.eye(2), np.eye(2), 0)
