r"""Steps from Q_uu, and the test of convergence, in any units of cost, states and controls.

A change of units divides control i by d_i, and multiplies entry ij of Q_uu by d_i d_j and entry i of the gradient q_u
by d_i. So the steps are computed from Q_uu scaled to unit diagonal, where the floor and the damping act. A control
without curvature at a step borrows ``spare``, the largest curvature of the stage costs in that control.

The gradient is small when both of two measures are; a change of units alters neither.

- Of the cost: q_u'Q_uu^-1 q_u, summed over the steps, is twice the decrease that the model promises. It is compared
  with the sum of |c_t|, since J itself may pass through zero.
- Of each control: q_u,i^2 / Q_ii, summed over the steps, is compared with the same sum for

      |c_u| + |f_u'| |v| + |Q_ux| |x| + |Q_uu| |u|,

  the terms of q_u, and the terms of its change when x and u go to zero. A constant added to the cost, or a second plant
  with larger costs, makes the first measure small at any trajectory, and does not alter this one.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.symmetric import eigh
from jaxlqr.trajectory.expansion import Trajectory
from jaxlqr.trajectory.linear_quadratic import Policy, Stage, Value, action_value, improve


class Numbers(NamedTuple):
    """Settings that may change without compiling again."""

    tolerance: Array
    regularisation: Array
    eigenvalue_floor: Array


def spare_curvature(stages: Stage, gradient: Array, size: Array) -> Array:
    """Largest curvature of the stage costs in each control over all steps, [m].

    Where it is zero: the curvature at which the largest gradient [T, m] could decrease J by all of ``size``.
    """
    own = jnp.max(jnp.abs(jnp.diagonal(stages.R, axis1=1, axis2=2)), axis=0)
    slope = jnp.max(jnp.abs(gradient), axis=0)
    guess = slope * (slope / size)
    guess = jnp.where(jnp.isfinite(guess) & (guess > 0), guess, 1)
    return jnp.where(own > 0, own, guess)


def curvature_units(Q: Array, numbers: Numbers, spare: Array) -> Array:
    """Curvature that is one unit for each control, [m]: the diagonal of Q, or where it all but vanishes, ``spare``."""
    own = jnp.abs(jnp.diagonal(Q))
    return jnp.where(own > 0, jnp.maximum(own, numbers.eigenvalue_floor * spare), spare)


def damped_solve(Q: Array, right: Array, damping: Array, numbers: Numbers, spare: Array) -> Array:
    """(Q + damping D)^-1 right, [m, k], with D the diagonal matrix of :func:`curvature_units`.

    Where Q is not positive definite, the eigenvalues of D^-1/2 Q D^-1/2 are replaced by max(|eigenvalue|, floor).
    """
    units = curvature_units(Q, numbers, spare)
    if Q.shape[0] == 1:
        curvature = jnp.where(Q[0] > 0, Q[0], jnp.maximum(-Q[0], numbers.eigenvalue_floor * units))
        return right / (curvature + damping * units)[:, None]
    scale = 1 / jnp.sqrt(units)
    balanced, right = scale[:, None] * Q * scale[None], scale[:, None] * right
    values, vectors = eigh(balanced)
    # Below its rounding, an eigenvalue of a matrix with unit diagonal has no sign.
    definite = jnp.min(values) > 4 * Q.shape[0] * jnp.finfo(Q.dtype).eps
    values = jnp.where(definite, values, jnp.maximum(jnp.abs(values), numbers.eigenvalue_floor)) + damping

    def solve(b: Array) -> Array:
        return matmul(vectors, matmul(vectors.mT, b) / values[:, None])

    # Eigenvectors give the largest control its digits. One step of refinement gives each control its own.
    solution = solve(right)
    refined = solution + solve(right - damping * solution - matmul(balanced, solution))
    return scale[:, None] * jnp.where(definite, refined, solution)


class Plan(NamedTuple):
    """Policies [T, ...], the slope of J along them, and the square roots of both measures of the gradient."""

    policies: Policy
    slope: Array
    of_cost: Array
    of_controls: Array


def plan(
    stages: Stage, final: Value, trajectory: Trajectory, damping: Array, numbers: Numbers, spare: Array, size: Array
) -> Plan:
    """Plan of the damped model at a trajectory, whose absolute costs have the sum ``size``, in one backward pass."""

    def step(carry: tuple[Value, Array, Array, Array], at: tuple[Stage, Array, Array]):
        after, costate, slope, sums = carry
        stage, x, u = at
        action = action_value(stage, after)
        policy, value = improve(action, lambda Q, right: damped_solve(Q, right, damping, numbers, spare))
        costate, along = slope_step(stage, policy, costate)
        rows, columns = jnp.concatenate([stage.B.mT, action.Qux, action.Quu], axis=1), jnp.concatenate([after.v, x, u])
        made_of = jnp.abs(stage.r) + jnp.sum(jnp.abs(rows * columns[None]), axis=1)
        units = curvature_units(action.Quu, numbers, spare)
        terms = jnp.stack([-action.qu * policy.k, action.qu * (action.qu / units), made_of * (made_of / units)])
        return (value, costate, slope + along, sums + terms), policy

    zero = jnp.zeros((), final.v.dtype)
    start = (final, final.v, zero, jnp.zeros((3, spare.size), final.v.dtype))
    inputs = (stages, trajectory.states[:-1], trajectory.controls)
    (_, _, slope, (decrease, part, whole)), policies = lax.scan(step, start, inputs, reverse=True)
    # Damping shortens k by about 1 + damping.
    of_cost = _ratio((1 + damping) * jnp.sum(decrease), size)
    return Plan(policies, slope, jnp.sqrt(of_cost), jnp.sqrt(jnp.max(_ratio(part, whole))))


def slope_step(stage: Stage, policy: Policy, after: Array) -> tuple[Array, Array]:
    """The costate before a step, and the part of the step in dJ/ds at s = 0, along u = u^ + s k - K (x - x^)."""
    along_u = stage.r + matmul(stage.B.mT, after)
    return stage.q + matmul(stage.A.mT, after) - matmul(policy.K.mT, along_u), policy.k @ along_u


def slope_along(stages: Stage, final: Value, policies: Policy) -> Array:
    """dJ/ds at s = 0 along u = u^ + s k - K (x - x^), by the closed-loop costates of ``search.py``."""

    def step(carry: tuple[Array, Array], at: tuple[Stage, Policy]):
        costate, along = slope_step(*at, carry[0])
        return (costate, carry[1] + along), None

    return lax.scan(step, (final.v, jnp.zeros((), final.v.dtype)), (stages, policies), reverse=True)[0][1]


def _ratio(part: Array, whole: Array) -> Array:
    return jnp.where(part == 0, 0, part / whole)
