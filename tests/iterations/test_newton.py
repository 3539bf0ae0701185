"""Damped Newton: minima, units, indefinite starts, infeasible steps, and its path."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr.iterations.newton import damped_newton


def minimise(objective, start, **options):
    def derivatives(x):
        return jax.grad(objective)(x), jax.hessian(objective)(x)

    options = {"max_steps": 60, "max_backtracks": 20, "tolerance": 1e-12} | options
    return jax.jit(lambda x: damped_newton(objective, derivatives, x, **options))(jnp.asarray(start))


def valley(x):
    """Rosenbrock's function, whose Hessian is indefinite at (0, 1)."""
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_a_minimum_from_an_indefinite_start():
    assert np.linalg.eigvalsh(jax.hessian(valley)(jnp.array([0.0, 1.0])))[0] < 0
    end = minimise(valley, [0.0, 1.0])
    np.testing.assert_allclose(end.point, 1.0, rtol=1e-9)  # the gradient fell by 1e-12
    assert float(end.size) <= 1e-12
    steps = int(end.num_steps)
    assert 5 < steps < 60
    path = np.asarray(end.path)
    assert path.shape == (61,)
    assert path[0] == float(valley(jnp.array([0.0, 1.0])))
    assert np.all(np.diff(path) <= 0)
    assert np.all(path[steps:] == float(end.value))


def test_no_unit_of_an_entry_matters():
    unit = jnp.array([1e6, 1e-7])
    end, scaled = minimise(valley, [-1.2, 1.0]), minimise(lambda y: valley(y * unit), jnp.array([-1.2, 1.0]) / unit)
    assert int(end.num_steps) == int(scaled.num_steps)
    np.testing.assert_allclose(scaled.point * unit, end.point, rtol=1e-8)  # rounding, of a condition of 2500


def test_a_step_out_of_the_feasible_set_is_halved():
    def objective(x):  # feasible where x > 0, with its minimum at 1; the full step from 3 ends below zero
        return jnp.where(x[0] > 0, x[0] - jnp.log(jnp.where(x[0] > 0, x[0], 1.0)), jnp.inf)

    end = minimise(objective, [3.0])
    np.testing.assert_allclose(end.point, 1.0, rtol=1e-10)  # the gradient fell by 1e-12
    assert np.all(np.isfinite(end.path))


def test_a_start_without_a_feasible_step_stays():
    end = minimise(lambda x: jnp.where(x[0] == 2.0, x[0], jnp.inf), [2.0])
    assert float(end.point[0]) == 2.0
    assert minimise(valley, [1.0, 1.0]).num_steps == 0
