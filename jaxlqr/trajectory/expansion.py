r"""A nonlinear problem on flat vectors: its rollouts, costs, gradient, and local linear-quadratic models.

J(U) = sum over t of c(x_t, u_t, t) + c_T(x_T) with x_{t+1} = f(x_t, u_t, t). States are [n], controls [m].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import hermitian, matmul
from jaxlqr.core.types import PyTree
from jaxlqr.trajectory.linear_quadratic import Policy, Stage, Value


class Problem(NamedTuple):
    """Cost, dynamics and final cost of flat states and controls; ``t`` is the number of the step."""

    cost: Callable[[Array, Array, Array, PyTree], Array]
    dynamics: Callable[[Array, Array, Array, PyTree], Array]
    final_cost: Callable[[Array, PyTree], Array]


class Trajectory(NamedTuple):
    """States [T + 1, n] and controls [T, m]."""

    states: Array
    controls: Array


def rollout(problem: Problem, x0: Array, controls: Array, params: PyTree) -> Trajectory:
    """The trajectory of the given controls."""

    def step(x: Array, at: tuple[Array, Array]):
        t, u = at
        return problem.dynamics(x, u, t, params), x

    last, states = lax.scan(step, x0, (jnp.arange(controls.shape[0]), controls))
    return Trajectory(jnp.concatenate([states, last[None]]), controls)


def follow(
    problem: Problem, nominal: Trajectory, policies: Policy, step_length: Array, params: PyTree
) -> tuple[Trajectory, Array, Array]:
    """The trajectory of u = u^ + s k - K (x - x^) for a step length s, its cost, and the sum of the costs' absolute
    values, whose rounding the cost has; (71) of nguyen2023."""

    def step(x: Array, at):
        t, before, u, policy = at
        u = u + step_length * policy.k - matmul(policy.K, x - before)
        return problem.dynamics(x, u, t, params), (x, u, problem.cost(x, u, t, params))

    times = jnp.arange(nominal.controls.shape[0])
    # The costs are summed after the loop: two sums inside make XLA compute each cost twice.
    last, (states, controls, costs) = lax.scan(
        step, nominal.states[0], (times, nominal.states[:-1], nominal.controls, policies)
    )
    costs = jnp.append(costs, problem.final_cost(last, params))
    return Trajectory(jnp.concatenate([states, last[None]]), controls), jnp.sum(costs), jnp.sum(jnp.abs(costs))


def total_cost(problem: Problem, trajectory: Trajectory, params: PyTree) -> Array:
    """J of a trajectory."""
    times = jnp.arange(trajectory.controls.shape[0])
    costs = jax.vmap(problem.cost, in_axes=(0, 0, 0, None))(trajectory.states[:-1], trajectory.controls, times, params)
    return jnp.sum(costs) + problem.final_cost(trajectory.states[-1], params)


def reduced_gradient(problem: Problem, x0: Array, controls: Array, params: PyTree) -> Array:
    """Gradient of J with respect to the controls, [T, m], by autodiff through the rollout."""
    return jax.grad(lambda U: total_cost(problem, rollout(problem, x0, U, params), params))(controls)


def expand(
    problem: Problem, trajectory: Trajectory, params: PyTree, *, dynamics_curvature: Array | float | None
) -> tuple[Stage, Value, Array]:
    """Local models of all stages and the final cost in the changes of state and control, and the gradient [T, m].

    With ``dynamics_curvature`` = 1 the cost matrices hold the curvature of the dynamics too: they are the Hessians of
    c + p'f with the costates p_t = c_x + f_x' p_{t+1}. The problem they define is then the second-order model of J
    itself, and its minimiser the Newton step in the controls. Other factors weigh p'f; None leaves it out.
    """
    n = trajectory.states.shape[1]
    final_state = trajectory.states[-1]
    final = Value(
        hermitian(jax.hessian(problem.final_cost)(final_state, params)),
        jax.grad(problem.final_cost)(final_state, params),
    )
    points = jnp.concatenate([trajectory.states[:-1], trajectory.controls], axis=1)
    times = jnp.arange(points.shape[0])

    def dynamics(z: Array, t: Array) -> Array:
        return problem.dynamics(z[:n], z[n:], t, params)

    def cost(z: Array, t: Array) -> Array:
        return problem.cost(z[:n], z[n:], t, params)

    jacobians = jax.vmap(jax.jacfwd(dynamics))(points, times)
    A, B = jacobians[..., :n], jacobians[..., n:]

    def second_derivatives(z: Array, t: Array, costate: Array | None) -> Array:
        """By forward over reverse mode; a costate that is given weighs the dynamics."""

        def gradient(point: Array) -> Array:
            own = jax.grad(cost)(point, t)
            return own if costate is None else own + jax.vjp(lambda y: dynamics(y, t), point)[1](costate)[0]

        return jax.jacfwd(gradient)(z)

    slopes = jax.vmap(jax.grad(cost))(points, times)
    costates = _costates(A, slopes[:, :n], final.v)
    weighed = None if dynamics_curvature is None else dynamics_curvature * costates
    hessians = jax.vmap(second_derivatives)(points, times, weighed)
    hessians = hermitian(hessians)
    q, r = slopes[:, :n], slopes[:, n:]
    stages = Stage(A, B, jnp.zeros_like(q), hessians[:, :n, :n], hessians[:, :n, n:], hessians[:, n:, n:], q, r)
    return stages, final, r + jnp.einsum("tij,ti->tj", B, costates, precision=lax.Precision.HIGHEST)


def _costates(A: Array, slopes: Array, last: Array) -> Array:
    """p_1 to p_T [T, n], where p_t is the derivative of J with respect to x_t at fixed controls."""

    def step(after: Array, at: tuple[Array, Array]):
        matrix, slope = at
        return slope + matmul(matrix.mT, after), after

    return lax.scan(step, last, (A, slopes), reverse=True)[1]
