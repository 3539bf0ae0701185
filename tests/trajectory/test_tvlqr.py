"""The time-varying regulator against a dense KKT solve, the stationary gain, and finite differences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxlqr
from jaxlqr.trajectory import tvlqr

METHODS = ("sequential", "parallel")


def random_problem(seed, T=7, n=3, m=2) -> dict[str, Any]:
    """All terms present; the stage cost [Q S; S' R] is positive definite, A is not stable."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(T + 1, n + m, n + m))
    cost = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(n + m)
    arrays = {
        "A": rng.normal(size=(T, n, n)),
        "B": rng.normal(size=(T, n, m)),
        "Q": cost[:, :n, :n],
        "R": cost[:-1, n:, n:],
        "x0": rng.normal(size=n),
        "S": cost[:-1, :n, n:],
        "q": rng.normal(size=(T + 1, n)),
        "r": rng.normal(size=(T, m)),
        "c": rng.normal(size=(T, n)),
    }
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def dense_solution(A, B, Q, R, x0, S, q, r, c):
    """States, controls and multipliers from one dense KKT system, built entry by entry in NumPy."""
    T, n, m = B.shape
    nx, nu = (T + 1) * n, T * m
    H, g = np.zeros((nx + nu, nx + nu)), np.concatenate([np.ravel(q), np.ravel(r)])
    E, e = np.zeros((nx, nx + nu)), np.zeros(nx)  # x_{t+1} - A x_t - B u_t = c, and x_0 itself
    for t in range(T + 1):
        xs = slice(t * n, t * n + n)
        H[xs, xs], E[xs, xs] = Q[t], np.eye(n)
        if t == 0:
            e[xs] = x0
            continue
        before, us = slice(t * n - n, t * n), slice(nx + (t - 1) * m, nx + t * m)
        H[us, us], H[before, us], H[us, before] = R[t - 1], S[t - 1], S[t - 1].T
        E[xs, before], E[xs, us], e[xs] = -A[t - 1], -B[t - 1], c[t - 1]
    K = np.block([[H, E.T], [E, np.zeros((nx, nx))]])
    z = np.linalg.solve(K, np.concatenate([-g, e]))
    primal = z[: nx + nu]
    cost = primal @ H @ primal / 2 + g @ primal
    return primal[:nx].reshape(T + 1, n), primal[nx:].reshape(T, m), -z[nx + nu :].reshape(T + 1, n), cost


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1])
def test_solution_is_that_of_the_dense_kkt_system(method, seed):
    problem = random_problem(seed)
    solution = tvlqr(**problem, method=method)
    states, controls, multipliers, cost = dense_solution(**{name: np.asarray(a) for name, a in problem.items()})
    np.testing.assert_allclose(solution.states, states, rtol=0, atol=1e-10)
    np.testing.assert_allclose(solution.controls, controls, rtol=0, atol=1e-10)
    np.testing.assert_allclose(solution.cost, cost, rtol=1e-11)
    costates = jnp.einsum("tij,tj->ti", solution.value_matrices, solution.states) + solution.value_vectors
    np.testing.assert_allclose(costates, multipliers, rtol=0, atol=1e-8)
    policy = solution.offsets - jnp.einsum("tij,tj->ti", solution.gains, solution.states[:-1])
    np.testing.assert_allclose(solution.controls, policy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("T", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(13, marks=pytest.mark.slow)])
def test_parallel_equals_sequential(T):
    problem = random_problem(2, T=T)
    one, other = (tvlqr(**problem, method=method) for method in METHODS)
    for got, wanted in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_gain_tends_to_the_stationary_one(method):
    task = jaxlqr.families.boeing()
    T = 120
    A, B, R = (jnp.broadcast_to(matrix, (T, *matrix.shape)) for matrix in (task.A, task.B, task.R))
    solution = tvlqr(A, B, jnp.broadcast_to(task.Q, (T + 1, 4, 4)), R, jnp.ones(4), method=method)
    np.testing.assert_allclose(solution.gains[0], jaxlqr.optimal_gain(task), rtol=1e-9, atol=1e-10)
    assert np.abs(solution.gains[-1] - solution.gains[0]).max() > 0.1


def outcome(arrays: dict[str, Any], method: Any = "sequential"):
    """A scalar of every part of the solution."""
    solution = tvlqr(**arrays, method=method)
    return solution.cost + jnp.sum(jnp.sin(solution.controls)) + jnp.sum(solution.gains**2)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_derivatives_in_both_modes_and_twice(method):
    problem = random_problem(3, T=3, n=2, m=1)
    check_grads(lambda arrays: outcome(arrays, method), (problem,), order=2)


def test_gradient_is_the_difference_quotient_and_the_same_in_parallel():
    problem = random_problem(3, T=3, n=2, m=1)
    direction = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(float(leaf.size))).reshape(leaf.shape), problem)
    moved = [jax.tree.map(lambda x, d, h=h: x + h * d, problem, direction) for h in (1e-5, -1e-5)]
    gradient = jax.jit(jax.grad(outcome))(problem)
    slope = sum(jnp.vdot(gradient[name], direction[name]) for name in problem)
    np.testing.assert_allclose(slope, (outcome(moved[0]) - outcome(moved[1])) / 2e-5, rtol=1e-7)
    in_parallel = jax.jit(jax.grad(lambda arrays: outcome(arrays, "parallel")))(problem)
    for name, wanted in gradient.items():
        assert float(jnp.abs(wanted).max()) > 1e-3
        np.testing.assert_allclose(in_parallel[name], wanted, rtol=1e-7, atol=1e-9)


def test_derivative_of_the_cost_is_the_costate_and_the_trajectory():
    problem = random_problem(4)
    solution = tvlqr(**problem)
    gradient = jax.grad(lambda arrays: tvlqr(**arrays).cost)(problem)
    np.testing.assert_allclose(gradient["q"], solution.states, rtol=1e-9)
    np.testing.assert_allclose(gradient["r"], solution.controls, rtol=1e-9)
    costate = solution.value_matrices[0] @ problem["x0"] + solution.value_vectors[0]
    np.testing.assert_allclose(gradient["x0"], costate, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_lane_without_a_minimum_is_nan(method):
    good = random_problem(5)
    bad = good | {"R": good["R"].at[3].set(-1e3 * jnp.eye(2))}
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), good, bad)
    solution = jax.vmap(lambda arrays: tvlqr(**arrays, method=method))(both)
    np.testing.assert_allclose(solution.controls[0], tvlqr(**good).controls, rtol=1e-8)
    assert np.all(np.isnan(solution.controls[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: {"A": p["A"][0]}, "broadcast_to"),
        (lambda p: {"Q": p["Q"][1:]}, r"Q must have shape \[T \+ 1, n, n\] = \(8, 3, 3\)"),
        (lambda p: {"x0": p["x0"][:2]}, "x0 must have shape"),
        (lambda p: {"S": p["S"].mT}, "S must have shape"),
        (lambda p: {"method": "fast"}, '"sequential" or "parallel"'),
        (lambda p: {name: p[name][:0] for name in "ABRSrc"} | {name: p[name][:1] for name in "Qq"}, "T = 0"),
    ],
)
def test_bad_input_is_named(change, words):
    problem = random_problem(0)
    with pytest.raises(ValueError, match=words):
        tvlqr(**(problem | change(problem)))


def test_integers_are_refused():
    problem = random_problem(0)
    problem["A"] = jnp.ones((7, 3, 3), int)
    with pytest.raises(TypeError, match="A must have a floating dtype"):
        tvlqr(**problem)
