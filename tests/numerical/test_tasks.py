"""Costs, derivatives, gains and learners on hostile tasks: never NaN where a value is due, and right in 80 digits."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import jaxlqr
from jaxlqr import LQRTask, SolveStatus
from jaxlqr.lqr.cost import closed_loop
from tests.numerical.checks import about, call, call_beside_sick_lanes, fuzz
from tests.numerical.exact import cost_and_gradient, exact, hessian_vector_product, largest
from tests.numerical.strategies import EPS, TINY, definite, lanes, matrices

N, M = 3, 2
SMALL = (0,) * 10 + (-310, -30, 30, -3, 3, 8)
UNITS = (0,) * 6 + (-140, 140, -60, 60, -3, 3)


class Lane(NamedTuple):
    """One task, a gain and a direction, as NumPy arrays."""

    K: np.ndarray
    X: np.ndarray
    A: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    Sigma0: np.ndarray

    def task(self):
        return self[2:]

    def finite(self):
        return all(np.all(np.isfinite(array)) for array in self)


def build(choice, n=N, m=M) -> Lane:
    """A task whose closed loop is the chosen matrix, up to the rounding of A = closed + B K."""
    closed, B, gain, Q, R, Sigma0, unit = choice
    rng = np.random.default_rng(gain)
    K, X = rng.standard_normal((2, m, n)) * (10.0 ** rng.integers(-2, 2))
    b = B.build(n)[:, :m]
    with np.errstate(all="ignore"):
        return Lane(K, X, closed.build(n) + b @ K, b, Q.build(n, unit), R.build(m, unit), Sigma0.build(n))


def choices():
    return lanes(
        matrices(SMALL), matrices((0, 0, 0, -30, 3, -310)), st.integers(0, 2**16), definite(SMALL), definite(SMALL),
        definite(SMALL), st.sampled_from(UNITS),
    )  # fmt: skip


def stacked(batch):
    return [np.stack(arrays) for arrays in zip(*map(build, batch), strict=True)]


class Judged(NamedTuple):
    """What 80 digits and NumPy's eigenvalues say of a lane."""

    stable: bool | None  # None: within rounding of the boundary
    amplified: float  # eps times what rounding of the inputs is amplified by, relative to the Gramians


def judge(lane: Lane) -> Judged:
    with np.errstate(all="ignore"):
        a = lane.A - lane.B @ lane.K
        # A - B K loses digits by cancellation before anything begins.
        size = 1 + (np.linalg.norm(lane.A) + np.linalg.norm(lane.B) * np.linalg.norm(lane.K)) ** 2
    if not np.isfinite(size) or size > 1e60:
        return Judged(None, np.inf)
    operator = np.eye(len(a) ** 2) - np.kron(a, a)
    gap = np.linalg.svd(operator, compute_uv=False)[-1]
    amplified = 1e3 * EPS * size / gap if gap > 0 else np.inf
    radius = np.max(np.abs(np.linalg.eigvals(a)))
    return Judged(None if amplified > 0.1 else bool(radius < 1), float(amplified))


def evaluate(K, X, *arrays):
    task = LQRTask(*arrays)
    value, slope = jax.value_and_grad(jaxlqr.cost)(K, task)
    return {
        "cost": value,
        "gradient": slope,
        "product": jaxlqr.hessian_vector_product(K, X, task),
        "closed gradient": jaxlqr.closed_form.gradient(K, task),
        "closed product": jaxlqr.closed_form.hessian_vector_product(K, X, task),
        "stable": jaxlqr.is_stabilizing(K, task),
        "radius": jaxlqr.spectral_radius(K, task),
    }


evaluated = jax.jit(jax.vmap(evaluate))


def check_cost(lane: Lane, found) -> None:
    """Hold value and derivatives of one lane against the truth."""
    if not lane.finite():
        assert not np.isfinite(found["cost"])
        assert not found["stable"]
        return
    assert not np.isnan(found["cost"]), "a cost is +inf or a number"
    judged = judge(lane)
    if judged.stable is None:
        return
    assert bool(found["stable"]) == judged.stable, f"is_stabilizing says {found['stable']}, radius {found['radius']}"
    if not judged.stable:
        assert found["cost"] == np.inf
        assert np.all(np.isnan(found["gradient"]))
        return
    K, X, A, B, Q, R, Sigma0 = map(exact, lane)
    J, gradient, P, Sigma = cost_and_gradient(K, A, B, Q, R, Sigma0)
    a = A - B @ K
    tiny = exact(TINY)[()] * (1 + largest(P) + largest(Sigma)) / EPS
    both, slack = largest(P) * largest(Sigma), exact(judged.amplified)[()]
    size = (1 + largest(A) + largest(B) * largest(K)) * (1 + largest(B)) * (1 + largest(X))
    if max(both, both * size**2) > 1e300:
        return  # in the range of overflow
    # Sums are as exact as their largest terms: tr(P Sigma0), and 2 (R K - B'P A_K) Sigma.
    assert abs(exact(found["cost"])[()] - J) <= slack * largest(P) * largest(Sigma0) + tiny, "cost"
    terms = (largest(R @ K) + largest(B.T @ P @ a) + largest(B) * largest(P) * largest(a)) * largest(Sigma)
    for name in ("gradient", "closed gradient"):
        assert largest(exact(found[name]) - gradient) <= slack * (terms + both * size) + tiny * size, name
    product = hessian_vector_product(K, X, A, B, Q, R, Sigma0)
    # The second derivative solves once more with the same operator.
    again = slack * (largest(product) + (terms + both * size) * size * exact(judged.amplified / EPS)[()])
    for name in ("product", "closed product"):
        assert largest(exact(found[name]) - product) <= again + tiny * size**2, name


@fuzz(2, 200, choices())
def test_cost_and_its_derivatives(batch):
    arrays = stacked(batch)
    found = call_beside_sick_lanes(evaluated, lambda found: np.isfinite(found["cost"]), *arrays)
    for i in range(len(batch)):
        with about(batch[i]):
            check_cost(Lane(*(array[i] for array in arrays)), {name: rows[i] for name, rows in found.items()})


def optimum(*arrays):
    task = LQRTask(*arrays)
    K = jaxlqr.optimal_gain(task)
    return {
        "gain": K,
        "cost": jaxlqr.cost(K, task),
        "least": jaxlqr.optimal_cost(task),
        "gradient": jax.grad(jaxlqr.cost)(K, task),
        "closed": closed_loop(K, task),
        "change": jaxlqr.closed_form.cost_change(K, 1.01 * K, task),
    }


optima = jax.jit(jax.vmap(optimum))


@fuzz(0, 80, choices())
def test_optimal_gains(batch):
    arrays = stacked(batch)[2:]
    found = call_beside_sick_lanes(optima, lambda found: np.isfinite(found["cost"]), *arrays)
    for i in range(len(batch)):
        with about(batch[i]):
            lane = {name: rows[i] for name, rows in found.items()}
            if np.any(np.isnan(lane["gain"])):
                assert np.all(np.isnan(lane["gain"]))
                assert np.isnan(lane["least"])
                continue
            # A gain was found: it stabilises, has the least cost, and moving it costs more.
            assert np.isfinite(lane["cost"]) or np.max(np.abs(np.linalg.eigvals(lane["closed"]))) > 1 - 1e-6
            if np.max(np.abs(np.linalg.eigvals(lane["closed"]))) < 1 - 1e-6 and lane["least"] > 1e-280:
                Sigma0, P_size = arrays[4][i], lane["least"]
                if np.linalg.eigvalsh(Sigma0)[0] > 1e-3 * np.max(np.abs(Sigma0)):
                    # Both are as exact as the closed loop allows, which A of a norm of 3e5 leaves five digits.
                    slack = 1e-6 + judge(Lane(lane["gain"], lane["gain"], *(array[i] for array in arrays))).amplified
                    if slack < 0.1:
                        np.testing.assert_allclose(lane["cost"], P_size, rtol=slack)
                        assert not lane["change"] < -slack * P_size


def meta(K, *arrays):
    tasks = LQRTask(*arrays)
    return jaxlqr.maml_loss(jaxlqr.cost, K, tasks, inner_step_size=1e-3), jaxlqr.maml_gradient(
        jaxlqr.cost, K, tasks, inner_step_size=1e-3
    )


meta_gradients = jax.jit(jax.vmap(meta))


def meta_truth(K, tasks, step):
    """The mean over tasks of (1 - step H(K)) g(K - step g(K)), in 80 digits; None where it is not sharp."""
    total = exact(np.zeros(K.shape))
    size = 0
    for task in tasks:
        first = cost_and_gradient(exact(K), *task)[1]
        moved = exact(K) - exact(step)[()] * first
        lane = Lane(moved.astype(float), K, *(array.astype(float) for array in task))
        judged = judge(lane)
        if judged.stable is None or not judged.stable or judged.amplified > 1e-4:
            return None
        then = cost_and_gradient(moved, *task)[1]
        curved = hessian_vector_product(exact(K), then, *task)
        total = total + then - exact(step)[()] * curved
        size = max(size, largest(then), largest(curved), largest(first))
    return total / len(tasks), size


@fuzz(0, 40, choices())
def test_meta_gradients(batch):
    built = [build(choice) for choice in batch]
    # Families of two: each lane with the next, both with the closed loop of a gain of its own; one gain for the two.
    pairs = [(built[i], built[i + 1]) for i in range(0, len(built), 2)]
    with np.errstate(all="ignore"):
        pairs = [(one, other._replace(A=other.A - other.B @ (other.K - one.K), K=one.K)) for one, other in pairs]
    K = np.stack([one.K for one, _ in pairs])
    tasks = [zip(one.task(), other.task(), strict=True) for one, other in pairs]
    arrays = [np.stack(rows) for rows in zip(*([np.stack(two) for two in task] for task in tasks), strict=True)]
    value, gradient = call_beside_sick_lanes(meta_gradients, lambda found: np.isfinite(found[0]), K, *arrays)
    for i, pair in enumerate(pairs):
        with about(batch[2 * i : 2 * i + 2]):
            if not all(lane.finite() for lane in pair):
                assert not np.isfinite(value[i])
                continue
            judged = [judge(lane) for lane in pair]
            if any(one.stable is None for one in judged):
                continue
            if not all(one.stable for one in judged):
                assert not np.isfinite(value[i])
                continue
            if max(one.amplified for one in judged) > 1e-4:
                continue
            truth = meta_truth(K[i], [list(map(exact, lane.task())) for lane in pair], 1e-3)
            if truth is None or not 1e-200 < truth[1] < 1e200:
                continue
            amplified = max(one.amplified for one in judged) ** 2 / EPS
            assert largest(exact(gradient[i]) - truth[0]) <= 1e3 * max(amplified, EPS) * truth[1]


costs = jax.jit(jax.vmap(lambda K, *arrays: jaxlqr.cost(K, LQRTask(*arrays))))


def descend(K, *arrays):
    arguments = {"num_steps": 3, "step_size": 1e-3, "batched": True}
    arguments |= {"output": jaxlqr.Output(progress=False), "guard": jaxlqr.Guard(strict=False)}
    result = jaxlqr.policy_gradient(jaxlqr.cost, jnp.asarray(K), LQRTask(*map(jnp.asarray, arrays)), **arguments)
    return {
        "status": result.status,
        "params": result.params,
        "loss": result.history["loss"],
        "norm": result.history["gradient_norm"],
    }


@fuzz(0, 40, choices())
def test_policy_gradient(batch):
    arrays = stacked(batch)
    del arrays[1]
    start = call(costs, *arrays)
    found = call_beside_sick_lanes(descend, lambda _: np.isfinite(start), *arrays)
    assert np.isin(
        found["status"], [SolveStatus.COMPLETED, SolveStatus.STALLED]
    ).all()  # the safeguard lets none diverge
    assert np.isfinite(found["loss"][np.isfinite(start)]).all()
    for i in range(len(batch)):
        with about(batch[i]):
            if not np.isfinite(start[i]):
                assert found["status"][i] == SolveStatus.STALLED
                np.testing.assert_array_equal(found["params"][i], arrays[0][i])
