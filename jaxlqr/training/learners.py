"""Meta-training and policy gradient: the two learners, each a direction for the loop of :mod:`jaxlqr.training.loop`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.arguments import as_key
from jaxlqr.core.checks import refuse_half
from jaxlqr.core.layout import RUN_AXIS, TASK_AXIS, Layout, check_batch_size
from jaxlqr.meta.objective import Perturbations, num_tasks
from jaxlqr.oracles.exact import ExactOracle, as_oracle
from jaxlqr.oracles.protocol import Loss, Oracle, PyTree
from jaxlqr.training.arguments import (
    check_auto,
    check_budget,
    check_count,
    check_minibatch,
    hashable,
    is_auto,
    one_task,
    reject_start,
    resolve_steps,
    stack_of_tasks,
)
from jaxlqr.training.automatic import automatic_steps
from jaxlqr.training.checkpoint import Checkpoints
from jaxlqr.training.fingerprint import kept_checkpoints
from jaxlqr.training.loop import Callback, run
from jaxlqr.training.metrics import Metrics, Recording, recording_of, start_reference, with_comparison
from jaxlqr.training.problem import Data, MetaProblem
from jaxlqr.training.result import TrainingResult, named_leaves
from jaxlqr.training.search import Settings
from jaxlqr.training.sharding import mesh_of, place, with_task_axis
from jaxlqr.training.steps import CheckedStepRule, StepRule

if TYPE_CHECKING:
    import optax


def meta_train(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    num_steps: int,
    inner_step_size: float | Array | Literal["auto"] | None = None,
    outer_step_size: float | Array | Literal["auto"] | None = None,
    step_rule: StepRule | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    oracle: Oracle | None = None,
    key: Array | None = None,
    num_inner_steps: int = 1,
    weights: Array | None = None,
    first_order: bool = False,
    perturbations: Perturbations = "independent",
    safeguard: bool = True,
    max_backtracks: int = 20,
    feasible: Callable[[PyTree, Any], Array] | None = None,
    metrics: Metrics | Recording | None = None,
    batched: bool = False,
    chunk_size: int = 50,
    progress: bool | None = None,
    batch_size: int | None = None,
    minibatch_size: int | None = None,
    max_queries: int | None = None,
    callback: Callback | None = None,
    record_params: bool = False,
    checkpoints: Checkpoints | None = None,
    strict: bool = True,
) -> TrainingResult:
    r"""Minimise the meta-objective :func:`jaxlqr.maml_loss` over the parameters, in one compiled loop.

    With the exact oracle this is Algorithm 1 of toso2024, with the zeroth-order oracle Algorithm 3; both take the step
    :math:`\theta \leftarrow \theta + s \cdot \mathrm{update}(\hat\nabla L(\theta))` with s = 1 unless the safeguard
    shortens it.

    Arguments:
        loss: function (params, task) -> scalar, unbatched and hashable; +inf marks infeasible parameters.
        params: initial parameters, feasible for every task.
        tasks: pytree with a leading task axis M.
        num_steps: number of outer steps.
        inner_step_size: adaptation step size; one per run when ``batched``, or one for all. ``"auto"`` chooses it, or
            the outer one, by the curvature at ``params``: :func:`jaxlqr.training.automatic_steps`.
        outer_step_size: step size of plain gradient descent outside; with an ``optimizer``, a factor on its updates, 1
            unless given. Give this, ``optimizer`` or both. Unlike the numbers within an optimiser it is traced: another
            one compiles nothing.
        step_rule: chooses both step sizes at every iterate, see :mod:`jaxlqr.training.steps`; with an ``optimizer``,
            its outer step is a factor on the optimiser's updates. Give this or ``inner_step_size``.
        optimizer: any optax optimiser.
        oracle: source of derivatives; exact unless given.
        key: random key; ``jax.random.key(0)`` unless given. The same key gives the same result.
        num_inner_steps, weights, first_order, perturbations: as in :func:`jaxlqr.maml_gradient`; ``num_inner_steps=0``
            is plain multi-task gradient descent.
        safeguard: halve an outer step until every task is feasible there, and an inner step until the gradient at the
            adapted parameters is finite. Off, a run may diverge, which its status then says.
        max_backtracks: halvings after which a step is refused.
        feasible: test (params, task) -> bool; unless given, the loss must be finite. With rollouts, whose cost is
            finite for any gain, ``jaxlqr.is_stabilizing`` is the exact test where a model is known.
        metrics: function (params, task) -> dict of scalars to record, or a :class:`jaxlqr.training.Recording`; unless
            given, the recording that :func:`jaxlqr.training.record_for` registered for the class of the tasks. For LQR
            tasks this is the cost, the spectral radius and the gap to the optimal cost.
        batched: ``params``, ``tasks``, ``key`` and ``weights`` carry a leading axis of independent runs, which are
            trained side by side.
        chunk_size: steps between two updates of the progress bar.
        progress: show the progress bar; ``None`` shows it in a terminal or a notebook, and elsewhere prints at most one
            line a minute on stderr.
        batch_size: tasks worked on at once on each device, which bounds the memory and changes no number; all of them
            unless given.
        minibatch_size: tasks whose gradient a step uses, drawn without replacement at every step from ``key``; all of
            them unless given. A step then costs less and its direction is noisy. The history and the safeguard still
            evaluate the loss of every task.
        max_queries: budget of cost queries (``history["queries"]``) of each run: no step begins whose queries would
            exceed it. Only a step that is shortened, which queries again, may. Counted are the queries of the oracle
            and, unless ``feasible`` is given, the losses that the safeguard tests; not those of a step rule. All runs
            of a batch stop together.
        callback: function (step, params, rows), called outside the compiled code after every ``chunk_size`` steps with
            the number of the last one, its parameters and the rows of the history since the last call, all in NumPy.
            If it returns True the run ends there.
        record_params: record the parameters of every step in the history, too.
        checkpoints: where to keep checkpoints and whether to go on from them, see
            :class:`jaxlqr.training.Checkpoints`. SIGINT and SIGTERM then stop the run after a last checkpoint.
        strict: raise for initial parameters that are not feasible; else such a run stays there and ends STALLED.

    Tasks that lie on a mesh (:func:`jaxlqr.training.sharding.shard_tasks`) are worked on where they are.

    Returns:
        :class:`TrainingResult` with the last parameters, the history and the status.

    Raises:
        ValueError: when an argument does not fit, or the initial parameters are not feasible (with the tasks).

    >>> import jax, jaxlqr
    >>> task = jaxlqr.families.boeing()
    >>> tasks = jaxlqr.families.perturb(jax.random.key(0), task, 3, level=0.01)
    >>> K0 = jaxlqr.families.boeing_initial_gain()
    >>> result = jaxlqr.meta_train(
    ...     jaxlqr.cost, K0, tasks, num_steps=20, inner_step_size=1e-7, outer_step_size=1e-6
    ... )
    >>> result.history["cost"].shape, bool((result.history["gap"][-1] < result.history["gap"][0]).all())
    ((21, 3), True)
    """
    refuse_half("meta_train", params=params)
    params, tasks = stack_of_tasks(params, tasks, batched=batched).values()
    check_count("num_inner_steps", num_inner_steps, 0)
    if num_inner_steps == 0 and step_rule is None and inner_step_size is None:
        inner_step_size = 0.0
    if is_auto(inner_step_size) or is_auto(outer_step_size):
        check_auto(optimizer, outer_step_size)
        steps = automatic_steps(hashable(loss, "loss"), params, tasks, oracle=oracle, batched=batched)
        inner_step_size = steps.inner if is_auto(inner_step_size) else inner_step_size
        outer_step_size = steps.outer if is_auto(outer_step_size) else outer_step_size
    rule, scale, inner_step_size = resolve_steps(optimizer, inner_step_size, outer_step_size, step_rule)
    check_count("num_steps", num_steps, 1)
    check_count("max_backtracks", max_backtracks, 1)
    check_count("chunk_size", chunk_size, 1)
    check_batch_size(batch_size)
    if perturbations not in ("independent", "shared"):
        raise ValueError(f'perturbations must be "independent" or "shared", got {perturbations!r}.')
    if isinstance(step_rule, CheckedStepRule):
        step_rule.check(tasks)
    runs = num_tasks(params) if batched else None
    lead = () if runs is None else (runs,)
    count = num_tasks(
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), tasks) if batched else tasks
    )
    key = as_key(0 if key is None else key)
    if runs is not None and key.shape != (runs,):
        key = jax.random.split(key, runs)
    dtype = jnp.result_type(*jax.tree.leaves(params))

    def per_run(value: Any) -> Any:
        # NumPy: outside the compiled loop, jnp operations would each be compiled for a new shape.
        return np.broadcast_to(np.asarray(value, dtype), lead)

    shares: Any = np.full((*lead, count), 1 / count) if weights is None else weights
    source = as_oracle(oracle)
    source = jax.tree.map(per_run, source)  # its numbers become arrays: another radius compiles nothing
    layout = Layout(batch_size, mesh_of(tasks))
    by_run = partial(place, mesh=layout.mesh, lead=(RUN_AXIS,) if batched else ())
    shares = place(
        jax.device_put(np.asarray(shares, dtype)), layout.mesh, (RUN_AXIS, TASK_AXIS) if batched else (TASK_AXIS,)
    )
    check_minibatch(minibatch_size, count, sharded=layout.mesh is not None)
    check_budget(max_queries, isinstance(source, ExactOracle))
    data = Data(tasks, by_run(source), by_run(key), by_run(per_run(inner_step_size)), shares)
    recorded = recording_of(tasks) if metrics is None else metrics
    problem = MetaProblem(
        loss=hashable(loss, "loss"),
        feasible=feasible,
        metrics=recorded,
        num_inner_steps=num_inner_steps,
        first_order=first_order,
        perturbations=perturbations,
        max_halvings=max_backtracks if safeguard else 0,
        step_rule=None if step_rule is None else hashable(step_rule, "step_rule"),
        layout=layout,
        minibatch_size=minibatch_size,
    )
    if checkpoints is not None and checkpoints.every is not None:
        chunk_size = min(chunk_size, checkpoints.every)
    with (
        ThreadPoolExecutor(1) as pool,
        kept_checkpoints(checkpoints, problem, rule, data, params, scale, record_params) as keeper,
    ):
        # What the history is compared with is solved meanwhile: compiling it takes as long as compiling the loop.
        reference = start_reference(pool, recorded, layout, batched, tasks)
        result = run(
            Settings(problem, rule, safeguard, max_backtracks, layout.mesh is not None, record_params),
            data,
            by_run(params),
            by_run(per_run(scale)),
            num_steps=num_steps,
            batched=batched,
            chunk_size=min(chunk_size, num_steps + 1),
            progress=progress,
            reject=partial(reject_start, isinstance(source, ExactOracle)) if safeguard and strict else None,
            keeper=keeper,
            every=None if checkpoints is None else checkpoints.every,
            callback=callback,
            max_queries=max_queries,
        )
    return with_comparison(result, recorded, reference, batched)


def policy_gradient(
    loss: Loss,
    params: PyTree,
    task: PyTree,
    *,
    num_steps: int,
    step_size: float | Array | Literal["auto"] | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    batched: bool = False,
    **options: Any,
) -> TrainingResult:
    """Minimise the loss of one task by gradient descent; also the adaptation of a meta-learned policy to a new task.

    Arguments:
        loss, params: as in :func:`meta_train`.
        task: one task, without a task axis; with ``batched``, a stack of them, which may lie on a mesh.
        num_steps: number of steps.
        step_size, optimizer: as ``outer_step_size`` and ``optimizer`` of :func:`meta_train`.
        batched: ``params``, ``task`` and ``key`` carry a leading axis of independent runs.
        options: ``oracle``, ``key``, ``safeguard``, ``max_backtracks``, ``feasible``, ``metrics``, ``chunk_size``,
            ``progress``, ``max_queries``, ``callback``, ``record_params``, ``checkpoints`` and ``strict`` of
            :func:`meta_train`.

    Returns:
        :class:`TrainingResult`; the history has no task axis.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[1.1]], [[1.0]])
    >>> result = policy_gradient(jaxlqr.cost, jnp.array([[0.5]]), task, num_steps=50, step_size=0.02)
    >>> bool(abs(result.params - jaxlqr.optimal_gain(task)) < 1e-3)
    True

    Source: Fazel et al., ICML 2018, for the exact oracle; toso2024, section 7, for its use in adaptation.
    """
    allowed = {
        "oracle",
        "key",
        "safeguard",
        "max_backtracks",
        "feasible",
        "metrics",
        "chunk_size",
        "progress",
        "max_queries",
        "callback",
        "record_params",
        "checkpoints",
        "strict",
    }
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise TypeError(f"policy_gradient got unknown options {unknown}; it takes {sorted(allowed)}.")
    axis = 1 if batched else 0
    result = meta_train(
        loss,
        params,
        with_task_axis(one_task(task, batched=batched), batched=batched),
        num_steps=num_steps,
        inner_step_size=0.0,
        num_inner_steps=0,
        outer_step_size=step_size,
        optimizer=optimizer,
        batched=batched,
        **options,
    )
    without_runs = 2 if batched else 1
    recorded = named_leaves(result.params)
    history = {
        name: rows.squeeze(axis=axis + 1) if rows.ndim > without_runs and name not in recorded else rows
        for name, rows in result.history.items()
    }
    return TrainingResult(params=result.params, history=history, status=result.status)
