"""Every inequality of musavi2023, Lemmas 1 to 4 and Theorem 1, on random instances, with the margin it holds by."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import scalar
from jaxlqr.lqr import LQRTask
from jaxlqr.theory import musavi2023 as theory

NUM_INSTANCES, NUM_MOVES, NUM_TASKS = 24, 8, 3
SIZES = [(2, 1), pytest.param((4, 2), marks=pytest.mark.slow)]


def definite(rng, *shape):
    root = rng.standard_normal(shape)
    return root @ np.swapaxes(root, -1, -2) / shape[-1] + 0.3 * np.eye(shape[-1])


def instances(seed: int, n: int, m: int, count: int = NUM_INSTANCES) -> tuple[jax.Array, LQRTask]:
    """Gains [count, m, n] that stabilise all tasks [count, NUM_TASKS], which share A, B and Sigma0; not optimal."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((count, 1, n, n))
    A *= rng.uniform(0.5, 1.3, (count, 1, 1, 1)) / np.abs(np.linalg.eigvals(A)).max(-1)[..., None, None]
    B = rng.standard_normal((count, 1, n, m))
    Q, R = definite(rng, count, NUM_TASKS, n, n), definite(rng, count, NUM_TASKS, m, m)
    Sigma0 = definite(rng, count, 1, n, n)
    parts = (A, B, Q, R, Sigma0)
    tasks = LQRTask(*(jnp.asarray(np.broadcast_to(x, (count, NUM_TASKS, *x.shape[2:]))) for x in parts))
    one = jax.tree.map(lambda leaf: leaf[:, 0], tasks)
    optimal = np.asarray(jax.jit(jax.vmap(jaxlqr.optimal_gain))(one))
    direction = rng.standard_normal(optimal.shape)
    # The largest step along a random direction, among its halvings, that keeps away from the boundary.
    trials = optimal[:, None] + 0.5 ** np.arange(10.0)[:, None, None] * direction[:, None]
    radius = np.abs(np.linalg.eigvals(A - B @ trials)).max(-1)
    return jnp.asarray(trials[np.arange(count), np.argmax(radius < 0.97, axis=1)]), tasks


def largest(matrix):
    return jnp.linalg.norm(matrix, 2, axis=(-2, -1))


def _ratios(K, tasks, directions, fractions):
    """Left over right side of every inequality at one gain, each [moves, tasks] or [moves]."""
    directions = directions / largest(directions)[:, None, None]

    def one(task):
        radius, bar, constants = theory.delta(K, task), theory.delta_bar(K, task), theory.smoothness(K, task)
        gradient, hessian = jax.grad(jaxlqr.cost), jax.hessian(jaxlqr.cost)
        value, slope, curvature = jaxlqr.cost(K, task), gradient(K, task), hessian(K, task).reshape(K.size, K.size)

        def move(direction, fraction):
            U, distance = K + fraction * radius * direction, fraction * radius
            far = K + fraction * bar * direction
            change = largest(hessian(U, task).reshape(K.size, K.size) - curvature)
            return {
                "stable within delta": 1 / jaxlqr.is_stabilizing(U, task),
                "stable within delta_bar": 1 / jaxlqr.is_stabilizing(far, task),
                "theta": jnp.abs(jaxlqr.cost(U, task) - value) / (jnp.trace(task.Sigma0) * constants.theta * distance),
                "ell": largest(gradient(U, task) - slope) / (constants.ell * distance),
                "hessian": largest(curvature) / constants.ell,
                "rho": change / (constants.rho * jnp.linalg.norm(U - K)),
            }

        return jax.vmap(move)(directions, fractions)

    eta = 0.999 * theory.inner_step_limit(K, tasks)
    bound, reach = theory.meta_smoothness(K, tasks, eta), theory.meta_smoothness_radius(K, tasks, eta)
    meta = lambda gain: jaxlqr.maml_gradient(jaxlqr.cost, gain, tasks, eta)  # noqa: E731
    here = meta(K)

    def move(direction, fraction):
        U = K + fraction * reach * direction
        return jnp.linalg.norm(meta(U) - here) / (bound * jnp.linalg.norm(U - K))

    limits = theory.condition_1(K, tasks)
    step = (limits.outer_low + limits.outer_high) / 2
    objective = lambda gain: jaxlqr.maml_loss(jaxlqr.cost, gain, tasks, limits.inner_step)  # noqa: E731
    # Theorem 1 from the descent lemma: F falls by at least (2 a - b^2) / (2 L) |grad F|^2, and a / L = outer_low.
    promised = (2 * 0.5 - 0.9**2) / 2 * limits.outer_low / 0.5 * jnp.sum(limits.gradient**2)
    fall = objective(K) - objective(K - step * limits.gradient)
    return jax.vmap(one)(tasks) | {
        "lemma 1": 1 / jnp.isfinite(jaxlqr.maml_loss(jaxlqr.cost, K, tasks, eta)),
        "lemma 4": jax.vmap(move)(directions, fractions),
        "descent": promised / fall,
        "condition 1 leaves room": 1 / limits.satisfied,
        "condition 1 is valid": limits.outer_high / limits.validity_limit,
        "delta below delta_bar": 2 * theory.delta(K, first(tasks)) / theory.delta_bar(K, first(tasks)),
    }


def first(tasks):
    return jax.tree.map(lambda leaf: leaf[0], tasks)


@cache
def ratios(n: int, m: int) -> dict[str, np.ndarray]:
    K, tasks = instances(7, n, m)
    rng = np.random.default_rng(8)
    directions = jnp.asarray(rng.standard_normal((NUM_MOVES, m, n)))
    fractions = jnp.asarray([0.999, 0.999, 0.999, 0.7, 0.5, 0.2, 0.05, 0.01])
    found = jax.jit(jax.vmap(_ratios, (0, 0, None, None)))(K, tasks, directions, fractions)
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "name",
    ["stable within delta", "stable within delta_bar", "theta", "ell", "hessian", "rho", "lemma 1", "lemma 4",
     "descent", "condition 1 leaves room", "delta below delta_bar"],
)  # fmt: skip
def test_inequality_holds(name, size):
    """The ratio of the sides, over all instances and moves, is at most one."""
    ratio = ratios(*size)[name]
    assert np.all(np.isfinite(ratio))
    assert np.max(ratio) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["theta", "ell", "hessian", "rho", "lemma 4"])
def test_no_constant_is_absurdly_large(name):
    """A bound that were infinite would pass the test above: the best case of each is within five orders."""
    assert np.max(ratios(2, 1)[name]) > 1e-5


def test_condition_1_as_printed_may_step_beyond_where_its_constant_holds():
    """Erratum M6: b / L passes the printed limit and exceeds the radius of Lemma 4, for some instances by a factor."""
    ratio = ratios(2, 1)["condition 1 is valid"]
    assert np.all(ratios(2, 1)["condition 1 leaves room"] == 1)
    assert np.max(ratio) > 1.5
    assert np.mean(ratio > 1) < 0.5  # for most it does not matter


def test_constants_depend_on_the_ball_and_not_on_stability_alone():
    """Erratum M5: printed, Lemma 2 speaks of any two stabilising gains; near the boundary the cost is unbounded."""
    task = jaxlqr.make_task([[0.9]], [[1.0]])
    K, U = jnp.array([[0.5]]), jnp.array([[1.9 - 1e-7]])  # the boundary is 1.9
    constants = theory.smoothness(K, task)
    distance = float(jnp.abs(U - K)[0, 0])
    assert bool(jaxlqr.is_stabilizing(U, task))
    assert distance > float(theory.delta(K, task))
    assert float(jaxlqr.cost(U, task) - jaxlqr.cost(K, task)) > 1e3 * float(constants.theta) * distance


def test_limits_vanish_where_a_gain_does_not_stabilise():
    tasks = scalar(a=[0.9, 1.2])
    K = jnp.array([[2.05]])  # stabilises the second task only
    assert float(theory.inner_step_limit(K, tasks)) == 0
    assert float(theory.delta(K, first(tasks))) == 0


def test_delta_has_its_closed_form():
    task = jaxlqr.make_task([[0.9]], [[2.0]], [[1.5]], [[0.7]], [[0.4]])
    K = jnp.array([[0.3]])
    cost = float(jaxlqr.cost(K, task))
    assert float(theory.delta(K, task)) == pytest.approx(1.5 * 0.4 / (4 * cost * 2 * (0.3 + 1)), rel=1e-12)
    expected = (np.sqrt(0.3**2 + 1.5 * 0.4 / cost) - 0.3) / 2
    assert float(theory.delta_bar(K, task)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"alpha": 1.0}, {"a": 0.3, "b": 0.9}, {"a": 0.9, "b": 0.5}])
def test_parameters_of_condition_1_are_checked(bad):
    with pytest.raises(ValueError, match=r"alpha must lie|a and b must satisfy"):
        theory.CertifiedSteps(**bad)


def test_tasks_without_common_dynamics_are_refused():
    tasks, K = scalar(a=[0.9, 1.0]), jnp.array([[0.5]])
    with pytest.raises(ValueError, match=r"common dynamics, but A of task 1 differs from that of task 0 by 0\.1"):
        theory.condition_1(K, tasks)
    with pytest.raises(ValueError, match="common dynamics"):
        jaxlqr.meta_train(jaxlqr.cost, K, tasks, num_steps=1, step_rule=theory.CertifiedSteps())


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 2), (4, 2)], ids=str)
def test_certified_runs_never_leave_the_stabilising_set(size):
    """200 random task sets, 50 of each size, without the safeguard."""
    K, tasks = instances(11, *size, count=50)
    result = jaxlqr.meta_train(
        jaxlqr.cost,
        K,
        tasks,
        num_steps=15,
        step_rule=theory.CertifiedSteps(),
        safeguard=False,
        batched=True,
        progress=False,
    )
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    assert np.all(np.asarray(result.status) == jaxlqr.Status.COMPLETED)
    assert history["feasible"].all()
    assert np.all(history["inner_fraction"] == 1)
    assert np.all(np.isfinite(history["gradient_norm"]))
    assert np.all(history["outer_step"] > 0)
