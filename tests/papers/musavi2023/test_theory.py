"""Every inequality of musavi2023, Lemmas 1 to 4 and Theorem 1, on random instances: corrected they all hold."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.papers.musavi2023 import theory
from jaxlqr.papers.musavi2023.theory.instances import near_the_boundary, random_instances
from jaxlqr.papers.musavi2023.theory.limits import condition_1_inner, outer_limits
from jaxlqr.papers.musavi2023.theory.margins import FRACTIONS, random_margins
from jaxlqr.papers.musavi2023.theory.statements import STATEMENTS, table

SIZES = [(1, 1), pytest.param((2, 1), marks=pytest.mark.slow), pytest.param((4, 2), marks=pytest.mark.slow)]
CORRECTED, PRINTED = (
    [name for name, row in STATEMENTS.items() if row.kind == kind] for kind in ("corrected", "printed")
)

# At n = 4 the smoothness constant is so large that steps as long as those of the last row are rare.
VIOLATED = [
    pytest.param(name, size, id=f"{name}-{size}", marks=[] if size == (1, 1) else pytest.mark.slow)
    for size in ((1, 1), (2, 1), (4, 2))
    for name in PRINTED
    if (name, size) != ("printed_validity", (4, 2))
]


@cache
def ratios(n: int, m: int) -> dict[str, np.ndarray]:
    return random_margins(7, n, m, 24)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CORRECTED)
def test_inequality_holds(name, size):
    """The ratio of the sides, over all instances, tasks and moves, is at most what the statement allows."""
    ratio = ratios(*size)[name]
    assert np.all(np.isfinite(ratio))
    assert np.max(ratio) <= STATEMENTS[name].limit


@pytest.mark.parametrize(("name", "size"), VIOLATED)
def test_printed_statement_is_violated(name, size):
    """Errata M1, M2, M3, M5 and M6: on several instances, and by a clear margin."""
    limit = STATEMENTS[name].limit
    worst = ratios(*size)[name].reshape(24, -1).max(axis=1)
    assert np.sum(worst > limit) >= 2
    assert np.max(worst) > (1e-3 if name == "printed_H" else limit + 0.1)


@pytest.mark.parametrize("name", ["theta", "ell", "H", "rho", "lemma_4", "descent"])
def test_no_constant_is_absurdly_large(name):
    """A bound that were infinite would pass the test above: the best case of each is within five orders."""
    assert np.max(ratios(1, 1)[name]) > 1e-5


def test_margins_are_left_over_right_sides():
    """A few of them by hand, in NumPy, from the closed form of a scalar task."""
    K, tasks = random_instances(7, 1, 1, 24)
    a, b, q, r, s = (np.asarray(x).squeeze((-1, -2)) for x in (tasks.A, tasks.B, tasks.Q, tasks.R, tasks.Sigma0))
    k = np.asarray(K).reshape(24, 1)

    def value(k):
        return s * (q + r * k**2) / (1 - (a - b * k) ** 2)

    radius = q * s / (4 * value(k) * np.abs(b) * (np.abs(a - b * k) + 1))
    sign = np.sign(np.random.default_rng([7, 1]).standard_normal((len(FRACTIONS), 1, 1)).ravel()[3])
    assert FRACTIONS[3] == 0.7
    moved = k + 0.7 * radius * sign
    theta = np.asarray(jax.vmap(jax.vmap(theory.smoothness, (None, 0)))(K, tasks).theta)
    np.testing.assert_allclose(
        ratios(1, 1)["theta"][:, :, 3], np.abs(value(moved) - value(k)) / (s * theta * 0.7 * radius), rtol=1e-6
    )
    np.testing.assert_allclose(ratios(1, 1)["delta"][:, :, 3], np.abs(a - b * moved), rtol=1e-9)


def test_gains_near_the_boundary_stabilise_and_barely_do():
    K, tasks = random_instances(3, 2, 1, 6)
    directions = jnp.asarray(np.random.default_rng(0).standard_normal((4, 1, 2)))
    edge = np.asarray(near_the_boundary(K, tasks, directions))
    radius = np.abs(np.linalg.eigvals(np.asarray(tasks.A)[:, :1] - np.asarray(tasks.B)[:, :1] @ edge)).max(-1)
    assert np.all((radius < 1) & (radius > 0.999))


def test_the_table_tells_largest_and_violated():
    rows = {row["name"]: row for row in table(ratios(1, 1))}
    assert list(rows) == list(STATEMENTS)
    assert rows["ell"]["violated"] == 0
    assert rows["printed_ell"]["violated"] > 0.9
    assert rows["ell"]["largest"] == np.max(ratios(1, 1)["ell"])
    assert rows["printed_riccati"]["instances"] == 24


def test_condition_1_as_printed_may_step_beyond_where_its_constant_holds():
    """Erratum M6: b / L passes the printed limit and exceeds the radius of Lemma 4, for some instances by a factor."""
    ratio = ratios(1, 1)["printed_validity"]
    assert np.max(ratio[ratios(1, 1)["room"] < 1]) > 1.5
    assert np.mean(ratio > 1) < 0.5  # for most it does not matter


def alternating(tasks, start, fractions, num_steps):
    """Gradient norms of Algorithm 1 where the inner step alternates between fractions of the limit of Condition 1."""

    def step(K, fraction):
        eta = fraction * condition_1_inner(K, tasks, 0.5)
        gradient = jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=eta)
        limits = outer_limits(K, tasks, eta, gradient, 0.5)
        allowed = 0.9 / limits.smoothness < jnp.minimum(limits.stability, limits.validity)
        move = 0.7 / limits.smoothness * gradient
        return K - move, (jnp.abs(gradient[0, 0]), allowed, move[0, 0])

    return jax.lax.scan(step, start, jnp.resize(jnp.asarray(fractions), num_steps))[1]


def test_theorem_1_needs_one_inner_step_for_all_iterations():
    """Erratum M8: Condition 1 allows an inner step that alternates, and then the gradient does not tend to zero.

    Each inner step has an objective of its own. Between their minimisers lies a gain where the two steps cancel.
    """
    tasks, fractions = scalar(a=0.9, q=[0.5, 5.0]), (0.1, 0.9)
    run = jax.jit(alternating, static_argnums=(2, 3))
    low, high = 0.3, 0.9
    for _ in range(40):  # the sum of the first two moves changes its sign
        middle = (low + high) / 2
        total = float(jnp.sum(run(tasks, jnp.array([[middle]]), fractions, 2)[2]))
        low, high = (middle, high) if total < 0 else (low, middle)
    start = jnp.array([[low]])
    norms, allowed, _ = map(np.asarray, run(tasks, start, fractions, 3000))
    assert allowed.all()
    assert norms.min() > 0.9 * norms[0] > 1e-3
    fixed, _, _ = map(np.asarray, run(tasks, start, (0.9,), 3000))
    assert fixed[-1] < 1e-2 * fixed[0]


def test_the_iterations_of_theorem_1_are_enough():
    """With a fixed inner step, and the largest L on the way for its constants; and they grow as 1 / epsilon^2."""
    tasks, start, eta = scalar(a=0.9, q=[0.5, 5.0]), jnp.array([[0.5]]), 1e-3

    def step(K, _):
        value, gradient = jax.value_and_grad(lambda K: jaxlqr.maml_loss(scalar_cost, K, tasks, inner_step_size=eta))(K)
        limits = outer_limits(K, tasks, eta, gradient, 0.5)
        allowed = (eta < condition_1_inner(K, tasks, 0.5)) & (0.9 / limits.smoothness < limits.stability)
        allowed &= 0.9 / limits.smoothness < limits.validity
        return K - 0.7 / limits.smoothness * gradient, (jnp.abs(gradient[0, 0]), limits.smoothness, allowed, value)

    norms, bounds, allowed, values = map(np.asarray, jax.jit(lambda K: jax.lax.scan(step, K, None, 3000)[1])(start))
    assert allowed.all()
    assert norms[-1] < 1e-3 * norms[0]
    for share in (0.5, 0.1, 0.01):
        taken = int(np.argmax(norms <= share * norms[0]))
        promised = float(theory.iteration_bound(values[0] - values[-1], bounds[:taken].max(), share * norms[0]))
        assert 0 < taken <= promised


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
    assert float(theory.delta(K, jax.tree.map(lambda leaf: leaf[0], tasks))) == 0


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


@pytest.mark.parametrize(
    ("gain", "options", "message"),
    [
        (5.0, {}, r"does not stabilise 2 of 2 .*task 0: 4.1000, task 1: 4.1000"),
        (0.5, {"inner_step_size": 0.0}, "inner_step_size must be positive, got 0.0"),
        (0.5, {"inner_step_size": -1e-3}, "inner_step_size must be positive, got -0.001"),
    ],
)
def test_inputs_of_condition_1_are_checked(gain, options, message):
    tasks = scalar(a=0.9, q=[1.0, 2.0])
    with pytest.raises(ValueError, match=message):
        theory.condition_1(jnp.array([[gain]]), tasks, **options)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 2), (4, 2)], ids=str)
def test_certified_runs_never_leave_the_stabilising_set(size):
    """200 random task sets, 50 of each size, also nearly uncontrollable ones, without the safeguard.

    The meta-gradient is finite only where the adapted gains stabilise, too.
    """
    K, tasks = random_instances(11, *size, 50, controllable=0.0)
    result = jaxlqr.meta_train(
        jaxlqr.cost,
        K,
        tasks,
        num_steps=200,
        step_rule=theory.CertifiedSteps(),
        batched=True,
        guard=None,
        output=jaxlqr.Output(progress=False),
    )
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    assert np.all(np.asarray(result.status) == jaxlqr.SolveStatus.COMPLETED)
    assert history["feasible"].all()
    assert np.all(history["inner_fraction"] == 1)
    assert np.all(np.isfinite(history["gradient_norm"]))
    assert np.all(history["outer_step"] > 0)
