r"""Derivatives of an optimal trajectory with respect to the data of their problem.

At a minimum U of J( . ; y), y = (x_0, params), the gradient vanishes: g(U, y) = 0. Differentiate: with the Hessian
H = dg/dU,

    dU = -H^-1 (dg/dy) dy.

H is the exact Hessian of J in the controls, curvature of the dynamics included, also where the search used a
Gauss-Newton model. The code never forms H: H d is a directional derivative of g. One backward and one forward pass
solve H d = b, since d minimises the second-order model of J with the linear term -b. The rule calls itself for U, so
that it can be differentiated again, and the solve is a ``custom_linear_solve``, so that both modes work. The values of
states, gains and cost come from the search; only the rule recomputes them from the controls. Without derivatives, JAX
compiles neither a second expansion nor a second backward pass.

Where there is no converged minimum there is no derivative: NaN, never 0.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.types import PyTree
from jaxlqr.trajectory.expansion import Problem, Trajectory, expand, reduced_gradient, rollout, total_cost
from jaxlqr.trajectory.linear_quadratic import backward, simulate


class Optimum(NamedTuple):
    """A trajectory, the gains [T, m, n] along it, and its cost."""

    trajectory: Trajectory
    gains: Array
    cost: Array


def optimum_of(problem: Problem, ddp: bool, x0: Array, params: PyTree, controls: Array) -> Optimum:
    """All that the controls imply."""
    trajectory = rollout(problem, x0, controls, params)
    stages, final, _ = expand(problem, trajectory, params, dynamics_curvature=1.0 if ddp else None)
    return Optimum(trajectory, backward(stages, final)[0].K, total_cost(problem, trajectory, params))


def optimum(problem: Problem, ddp: bool, x0: Array, params: PyTree, found: Optimum, converged: Array) -> Optimum:
    """The result of the search, unchanged, with the derivatives of a minimiser in ``x0`` and ``params``."""
    return _optimum(problem, ddp, x0, params, found, converged)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _optimum(problem: Problem, ddp: bool, x0: Array, params: PyTree, found: Optimum, converged: Array) -> Optimum:
    return found


@_optimum.defjvp
def _(problem: Problem, ddp: bool, primals, tangents):
    x0, params, found, converged = primals
    found = optimum(problem, ddp, x0, params, found, converged)
    controls, given = found.trajectory.controls, (tangents[0], tangents[1])
    _, change = jax.jvp(lambda x, p: reduced_gradient(problem, x, controls, p), (x0, params), given)
    moved = newton_solve(problem, x0, controls, params, -change)
    moved = moved * jnp.where(converged, 1, jnp.nan).astype(moved.dtype)
    _, moves = jax.jvp(partial(optimum_of, problem, ddp), (x0, params, controls), (*given, moved))
    return found, moves


def newton_solve(problem: Problem, x0: Array, controls: Array, params: PyTree, right: Array) -> Array:
    """H^-1 right, both [T, m]; NaN where H is not positive definite."""

    def hessian_times(direction: Array) -> Array:
        return jax.jvp(lambda U: reduced_gradient(problem, x0, U, params), (controls,), (direction,))[1]

    def solve(_, b: Array) -> Array:
        stages, final, _ = expand(problem, rollout(problem, x0, controls, params), params, dynamics_curvature=1.0)
        stages = stages._replace(q=jnp.zeros_like(stages.q), r=-b)
        final = final._replace(v=jnp.zeros_like(final.v))
        policies, _ = backward(stages, final)
        return simulate(stages, policies, jnp.zeros_like(x0))[1]

    return lax.custom_linear_solve(hessian_times, right, solve, symmetric=True)
