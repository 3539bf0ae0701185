"""Task weights chosen by trajectory optimisation (TOW): which weights make a stretch of training go down fastest?"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.core.compiled import compiled
from jaxlqr.core.result import Result
from jaxlqr.core.status import SolveStatus
from jaxlqr.core.types import PyTree
from jaxlqr.iterations.shortening import before_trials, first_accepted
from jaxlqr.meta import gram_weighting, riccati_weighting
from jaxlqr.meta.weight_trajectory import State, Training, gradient, objective, task_weights
from jaxlqr.oracles.protocol import Loss
from jaxlqr.trajectory.expansion import follow

if TYPE_CHECKING:
    import optax

WeightMethod = Literal["gram", "reverse", "newton_cg", "ilqr", "ilqr_diagonal"]
_FORMS: dict[Any, riccati_weighting.MatrixForm] = {"ilqr": "full", "ilqr_diagonal": "diagonal"}
_SUFFICIENT, _CG_ITERATIONS = 1e-4, 20


class Proposal(Protocol):
    """A way to find new weights that is not one of :data:`WeightMethod`; a function of the module level, or hashable.

    It takes what a stretch of training is, and actions [T, M] to begin with. It returns a function of a step length,
    which returns the actions to try [T, M], their J, the value that the change of J must not exceed, and the state that
    they end in.
    """

    def __call__(
        self, training: Training, state: State, actions: Array, batches: PyTree, beta: Array, /
    ) -> Callable[[Array], tuple[Array, Array, Array, State]]: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class TowResult(Result):
    """Outcome of :func:`tow`.

    Attributes:
        weights: of the tasks at each step, [T, M].
        params: parameters after the T steps under these weights.
        opt_state: state of the optimiser there; pass both to the next stretch.
        cost: J under these weights; ``nominal_cost`` under the uniform ones.
        step_lengths: accepted in each iteration, 0 where none was, [num_steps].
        status: :class:`~jaxlqr.SolveStatus` code: SOLVED if J is below its value for the nominal weights. NOT_IMPROVED
            if no step was accepted: the weights are the nominal, uniform ones, and ``check()`` passes. COST_NOT_FINITE
            if J is not finite under the nominal weights.
    """

    _noun = "TOW runs"

    weights: Array
    params: PyTree
    opt_state: PyTree
    cost: Array
    nominal_cost: Array
    step_lengths: Array
    status: Array


def tow(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    optimizer: "optax.GradientTransformation",
    opt_state: PyTree = None,
    beta: float | Array = 10.0,
    method: WeightMethod | Proposal = "gram",
    weights: Literal["free", "softmax"] = "free",
    terminal: bool = False,
    num_steps: int = 1,
    max_backtracks: int = 12,
    batch_size: int | None = None,
) -> TowResult:
    r"""Choose the task weights :math:`u_t` of T training steps by minimising the losses met on the way:

    .. math:: J(U) = \sum_{t<T} 1^\top \ell_t(x_t) + \tfrac\beta2 \|u_t - \tfrac1M\|^2, \qquad
              x_{t+1} = \mathrm{step}(x_t, \nabla u_t^\top \ell_t(x_t)),

    starting from uniform weights, and train with them. Weights are kept non-negative, and J never increases.

    Arguments:
        loss: function (params, task) -> scalar, adaptation included; hashable, compiled once for each function object.
        params: parameters to start from, :math:`x_0`.
        tasks: pytree with leading axes [T, M]: T mini-batches of M tasks.
        optimizer: any optax optimiser; its memory is part of the state. With Adam give ``eps_root`` > 0, or derivatives
            at a zero gradient are NaN.
        opt_state: its state; by default a new one.
        beta: precision of the prior on the weights, positive.
        method: how a direction is found. ``"reverse"``: the exact gradient over beta. ``"gram"``: the same with
            F_x = I, about two uniform steps' worth of work for each step, and memory linear in the parameters.
            ``"newton_cg"``: conjugate gradients on the exact Hessian. ``"ilqr"``: one backward pass with full
            matrices, with its feedback. ``"ilqr_diagonal"``: the same with the diagonals of F_x, C_xx and V alone.
            Or your own :class:`Proposal`.
        weights: ``"free"``, or ``"softmax"`` of the actions, which then sum to one.
        terminal: add the losses of the last mini-batch after the last step; without it the last weights never matter.
        num_steps: number of directions to try.
        max_backtracks: number of step lengths 1, 1/2, 1/4, ... to try along each. Where none is accepted the weights
            stay, and their training run need not be made again: by ``"gram"`` a stretch costs the work of at most
            T + ``num_steps`` * ``max_backtracks`` * (T - 1) uniform steps.
        batch_size: tasks of a mini-batch that are worked on at once; None for all. On a CPU one after the other, 1, can
            be much faster, when products with a leading axis of tasks are slow.

    Returns:
        :class:`TowResult`.

    Raises:
        ValueError: when an argument does not fit.

    >>> import jax.numpy as jnp, optax
    >>> quadratic = lambda x, task: task[1] * (x - task[0]) ** 2
    >>> tasks = jnp.broadcast_to(jnp.array([[1.0, 4.0], [-1.0, 0.5]]), (5, 2, 2))
    >>> result = tow(quadratic, jnp.array(0.0), tasks, optimizer=optax.sgd(0.05), beta=1.0)
    >>> result.weights.shape, bool(result.cost < result.nominal_cost)
    ((5, 2), True)

    Source: nguyen2023, Algorithms 1 and 2; docs/errata.md, N1, N2, N5, N6, N10.
    """
    if not callable(method) and method not in get_args(WeightMethod):
        raise ValueError(f"tow: argument method must be one of {get_args(WeightMethod)} or a function, got {method!r}.")
    if weights not in ("free", "softmax"):
        raise ValueError(f'tow: argument weights must be "free" or "softmax", got {weights!r}.')
    if not isinstance(beta, Tracer) and not (np.ndim(beta) == 0 and np.isfinite(beta) and np.asarray(beta) > 0):
        raise ValueError(f"tow: argument beta must be a positive number, got {beta}; the paper uses 10.")
    for name, number in (("num_steps", num_steps), ("max_backtracks", max_backtracks)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"tow: argument {name} must be an integer of at least 1, got {number!r}.")
    if batch_size is not None and (not isinstance(batch_size, int | np.integer) or batch_size < 1):
        raise ValueError(f"tow: argument batch_size must be None or an integer of at least 1, got {batch_size!r}.")
    _check_axes(tasks)
    state = State(params, optimizer.init(params) if opt_state is None else opt_state)
    training = Training(loss, optimizer, weights == "softmax", terminal, batch_size)
    counts = _Counts(int(num_steps), int(max_backtracks))
    return _tow(training, state, tasks, beta, method=method, counts=counts)


class _Counts(NamedTuple):
    """Directions to try, and step lengths along each."""

    iterations: int
    trials: int


@compiled(static=("training", "method", "counts"))
def _tow(
    training: Training, state: State, batches: PyTree, beta, *, method: WeightMethod | Proposal, counts: _Counts
) -> TowResult:
    dtype = jnp.result_type(*jax.tree.leaves(state.params))
    beta = jnp.asarray(beta, dtype)
    T, M = jax.tree.leaves(batches)[0].shape[:2]
    nominal = jnp.full((T, M), 1 / M, dtype)
    search = _search_gram if method == "gram" else partial(_search, method=method)
    actions, cost, last, lengths, nominal_cost = search(training, state, nominal, batches, beta, counts)
    status = jnp.where(jnp.any(lengths > 0), SolveStatus.SOLVED, SolveStatus.NOT_IMPROVED)
    return TowResult(
        weights=task_weights(training, actions),
        params=last.params,
        opt_state=last.memory,
        cost=cost,
        nominal_cost=nominal_cost,
        step_lengths=lengths,
        status=jnp.where(jnp.isfinite(nominal_cost), status, SolveStatus.COST_NOT_FINITE).astype(jnp.int32),
    )


def _search(
    training: Training,
    state: State,
    nominal: Array,
    batches: PyTree,
    beta,
    counts: _Counts,
    *,
    method: WeightMethod | Proposal,
):
    """Actions, their J, the last state, step lengths, and J of the nominal actions."""
    nominal_cost, end = objective(training, state, nominal, batches, beta)

    def iterate(carry: tuple[Array, Array, State], _):
        actions, cost, last = carry
        propose = _proposal(training, state, actions, batches, beta, method)
        moved, lower, length, last = _line_search(propose, actions, cost, last, counts.trials)
        return (moved, lower, last), length

    (actions, cost, last), lengths = lax.scan(iterate, (nominal, nominal_cost, end), None, length=counts.iterations)
    return actions, cost, last, lengths, nominal_cost


def _search_gram(training: Training, state: State, nominal: Array, batches: PyTree, beta, counts: _Counts):
    """The same, with every training run made once: what a run found is kept for the next direction."""
    first = gram_weighting.first_rows(training, state, batches)
    start = gram_weighting.run(training, state, first, nominal, batches, beta)

    def iterate(carry: tuple[Array, gram_weighting.Pass], _):
        actions, here = carry
        slopes = gram_weighting.gradient(training, state, here, actions, batches, beta)

        def propose(length: Array):
            moved, bound = _projected(training, actions, _steepest(slopes, beta), slopes, length)
            there = gram_weighting.run(training, state, first, moved, batches, beta)
            return moved, there.cost, bound, there

        moved, _, length, there = _line_search(propose, actions, here.cost, here, counts.trials)
        return (moved, there), length

    (actions, end), lengths = lax.scan(iterate, (nominal, start), None, length=counts.iterations)
    return actions, end.cost, end.last, lengths, start.cost


def _proposal(
    training: Training, state: State, actions: Array, batches: PyTree, beta: Array, method: WeightMethod | Proposal
):
    """The result of a :class:`Proposal`."""
    if callable(method):
        return method(training, state, actions, batches, beta)
    if method in _FORMS:
        plan = riccati_weighting.plan(training, state, actions, batches, beta, form=_FORMS[method])
        # (72) of nguyen2023 requires half of the slope; N3 explains why this code requires less.
        return along_policies(training, state, batches, beta, plan, _SUFFICIENT)
    slopes = gradient(training, state, actions, batches, beta)
    direction = _steepest(slopes, beta)
    if method == "newton_cg":
        direction = _newton_direction(training, state, actions, batches, beta, slopes)

    def along_projected(length: Array):
        moved, bound = _projected(training, actions, direction, slopes, length)
        cost, last = objective(training, state, moved, batches, beta)
        return moved, cost, bound, last

    return along_projected


def along_policies(
    training: Training, state: State, batches: PyTree, beta: Array, plan: riccati_weighting.WeightPlan, fraction: float
) -> Callable[[Array], tuple[Array, Array, Array, State]]:
    """The result of a :class:`Proposal` for the policies of a plan: J must decrease by a fraction of the plan's
    slope."""

    def along(length: Array):
        moved, *_ = follow(plan.problem, plan.nominal, plan.policies, length, None)
        cost, last = objective(training, state, moved.controls, batches, beta)
        feasible = jnp.all(moved.controls >= 0) | training.softmax
        return moved.controls, jnp.where(feasible, cost, jnp.nan), fraction * length * plan.slope, last

    return along


def _steepest(slopes: Array, beta: Array) -> Array:
    """-slopes / beta, the minimiser if all curvature is that of the prior, beta I; shortened to change no action by
    more than one, since where the losses curve too it can be longer by orders of magnitude."""
    direction = -slopes / beta
    return direction / jnp.maximum(jnp.max(jnp.abs(direction)), 1)


def _projected(training: Training, actions: Array, direction: Array, slopes: Array, length: Array):
    """Actions along a direction, made non-negative, and the value that the change of J must not exceed."""
    moved = actions + length * direction
    moved = moved if training.softmax else jnp.maximum(moved, 0)
    return moved, _SUFFICIENT * jnp.sum(slopes * (moved - actions))


def _newton_direction(training: Training, state: State, actions: Array, batches: PyTree, beta: Array, slopes: Array):
    def hessian_times(vector: Array) -> Array:
        return jax.jvp(lambda U: gradient(training, state, U, batches, beta), (actions,), (vector,))[1]

    direction, _ = jax.scipy.sparse.linalg.cg(hessian_times, -slopes, tol=1e-10, maxiter=_CG_ITERATIONS)
    # Where the Hessian is indefinite the result may point uphill.
    return jnp.where(jnp.sum(direction * slopes) < 0, direction, -slopes / beta)


def _line_search(
    propose, actions: Array, cost: Array, found: PyTree, trials: int
) -> tuple[Array, Array, Array, PyTree]:
    """First of the step lengths 1, 1/2, ... that is accepted, with its actions, J, and what else the proposal found;
    what was there before if none is."""

    def attempt(length: Array, _) -> tuple[tuple[Array, Array, PyTree], Array]:
        moved, lower, bound, new = propose(length)
        return (moved, lower, new), (lower - cost <= bound) & (lower < cost)

    before = (actions, cost, found)
    trial = first_accepted(attempt, before_trials(before, cost.dtype), max_backtracks=trials)
    kept, lower, new = jax.tree.map(lambda after, old: jnp.where(trial.accepted, after, old), trial.value, before)
    return kept, lower, jnp.where(trial.accepted, trial.fraction, 0), new


def _check_axes(tasks: PyTree) -> None:
    sizes = {np.shape(leaf)[:2] for leaf in jax.tree.leaves(tasks)}
    (T, M) = next(iter(sizes)) if len(sizes) == 1 and len(next(iter(sizes))) == 2 else (0, 0)
    if T == 0 or M == 0:
        raise ValueError(
            f"tow: argument tasks must be a pytree of arrays with common leading axes [T, M], T >= 1 mini-batches of "
            f"M >= 1 tasks, got leading sizes {sorted(map(str, sizes))}; add an axis of length 1 for a single batch."
        )
