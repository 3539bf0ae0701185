"""Planes through the space of gains, and the search for distinct stationary points from many starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.meta import landscape

STEP = 0.05


def matrix_tasks():
    A = [[1.0, 0.2], [0.0, 1.1]]
    B = [[0.0], [0.5]]
    return jaxlqr.stack_tasks([jaxlqr.make_task(A, B, q * np.eye(2)) for q in (1.0, 2.0)])


def test_coordinates_are_those_of_the_points():
    plane = landscape.plane_through(np.ones((2, 2)), np.eye(2), np.array([[0.3, 2.0], [1.0, -1.0]]))
    x, y = np.array([-1.0, 0.5, 2.0]), np.array([0.0, 3.0])
    points = plane.points(x, y)
    assert points.shape == (6, 2, 2)
    np.testing.assert_allclose(plane.coordinates(points), [[a, b] for b in y for a in x], atol=1e-12)
    np.testing.assert_allclose(plane.distance(points), 0, atol=1e-12)
    np.testing.assert_allclose(plane.coordinates(np.eye(2))[1], 0, atol=1e-12)  # the second point is on the x axis
    np.testing.assert_allclose(np.linalg.norm(points[5] - points[0]), np.hypot(3, 3))  # distances are true


@pytest.mark.slow
def test_leading_eigenvectors_are_those_of_the_meta_hessian():
    tasks = matrix_tasks()
    K = jaxlqr.optimal_gain(jax.tree.map(lambda leaf: leaf[0], tasks))
    plane = landscape.plane_of_curvature(jaxlqr.cost, K, tasks, 1e-4)
    hessian = jax.hessian(lambda gain: jaxlqr.maml_loss(jaxlqr.cost, gain, tasks, inner_step_size=1e-4))(K).reshape(
        2, 2
    )
    values = np.linalg.eigvalsh(hessian)
    for direction, value in zip((plane.first, plane.second), values[::-1], strict=True):
        np.testing.assert_allclose(hessian @ direction.ravel(), value * direction.ravel(), rtol=1e-8)


def test_extent_is_that_of_the_stabilising_set():
    """For a single state, u = -k1 x - k2 x with B = [1, 1]: the set is the strip |a - k1 - k2| < 1."""
    task = jaxlqr.stack_tasks([jaxlqr.make_task([[0.5]], [[1.0, 1.0]])])
    plane = landscape.plane_through(np.zeros((2, 1)), np.array([[1.0], [1.0]]), np.array([[1.0], [-1.0]]))
    left, right, bottom, top = landscape.extent(jaxlqr.cost, plane, task, 1e-3, num_inner_steps=0, margin=0.0)
    assert left == pytest.approx(-0.5 / np.sqrt(2), rel=0.13)  # rays are measured in steps of 12 %
    assert right == pytest.approx(1.5 / np.sqrt(2), rel=0.13)
    assert top > 2 * right  # along the strip it has no end, and is cut
    assert bottom < 2 * left


@pytest.mark.parametrize("step", [STEP, 0.1])
def test_multistart_finds_what_brackets_find(step):
    """Independent methods, one parameter: signs of the derivative on a grid, and Newton from scattered starts."""
    tasks = scalar(a=1.0, q=[1.0, 0.5], r=[1.0, 0.5])
    grid = np.linspace(-0.1, 2.1, 2001).reshape(-1, 1, 1)
    known = landscape.stationary_points(scalar_cost, grid, tasks, step)
    found = landscape.multistart(scalar_cost, grid[::20], tasks, step)
    order = np.argsort(found.params.ravel())
    np.testing.assert_allclose(found.params[order], known.params, atol=1e-9)
    np.testing.assert_array_equal(found.kinds[order], known.kinds)
    np.testing.assert_allclose(found.eigenvalues[order], known.eigenvalues, rtol=1e-5)
    assert landscape.excess(found) == pytest.approx(landscape.excess(known), abs=1e-9)
    assert found.hits.sum() + found.num_lost < len(grid[::20])  # some starts are infeasible, and are not counted


def test_multistart_tells_the_lost_from_the_found():
    """cosh x + x has one stationary point; (x^2 + 1) x has none, and its gradient's norm is least at 0."""
    starts = np.linspace(-2, 2, 9)[:, None]
    found = landscape.multistart(lambda x, t: jnp.sum(jnp.cosh(x) + x) + t, starts, jnp.zeros(1), 1e-9)
    assert found.hits.tolist() == [9]
    assert found.num_lost == 0
    none = landscape.multistart(lambda x, t: jnp.sum((x**2 + 1) * x) + t, starts, jnp.zeros(1), 1e-9)
    assert len(none.values) == 0
    assert none.num_lost == 9


@pytest.mark.slow
def test_one_task_with_a_matrix_gain_may_have_a_spurious_minimum():
    """Erratum L4: Theorem 2 concludes that h is a global function; for a matrix gain it is not.

    The hypothesis holds at the optimum, a limit point. At the spurious minimum I - eta Hess J is singular, so that
    Proposition 1 does not speak of it.
    """
    step = 5e-3
    tasks = jax.tree.map(lambda leaf: leaf[:1], matrix_tasks())
    single = jax.tree.map(lambda leaf: leaf[0], tasks)
    best, least = jaxlqr.optimal_gain(single), float(jaxlqr.optimal_cost(single))
    plane = landscape.plane_of_curvature(jaxlqr.cost, best, tasks, step)
    left, right, bottom, top = landscape.extent(jaxlqr.cost, plane, tasks, step, num_inner_steps=0)
    starts = plane.points(np.linspace(left, right, 16), np.linspace(bottom, top, 16))
    found = landscape.multistart(jaxlqr.cost, starts, tasks, step)
    minima, values = jnp.asarray(found.params[found.minima]), found.values[found.minima]
    assert np.all(found.eigenvalues[found.minima] > 1)
    adapted = minima - step * jax.vmap(jax.grad(jaxlqr.cost), (0, None))(minima, single)
    is_global = np.max(np.abs(adapted - best[None]), axis=(1, 2)) < 1e-8
    # Those that adapt to K*, which is itself among them, have the least value.
    assert np.min(np.linalg.norm(minima - best[None], axis=(1, 2))) < 1e-8
    assert is_global.sum() == 3
    assert (
        step * np.linalg.eigvalsh(jax.hessian(jaxlqr.cost)(best, single).reshape(2, 2))[-1] < 0.2
    )  # Theorem 2 asks < 1
    np.testing.assert_allclose(values[is_global], least, rtol=1e-12)
    (spurious,) = np.flatnonzero(~is_global)
    assert values[spurious] > 1.02 * least
    assert not landscape.is_epsilon_global(found, 0.25)
    certificate = landscape.certify(jaxlqr.cost, minima[spurious], tasks, step)
    assert bool(certificate.is_stationary & certificate.is_minimum & certificate.is_single_task)
    assert not bool(certificate.is_step_small)
    hessian = jax.hessian(jaxlqr.cost)(minima[spurious], single).reshape(2, 2)
    assert np.min(np.abs(1 - step * np.linalg.eigvalsh(hessian))) < 1e-8


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ((np.zeros((1, 2)), np.ones((1, 2)), 2 * np.ones((1, 2))), "must not lie on a line"),
        ((np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 2))), "must not lie on a line"),
        ((np.zeros((1, 1)), np.ones((1, 1)), 2 * np.ones((1, 1))), "at least two entries"),
        ((np.zeros((1, 2)), np.ones((2, 1)), np.ones((1, 2))), "one shape"),
    ],
)
def test_points_that_span_no_plane_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        landscape.plane_through(*points)


def test_infeasible_starts_and_origins_are_refused():
    tasks = scalar(a=1.0)
    with pytest.raises(ValueError, match="starts must hold a point that is feasible"):
        landscape.multistart(scalar_cost, np.full((3, 1, 1), 9.0), tasks, STEP)
    with pytest.raises(ValueError, match="starts must hold at least one point"):
        landscape.multistart(scalar_cost, np.zeros((0, 1, 1)), tasks, STEP)
    with pytest.raises(ValueError, match="inner_step_size must be positive"):
        landscape.multistart(scalar_cost, np.zeros((3, 1, 1)), tasks, 0.0)
    with pytest.raises(ValueError, match="meta-Hessian there is not finite"):
        landscape.plane_of_curvature(jaxlqr.cost, np.full((1, 2), 9.0), matrix_tasks(), 1e-3)
    with pytest.raises(ValueError, match="at least two entries"):
        landscape.plane_of_curvature(jaxlqr.cost, np.full((1, 1), 0.6), tasks, 1e-3)
