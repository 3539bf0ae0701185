"""The five problems end where they should, and the second-order search agrees with the first-order one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.trajectory import ilqr
from jaxlqr.trajectory.problems import PROBLEMS, runge_kutta

GOALS = {
    "pendulum": jnp.array([jnp.pi, 0.0]),
    "cart_pole": jnp.array([0.0, jnp.pi, 0.0, 0.0]),
    "planar_quadrotor": jnp.zeros(6),
    "car_parking": jnp.zeros(4),
    "quadrotor": jnp.zeros(12),
}


def solve(name, **options):
    p = PROBLEMS[name]()
    return ilqr(p.cost, p.dynamics, p.x0, p.U0, params=p.params, final_cost=p.final_cost, max_steps=1000, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOALS)
def test_both_searches_reach_the_goal_at_one_cost(name):
    first, second = solve(name).check(), solve(name, ddp=True).check()
    np.testing.assert_allclose(first.cost, second.cost, rtol=1e-9)
    np.testing.assert_allclose(first.states[-1], GOALS[name], rtol=0, atol=0.1)
    assert int(second.iterations) <= int(first.iterations)


def test_runge_kutta_is_of_fourth_order():
    def error(h):
        step = runge_kutta(lambda x, u, p: p * x + u, h)
        x = jnp.array([1.0])
        for _ in range(round(1 / h)):
            x = step(x, jnp.zeros(1), jnp.array(0), -1.0)
        return abs(float(x[0]) - np.exp(-1.0))

    assert 15 < error(0.1) / error(0.05) < 18


def test_a_rolled_step_is_the_same_step_with_the_same_derivatives():
    def rate(x, u, p):
        return p * jnp.sin(x[::-1]) + u

    plain, rolled = (runge_kutta(rate, 0.1, rolled=rolled) for rolled in (False, True))
    x, u, t = jnp.array([0.3, -1.2]), jnp.array([0.4]), jnp.array(0)
    calls = [lambda p, step=step: step(x, u, t, p) for step in (plain, rolled)]
    for derive in (lambda f: f, jax.jacfwd, jax.jacrev, jax.hessian):
        one, other = (jax.jit(derive(call))(1.7) for call in calls)
        assert float(jnp.max(jnp.abs(one))) > 1e-6
        np.testing.assert_allclose(other, one, rtol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_guess_is_feasible_and_shaped(name):
    problem = PROBLEMS[name]()
    after = jax.jit(problem.dynamics)(problem.x0, problem.U0[0], jnp.array(0), problem.params)
    assert after.shape == problem.x0.shape
    assert bool(jnp.all(jnp.isfinite(after)))
