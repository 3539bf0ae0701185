"""Iterative linear-quadratic regulator: optimal trajectories of nonlinear problems, differentiable in their data."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxlqr.core.status import SolveStatus
from jaxlqr.core.types import PyTree
from jaxlqr.trajectory.checks import check_arguments
from jaxlqr.trajectory.closures import hoist
from jaxlqr.trajectory.curvature import Numbers
from jaxlqr.trajectory.expansion import Problem
from jaxlqr.trajectory.implicit import Optimum, optimum
from jaxlqr.trajectory.result import IlqrResult
from jaxlqr.trajectory.search import search

Cost = Callable[[PyTree, PyTree, Array, PyTree], Array]
Dynamics = Callable[[PyTree, PyTree, Array, PyTree], PyTree]
FinalCost = Callable[[PyTree, PyTree], Array]


def ilqr(
    cost: Cost,
    dynamics: Dynamics,
    x0: PyTree,
    U0: PyTree,
    *,
    params: PyTree = None,
    final_cost: FinalCost | None = None,
    ddp: bool = False,
    max_steps: int = 200,
    tolerance: float | Array | None = None,
    regularisation: float | Array = 0.0,
    eigenvalue_floor: float | Array | None = None,
) -> IlqrResult:
    r"""Minimise the cost of a trajectory over its controls:

    .. math:: J(U) = \sum_{t<T} c(x_t, u_t, t, p) + c_T(x_T, p), \qquad x_{t+1} = f(x_t, u_t, t, p).

    Arguments:
        cost: function (x, u, t, params) -> scalar; ``t`` is the number of the step, 0 to T - 1.
        dynamics: function (x, u, t, params) -> next x. Both functions are compiled once for each function object:
            define them outside loops, and pass what changes as ``params``.
        x0: initial state, a vector [n] or a pytree of floating arrays.
        U0: controls to start from, a pytree with a leading time axis T on every leaf, [T, m] for vectors.
        params: pytree that all three functions receive; the solution is differentiable in it.
        final_cost: function (x, params) -> scalar; zero unless given.
        ddp: also use the curvature of the dynamics, as differential dynamic programming does, with the costates of the
            current trajectory. This is Newton's method in the controls. If the full curvature makes steps fail, a share
            of it is used. Fewer iterations, each more expensive.
        max_steps: iterations after which the search stops.
        tolerance: bound on the norm of the gradient relative to its terms, ``history["gradient_norm"]``. The inverse of
            Q_uu defines the norm, so the expected decrease of J is below tolerance^2 / 2 times the sum of the absolute
            costs. The gradient of each control must also be this small beside the terms that it is the sum of. The test
            does not depend on units of cost, states and controls, or on a constant in the cost. Default: 1e-6; in
            float32 3.5e-4, the root of the machine epsilon.
        regularisation: least Levenberg damping of Q_uu, in units of its diagonal; raised where steps fail.
        eigenvalue_floor: if Q_uu is not positive definite, it is scaled to a unit diagonal, and its eigenvalues are
            replaced by their absolute values and raised to this floor. The root of the machine epsilon unless given. A
            positive definite Q_uu keeps its eigenvalues. Neither option moves the solution.

    Returns:
        :class:`IlqrResult`. ``states``, ``controls``, ``gains`` and ``cost`` are differentiable in ``x0`` and
        ``params``, in both modes and to any order, by the implicit function theorem. If the run did not converge or the
        minimum is not strict, the derivatives are NaN. In ``U0`` the derivative is zero: a minimum does not depend on
        where the search began.

    Raises:
        ValueError, TypeError: when a shape, a structure or a dtype does not fit. Failures that depend on values become
            a status, and ``result.check()`` raises.

    >>> import jax, jax.numpy as jnp
    >>> def dynamics(x, u, t, length):
    ...     return x + 0.1 * jnp.array([x[1], u[0] - jnp.sin(x[0]) / length])
    >>> def cost(x, u, t, length):
    ...     return 0.1 * (x @ x + u @ u)
    >>> result = ilqr(cost, dynamics, jnp.array([1.0, 0.0]), jnp.zeros((20, 1)), params=1.0).check()
    >>> print(f"{result.cost:.4f}")
    1.7222

    Source: Todorov, Li, ACC 2005; nguyen2023, appendix E, with the slope of docs/errata.md, N1.
    """
    check_arguments(cost, dynamics, x0, U0, params, final_cost)
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise ValueError(f"ilqr: argument max_steps must be an integer of at least 1, got {max_steps!r}.")
    dtype = jnp.result_type(*jax.tree.leaves(x0))
    root = jnp.finfo(dtype).eps ** 0.5
    least = max(1e-6, root) if tolerance is None else tolerance
    floor = root if eigenvalue_floor is None else eigenvalue_floor
    numbers = Numbers(*(jnp.asarray(number, dtype) for number in (least, regularisation, floor)))
    u0, t = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], U0), jnp.asarray(0, jnp.int32)
    functions, params = hoist(((cost, (x0, u0, t)), (dynamics, (x0, u0, t)), (final_cost, (x0,))), params)
    return _solve(functions, x0, U0, params, numbers, ddp=bool(ddp), max_steps=int(max_steps))


@partial(jax.jit, static_argnums=0, static_argnames=("ddp", "max_steps"))
def _solve(functions, x0: PyTree, U0: PyTree, params: PyTree, numbers: Numbers, *, ddp: bool, max_steps: int):
    cost, dynamics, final_cost = functions
    start, unravel_x = ravel_pytree(x0)
    _, unravel_u = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], U0))
    problem = _flat(cost, dynamics, final_cost, unravel_x, unravel_u)
    controls = jax.vmap(lambda u: ravel_pytree(u)[0])(U0)
    fixed_start, fixed_controls, fixed_params = lax.stop_gradient((start, controls, params))
    found = search(problem, fixed_start, fixed_controls, fixed_params, numbers, ddp=ddp, max_steps=max_steps)
    converged = found.status == SolveStatus.CONVERGED
    best = optimum(problem, ddp, start, params, Optimum(found.trajectory, found.policies.K, found.cost), converged)
    return IlqrResult(
        states=jax.vmap(unravel_x)(best.trajectory.states),
        controls=jax.vmap(unravel_u)(best.trajectory.controls),
        gains=best.gains,
        cost=best.cost,
        status=found.status,
        iterations=found.iteration,
        history=found.history,
    )


def _flat(cost: Cost, dynamics: Dynamics, final_cost: FinalCost | None, unravel_x, unravel_u) -> Problem:
    """The problem on flat vectors."""

    def flat_final_cost(x: Array, params: PyTree) -> Array:
        # A zero that depends on x, so that its derivatives have the right shapes.
        return 0 * x[0] if final_cost is None else final_cost(unravel_x(x), params)

    return Problem(
        lambda x, u, t, params: cost(unravel_x(x), unravel_u(u), t, params),
        lambda x, u, t, params: ravel_pytree(dynamics(unravel_x(x), unravel_u(u), t, params))[0],
        flat_final_cost,
    )
