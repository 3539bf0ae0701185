"""Searches over parameters find the same in other units of the parameters and of the loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.families import bandit
from jaxlqr.mdp import optimal_policy
from jaxlqr.meta.landscape import extent, multistart, plane_through, stationary_points
from jaxlqr.meta.newton import newton_optimum

UNITS = jnp.array([2.0**-30, 2.0**20])  # of the two parameters
VALUE = 2.0**-60  # of the loss


def camel(x, t):
    return (4 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3) * x[0] ** 2 + x[0] * x[1] + 4 * (x[1] ** 2 - 1) * x[1] ** 2 + t


def camel_in_units(x, t):
    return VALUE * camel(x / UNITS, t)


def wells(x, t):
    return (x[0] ** 2 - 1) ** 2 * (x[0] - 3) ** 4 + t


def wells_in_units(x, t):
    return VALUE * wells(x * 2.0**30, t)


ZERO = jnp.zeros(1)


def test_multistart_finds_the_same_points():
    starts = np.random.default_rng(0).uniform(-2, 2, (60, 2))
    plain = multistart(camel, starts, ZERO, 1e-6)
    units = np.asarray(UNITS)
    other = multistart(camel_in_units, starts * units, ZERO, 1e-30)
    assert len(plain.values) >= 10
    # Points of equal value may be in another order: adaptation with other steps moves the last digits.
    order, again = (np.lexsort(np.round(points, 4).T) for points in (plain.params, other.params / units))
    np.testing.assert_allclose(other.params[again] / units, plain.params[order], atol=1e-4)
    np.testing.assert_array_equal(other.kinds[again], plain.kinds[order])
    assert other.num_lost == plain.num_lost
    np.testing.assert_allclose(other.gradients / VALUE * units, 0, atol=1e-9)


def test_stationary_points_of_one_parameter_are_the_same():
    grid = np.linspace(-1.5, 3.7, 401).reshape(-1, 1)
    plain = stationary_points(wells, grid, ZERO, 1e-12)
    other = stationary_points(wells_in_units, grid * 2.0**-30, ZERO, 1e-30)
    np.testing.assert_allclose(other.params * 2.0**30, plain.params, atol=1e-7)  # steps of adaptation differ
    np.testing.assert_array_equal(other.kinds, plain.kinds)
    assert len(plain.kinds) == 5


def test_newton_ends_at_the_same_point():
    found = newton_optimum(camel, jnp.array([0.3, -0.9]), ZERO, 0.0, num_inner_steps=0)
    other = newton_optimum(camel_in_units, jnp.array([0.3, -0.9]) * UNITS, ZERO, 0.0, num_inner_steps=0)
    np.testing.assert_allclose(other.params / UNITS, found.params, rtol=1e-12)
    assert int(other.num_steps) == int(found.num_steps)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_extent_of_a_plane_has_its_unit(unit):
    def disk(x, t):
        return jnp.where(jnp.sum((x / unit) ** 2) < 4, jnp.sum((x / unit) ** 2), jnp.inf) + t

    origin = np.array([unit, 0.0])
    plane = plane_through(origin, 2 * origin, np.array([unit, unit]))
    bounds = np.array(extent(disk, plane, ZERO, 1.0, num_inner_steps=0, margin=0.0)) / unit
    np.testing.assert_allclose(bounds, [-3, 1, -2, 2], rtol=0.15)  # radii are 12 % apart


@pytest.mark.parametrize("unit", [1e-20, 1.0, 1e20])
def test_the_optimal_policy_does_not_depend_on_the_unit_of_rewards(unit):
    assert optimal_policy(bandit([0.0, unit, 0.5 * unit])).tolist() == [[0.0, 1.0, 0.0]]
