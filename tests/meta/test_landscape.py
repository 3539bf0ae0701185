"""The landscape of the meta-objective: values, all stationary points in an interval, and certificates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.meta import landscape
from jaxlqr.meta.landscape import Kind, objective

GRID = np.linspace(-0.1, 2.1, 1001).reshape(-1, 1, 1)
STEP = 0.08


def quadratic(params, task):
    """(x - t)' H (x - t) / 2."""
    target, hessian = task
    return (params - target) @ hessian @ (params - target) / 2


def quadratic_task(n: int = 3):
    root = np.random.default_rng(0).standard_normal((n, n))
    return jnp.arange(1.0, n + 1)[None], jnp.asarray(root @ root.T / n + np.eye(n))[None]


def test_values_are_those_of_the_maml_loss_and_infinite_elsewhere():
    tasks = scalar(a=[1.0, 0.9, 1.1], q=[1.0, 2.0, 0.5])
    values = np.asarray(landscape.evaluate(jaxlqr.cost, GRID[::50], tasks, STEP, max_points=4))
    each = np.asarray(landscape.evaluate(scalar_cost, GRID[::50], tasks, STEP, per_task=True))
    expected = np.array(
        [float(jaxlqr.maml_loss(scalar_cost, k, tasks, inner_step_size=STEP)) for k in jnp.asarray(GRID[::50])]
    )
    inside = np.isfinite(expected)
    assert 5 < inside.sum() < len(values) - 5
    np.testing.assert_array_equal(np.isfinite(values), inside)
    np.testing.assert_allclose(values[inside], expected[inside], rtol=1e-12)
    np.testing.assert_allclose(each[inside].mean(axis=1), expected[inside], rtol=1e-12)


def test_a_gain_that_does_not_stabilise_is_infinite_even_if_its_adaptation_does():
    def odd(params, task):  # infeasible for x < 0, though its gradient step leads to where it is feasible
        return jnp.where(params < 0, jnp.inf, 0.0) + (params - 1) ** 2 + 0 * task

    values = landscape.evaluate(odd, jnp.array([-0.1, 0.1]), jnp.zeros(1), 0.25)
    assert values.tolist() == [float("inf"), pytest.approx((0.45) ** 2)]


@pytest.mark.parametrize("max_points", [1, 7, 1000])
def test_chunks_do_not_change_the_values(max_points):
    tasks = scalar(a=[1.0, 0.9])
    grid = GRID[::40]
    np.testing.assert_allclose(
        landscape.evaluate(scalar_cost, grid, tasks, STEP, max_points=max_points),
        landscape.evaluate(scalar_cost, grid, tasks, STEP),
        rtol=1e-14,
    )


@pytest.mark.parametrize("step", [0.05, 0.08, 0.12])
def test_one_scalar_task_has_three_minima_of_equal_value(step):
    """Between them lie two maxima; the middle minimum is the optimum and the outer ones adapt to it."""
    task = scalar(a=1.0)
    found = landscape.stationary_points(scalar_cost, GRID, task, step)
    assert [Kind(kind) for kind in found.kinds] == [Kind.MINIMUM, Kind.MAXIMUM] * 2 + [Kind.MINIMUM]
    gains = jnp.asarray(found.params[found.minima])
    single = jax.tree.map(lambda leaf: leaf[0], task)
    best = float(jaxlqr.optimal_gain(single)[0, 0])
    adapted = gains - step * jax.vmap(lambda k: jax.grad(scalar_cost)(k, single))(gains)
    np.testing.assert_allclose(adapted.ravel(), best, atol=1e-10)
    assert gains[1, 0, 0] == pytest.approx(best, abs=1e-10)
    np.testing.assert_allclose(found.values[found.minima], float(jaxlqr.optimal_cost(single)), rtol=1e-12)
    assert landscape.is_epsilon_global(found, 1e-9)


def test_stationary_points_are_stationary_with_the_right_curvature():
    tasks = scalar(a=1.0, q=[1.0, 0.5], r=[1.0, 0.5])
    found = landscape.stationary_points(scalar_cost, GRID, tasks, STEP)

    def value(k):
        return float(jaxlqr.maml_loss(scalar_cost, jnp.full((1, 1), k), tasks, inner_step_size=STEP))

    assert len(found.values) >= 3
    for k, curvature in zip(found.params.ravel(), found.eigenvalues[:, 0], strict=True):
        difference = (value(k + 1e-4) - 2 * value(k) + value(k - 1e-4)) / 1e-8
        assert difference == pytest.approx(curvature, rel=1e-3, abs=1e-4)
        assert abs(value(k + 1e-4) - value(k - 1e-4)) < 1e-5  # third order in the step


def test_refinement_reaches_the_tolerance_from_a_coarse_grid():
    tasks = scalar(a=1.0)
    fine = landscape.stationary_points(scalar_cost, GRID, tasks, STEP)
    coarse = landscape.stationary_points(scalar_cost, GRID[::25], tasks, STEP)
    np.testing.assert_allclose(coarse.params, fine.params, atol=1e-10)


def test_a_gap_in_the_feasible_set_is_no_stationary_point():
    def hill(params, task):  # its top, where the derivative changes sign, is infeasible
        return jnp.where(jnp.abs(params - 0.505) < 0.002, jnp.inf, 1 - (params - 0.505) ** 2) + task

    grid = np.linspace(0.0, 1.0, 101)
    found = landscape.stationary_points(hill, grid, jnp.zeros(1), 1e-9)
    assert len(found.values) == 0


@pytest.mark.parametrize("offset", [0.0, 0.0037])
def test_a_double_root_of_the_derivative_is_found_and_called_degenerate(offset):
    """x^3 has no change of sign of its derivative, so no bracket."""
    found = landscape.stationary_points(
        lambda x, t: (x - t) ** 3, np.linspace(0, 1, 101) + offset, jnp.array([0.3]), 0.01
    )
    assert [Kind(kind) for kind in found.kinds] == [Kind.DEGENERATE]
    assert found.params[0] == pytest.approx(0.3, abs=1e-10)


def test_a_pair_between_two_grid_points_is_found():
    def pair(x, t):  # its derivative is (x - t)^2 - 1e-8, on a grid of spacing 1e-2
        return (x - t) ** 3 / 3 - 1e-8 * x

    found = landscape.stationary_points(pair, np.linspace(0, 1, 101), jnp.array([0.3047]), 1e-9)
    assert [Kind(kind) for kind in found.kinds] == [Kind.MAXIMUM, Kind.MINIMUM]
    np.testing.assert_allclose(found.params, [0.3046, 0.3048], atol=1e-10)


def test_a_dip_that_stays_above_zero_is_no_stationary_point():
    found = landscape.stationary_points(
        lambda x, t: (x - t) ** 3 / 3 + 1e-8 * x, np.linspace(0, 1, 101), jnp.array([0.3047]), 1e-9
    )
    assert len(found.values) == 0


def test_parts_on_several_cores_give_the_same_values(monkeypatch):
    tasks, grid = scalar(a=[1.0, 0.9]), GRID[::5]
    monkeypatch.setattr(objective, "_num_cores", lambda: 1)
    once = landscape.evaluate(scalar_cost, grid, tasks, STEP, max_points=3, per_task=True)
    monkeypatch.setattr(objective, "_num_cores", lambda: 2)
    parts = landscape.evaluate(scalar_cost, grid, tasks, STEP, max_points=3, per_task=True)
    assert once.shape == parts.shape == (len(grid), 2)
    np.testing.assert_allclose(parts, once, rtol=1e-13)


def test_classify_looks_at_all_eigenvalues():
    eigenvalues = [[1.0, 1e-3], [-1.0, -3.0], [-1e-3, 1.0], [1e-12, 1.0], [float("nan"), 1.0]]
    kinds = [Kind(kind) for kind in landscape.classify(eigenvalues)]
    assert kinds == [Kind.MINIMUM, Kind.MAXIMUM, Kind.SADDLE, Kind.DEGENERATE, Kind.DEGENERATE]


def test_excess_is_the_smallest_epsilon():
    tasks = scalar(a=1.0, q=[1.0, 0.5], r=[1.0, 0.5])
    found = landscape.stationary_points(scalar_cost, GRID, tasks, STEP)
    gap = landscape.excess(found)
    assert gap > 1e-3
    assert landscape.is_epsilon_global(found, gap)
    assert not landscape.is_epsilon_global(found, gap * (1 - 1e-6))


def test_certificate_of_a_quadratic_has_the_closed_form():
    """h has the Hessian (I - eta H) H (I - eta H)."""
    tasks = quadratic_task()
    target, hessian = tasks[0][0], np.asarray(tasks[1][0])
    point, step = target + jnp.array([0.1, -0.2, 0.3]), 0.1
    contraction = np.eye(3) - step * hessian
    expected = np.linalg.eigvalsh(contraction @ hessian @ contraction)
    certificate = landscape.certify(quadratic, point, tasks, step)
    assert float(certificate.smallest_eigenvalue) == pytest.approx(expected[0], rel=1e-10)
    assert float(certificate.largest_eigenvalue) == pytest.approx(expected[-1], rel=1e-10)
    assert float(certificate.step_ratios[0]) == pytest.approx(step * np.linalg.eigvalsh(hessian)[-1], rel=1e-10)
    slope = contraction @ hessian @ contraction @ np.asarray(point - target)
    assert float(certificate.gradient_norm) == pytest.approx(np.linalg.norm(slope), rel=1e-10)
    assert not bool(certificate.is_stationary)
    assert bool(landscape.certify(quadratic, target, tasks, step).holds)


def test_only_the_middle_minimum_is_certified_although_all_three_are_global():
    """Proposition 1 is sufficient, not necessary: at the outer minima the adaptation map turns over."""
    task = scalar(a=1.0)
    found = landscape.stationary_points(scalar_cost, GRID, task, STEP)
    outer, middle, other = (
        landscape.certify(scalar_cost, jnp.asarray(gain), task, STEP) for gain in found.params[found.minima]
    )
    assert bool(middle.holds)
    assert not bool(outer.is_step_small)
    assert not bool(other.is_step_small)
    assert all(bool(c.is_stationary & c.is_minimum) for c in (outer, middle, other))


def test_a_certified_looking_spurious_minimum_of_two_tasks_is_not_certified():
    tasks = scalar(a=1.0, q=[1.0, 0.5], r=[1.0, 0.5])
    found = landscape.stationary_points(scalar_cost, GRID, tasks, STEP)
    for gain in found.params[found.minima]:
        assert not bool(landscape.certify(scalar_cost, jnp.asarray(gain), tasks, STEP).holds)


@pytest.mark.slow
def test_training_on_one_matrix_task_ends_certified_at_the_optimum():
    task = jaxlqr.make_task([[1.0, 0.2], [0.0, 1.1]], [[0.0], [0.5]], [[1.0, 0.0], [0.0, 2.0]])
    tasks = jaxlqr.stack_tasks([task])
    result = jaxlqr.meta_train(
        jaxlqr.cost,
        jnp.array([[1.0, 2.0]]),
        tasks,
        num_steps=3000,
        objective=jaxlqr.Maml(inner_step_size=1e-4),
        outer_step_size=2e-3,
    )
    certificate = landscape.certify(jaxlqr.cost, result.params, tasks, 1e-4)
    assert bool(certificate.holds)
    assert float(certificate.value) == pytest.approx(float(jaxlqr.optimal_cost(task)), rel=1e-9)
    start = landscape.certify(jaxlqr.cost, jnp.array([[1.0, 2.0]]), tasks, 1e-4)
    assert not bool(start.is_stationary)


@pytest.mark.parametrize("step", [0.0, -0.1, float("nan"), float("inf")])
def test_a_step_size_that_is_not_positive_is_refused(step):
    task = scalar(a=1.0)
    for call in (
        lambda: landscape.evaluate(scalar_cost, GRID, task, step),
        lambda: landscape.stationary_points(scalar_cost, GRID, task, step),
        lambda: landscape.certify(jaxlqr.cost, jnp.array([[0.6]]), task, step),
    ):
        with pytest.raises(ValueError, match="inner_step_size must be positive"):
            call()


def test_a_grid_outside_the_stabilising_set_is_refused():
    for call in (landscape.evaluate, landscape.stationary_points):
        with pytest.raises(ValueError, match="infinite at all of its 1001 points for 1 task"):
            call(scalar_cost, GRID + 5, scalar(a=1.0), STEP)


def test_a_gain_that_stabilises_no_task_is_refused():
    with pytest.raises(ValueError, match=r"infinite for 2 of 2 tasks \(0, 1\)"):
        landscape.certify(scalar_cost, jnp.array([[5.0]]), scalar(a=[1.0, 1.1]), STEP)


@pytest.mark.parametrize("grid", [GRID[::-1], np.zeros((5, 1, 1)), np.zeros((4, 1, 2)), GRID[:1], np.float64(1.0)])
def test_a_grid_that_is_not_an_increasing_line_is_refused(grid):
    with pytest.raises(ValueError, match="grid must hold at least two increasing values"):
        landscape.stationary_points(scalar_cost, grid, scalar(a=1.0), STEP)


def test_an_interval_without_a_minimum_has_no_excess():
    found = landscape.stationary_points(scalar_cost, np.linspace(0.5, 0.55, 9)[:, None, None], scalar(a=1.0), STEP)
    with pytest.raises(ValueError, match="must hold a local minimum"):
        landscape.excess(found)
    with pytest.raises(ValueError, match="epsilon must not be negative"):
        landscape.is_epsilon_global(found, -1.0)


@pytest.mark.parametrize("max_points", [0, -3])
def test_max_points_below_one_is_refused(max_points):
    with pytest.raises(ValueError, match="max_points must be at least 1"):
        landscape.evaluate(scalar_cost, GRID, scalar(a=1.0), STEP, max_points=max_points)
