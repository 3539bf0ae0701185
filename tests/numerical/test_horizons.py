"""Time-varying LQR and decision processes on hostile data: right in 80 digits, or NaN where documented."""

import jax
import numpy as np
from hypothesis import strategies as st

from jaxlqr.mdp import MDP, evaluate, visitation
from jaxlqr.trajectory import tvlqr
from tests.numerical.checks import about, call_beside_sick_lanes, fuzz
from tests.numerical.exact import exact, largest, solve
from tests.numerical.strategies import EPS, TINY, definite, lanes, matrices

T, N, M = 4, 2, 1
UNITS = (0,) * 6 + (-150, 150, -60, 60, -310, -3, 3)
CALM = (0,) * 10 + (-30, -3, 3, -310)


# --- tvlqr ------------------------------------------------------------------------------------------------------------


def horizon(choice):
    """A_t, B_t, Q_t, R_t and x0 of one lane; R may be indefinite."""
    A, B, Q, R, sign, unit, seed = choice
    rng = np.random.default_rng(seed)
    drift = rng.uniform(0.5, 1.5, (T + 1, 1, 1))
    with np.errstate(all="ignore"):
        return (
            A.build(N) * drift[:T],
            B.build(N)[:, :M] * drift[1:],
            Q.build(N, unit) * drift,
            R.build(M, unit) * drift[:T] * sign,
            rng.standard_normal(N),
        )


HORIZONS = lanes(
    matrices(CALM), matrices(CALM), definite(CALM), definite(CALM, deficient=(False,)),
    st.sampled_from((1.0,) * 7 + (0.0, -1e-3, -1.0)), st.sampled_from(UNITS), st.integers(0, 2**16),
)  # fmt: skip


def plan(A, B, Q, R, x0):
    found = tvlqr(A, B, Q, R, x0)
    return found.controls, found.cost, found.gains


def plan_in_parallel(A, B, Q, R, x0):
    found = tvlqr(A, B, Q, R, x0, method="parallel")
    return found.controls, found.cost, found.gains


def condensed(A, B, Q, R, x0):
    """Hessian and gradient of the cost in the controls, and the cost of none, in 80 digits."""
    # Denormal numbers count as zero.
    A, B, Q, R, x0 = (exact(np.where(np.abs(array) < TINY, 0, array)) for array in (A, B, Q, R, x0))
    free, moved = [x0], [exact(np.zeros((N, T * M)))]
    for t in range(T):
        step = A[t] @ moved[-1]
        step[:, t * M : (t + 1) * M] = step[:, t * M : (t + 1) * M] + B[t]
        free.append(A[t] @ free[-1])
        moved.append(step)
    H = exact(np.zeros((T * M, T * M)))
    for t in range(T):
        H[t * M : (t + 1) * M, t * M : (t + 1) * M] = R[t]
    H = H + sum(G.T @ q @ G for G, q in zip(moved, Q, strict=True))
    g = sum(G.T @ q @ x for G, q, x in zip(moved, Q, free, strict=True))
    # What the terms of the gradient would add up to without cancellation.
    size = sum(np.abs(G).T @ np.abs(q) @ np.abs(x) for G, q, x in zip(moved, Q, free, strict=True))
    reach = 1 + sum((largest(x) + largest(G)) ** 2 for G, x in zip(moved, free, strict=True))
    return H, g, sum(x @ q @ x for x, q in zip(free, Q, strict=True)) / 2, size, reach * (1 + largest(Q))


def check_plan(data, found, *, parallel):
    controls, cost, gains = found
    if not all(np.all(np.isfinite(array)) for array in data):
        assert not np.isfinite(cost)
        return
    H, g, constant, sizes, reach = condensed(*data)
    size = largest(H)
    worst = 1.0
    if parallel:
        if np.min(data[3]) <= 1e-290:  # not positive definite, or flushed to zero
            return
        # It inverts R: its digits are those of I + B R^-1 B' Q, docs/numerics.md.
        worst = 1 + float(reach * largest(exact(data[1])) ** 2 / np.min(data[3]))
    if worst > 1e8:
        return
    if size < 1e-280 or size > 1e280:
        return
    scaled = (H / size).astype(float)
    values = np.linalg.eigvalsh((scaled + scaled.T) / 2)
    if values[0] < -1e-6:
        assert np.all(np.isnan(controls)), "no minimum"
        assert np.isnan(cost)
        return
    # Dynamic programming factors H step by step: the smallest pivot must be clear of rounding.
    if values[0] < 1e-6:
        assert np.all(np.isnan(controls)) == bool(np.isnan(cost))
        return
    assert np.all(np.isfinite(controls)), "a strict minimum"
    best = solve(H, -g)
    error = largest(exact(controls.ravel()) - best)
    # What underflows on the way.
    tiny = exact(1e3 * TINY)[()] * reach * (1 + largest(best)) ** 2 / values[0]
    lost = tiny * (1 + 1 / size)
    terms = largest(sizes) / size + largest(best)
    assert error <= 1e4 * EPS * worst / values[0] ** 2 * terms + lost, f"controls off by {float(error / terms):.1e}"
    least = constant + g @ best / 2
    assert abs(exact(cost)[()] - least) <= 1e4 * EPS * worst / values[0] * (constant + abs(g @ best)) + tiny
    assert np.all(np.isfinite(gains))


plans, parallel_plans = jax.jit(jax.vmap(plan)), jax.jit(jax.vmap(plan_in_parallel))


def well(found):
    return np.isfinite(found[1])


@fuzz(2, 90, HORIZONS)
def test_tvlqr(batch):
    data = [np.stack(arrays) for arrays in zip(*map(horizon, batch), strict=True)]
    found = call_beside_sick_lanes(plans, well, *data)
    for i in range(len(batch)):
        with about(batch[i]):
            check_plan([array[i] for array in data], [rows[i] for rows in found], parallel=False)


@fuzz(0, 60, HORIZONS)
def test_tvlqr_in_parallel(batch):
    data = [np.stack(arrays) for arrays in zip(*map(horizon, batch), strict=True)]
    found = call_beside_sick_lanes(parallel_plans, well, *data)
    for i in range(len(batch)):
        with about(batch[i]):
            check_plan([array[i] for array in data], [rows[i] for rows in found], parallel=True)


# --- decision processes -----------------------------------------------------------------------------------------------

S, ACTIONS = 3, 2
GAMMAS = (0.9, 0.5, 1e-300, 1e-8, 0.99, 1 - 1e-6, 1 - 1e-12, 1 - EPS / 2)
ROWS = ("random", "deterministic", "ties", "stay", "tiny")


def distributions(kind, rng, rows):
    """Rows that sum to one."""
    if kind == "random":
        made = rng.dirichlet(np.ones(S), rows)
    elif kind == "deterministic":
        made = np.eye(S)[rng.integers(S, size=rows)]
    elif kind == "ties":
        made = np.full((rows, S), 1 / S)
    elif kind == "stay":
        made = np.eye(S)[np.arange(rows) // ACTIONS % S]
    else:
        made = np.eye(S)[rng.integers(S, size=rows)] + 10.0 ** rng.choice([-17.0, -150.0, -310.0], (rows, S))
    return made / made.sum(axis=1, keepdims=True)


def process(choice):
    """P, r, gamma, zeta and a policy of one lane."""
    kind, policy_kind, gamma, unit, spoilt, seed = choice
    rng = np.random.default_rng(seed)
    P = distributions(kind, rng, S * ACTIONS).reshape(S, ACTIONS, S)
    policy = distributions(policy_kind, rng, S)[:, :ACTIONS] + 1e-3
    policy = policy / policy.sum(axis=1, keepdims=True)
    r = rng.standard_normal((S, ACTIONS)) * float(f"1e{unit}")
    if spoilt != "no":
        r[0, 0] = float(spoilt)
    return P, r, np.asarray(gamma), rng.dirichlet(np.ones(S)), policy


PROCESSES = lanes(
    st.sampled_from(ROWS), st.sampled_from(ROWS), st.sampled_from(GAMMAS), st.sampled_from(UNITS),
    st.sampled_from(("no",) * 12 + ("nan", "inf")), st.integers(0, 2**16),
)  # fmt: skip


def values(P, r, gamma, zeta, policy):
    mdp = MDP(P, r, gamma, zeta)
    found = evaluate(mdp, policy)
    slope = jax.grad(lambda r: evaluate(MDP(P, r, gamma, zeta), policy).J)(r)
    return found.V, found.Q, found.J, visitation(mdp, policy), slope


evaluated = jax.jit(jax.vmap(values))


@fuzz(2, 90, PROCESSES)
def test_decision_processes(batch):
    data = [np.stack(arrays) for arrays in zip(*map(process, batch), strict=True)]
    found = call_beside_sick_lanes(evaluated, lambda found: np.isfinite(found[2]), *data)
    for i in range(len(batch)):
        with about(batch[i]):
            P, r, gamma, zeta, policy = (array[i] for array in data)
            V, Q, J, measure, slope = (rows[i] for rows in found)
            if not np.all(np.isfinite(r)):
                assert not np.isfinite(J)
                continue
            if np.isnan(V).any():  # gamma is one to rounding, and rows were exchanged
                assert gamma > 1 - 1e-8
                assert np.isnan(V).all()
                continue
            check_values(P, r, gamma, zeta, policy, V, Q, J, measure, slope)


def check_values(P, r, gamma, zeta, policy, V, Q, J, measure, slope):
    P, r, gamma, zeta, policy = (exact(array) for array in (P, r, gamma, zeta, policy))
    gamma = gamma[()]
    induced = sum(policy[:, [a]] * P[:, a] for a in range(ACTIONS))
    matrix = exact(np.eye(S)) - gamma * induced
    rewards = (1 - gamma) * r
    right = sum(policy[:, a] * rewards[:, a] for a in range(ACTIONS))
    # (1 - gamma) times the resolvent sums to one: the error is that of I - gamma P, relative to 1 - gamma.
    slack = 100 * EPS / (1 - gamma)
    if slack > 10:  # gamma is one to rounding: no digit is left, docs/numerics.md
        return
    truth = solve(matrix, right)
    assert largest(exact(V) - truth) <= slack * largest(r) + TINY / (1 - gamma) * 100, "V"
    action_values = rewards + gamma * sum(P[:, :, t] * truth[t] for t in range(S))
    assert largest(exact(Q) - action_values) <= slack * largest(r) + TINY / (1 - gamma) * 100, "Q"
    assert abs(exact(J)[()] - zeta @ truth) <= slack * largest(r) + TINY / (1 - gamma) * 100, "J"
    states = (1 - gamma) * solve(matrix.T, zeta)
    for name, array in (("visitation", measure), ("gradient in the rewards", slope)):
        assert largest(exact(array) - states[:, None] * policy) <= slack, name
