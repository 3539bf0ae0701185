"""Meta-training and policy gradient: the two learners, each a direction for the loop of :mod:`jaxlqr.training.loop`."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.arguments import as_key
from jaxlqr.core.checks import refuse_half
from jaxlqr.core.layout import RUN_AXIS, TASK_AXIS, Layout, num_tasks
from jaxlqr.core.types import PyTree
from jaxlqr.meta.objective import Mean, Objective
from jaxlqr.oracles.exact import ExactOracle, as_oracle
from jaxlqr.oracles.protocol import Loss, Oracle
from jaxlqr.training.arguments import (
    TrainingInputs,
    check_budget,
    check_count,
    check_minibatch,
    hashable,
    one_task,
    reject_start,
    resolve_steps,
    stack_of_tasks,
)
from jaxlqr.training.fingerprint import kept_checkpoints
from jaxlqr.training.loop import run
from jaxlqr.training.metrics import recording_of, start_reference, with_comparison
from jaxlqr.training.options import Guard, Limits, Output
from jaxlqr.training.problem import MetaProblem, RunData
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
    objective: Objective | None = None,
    outer_step_size: float | Array | Literal["auto"] | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    step_rule: StepRule | None = None,
    oracle: Oracle | None = None,
    key: Array | None = None,
    weights: Array | None = None,
    batched: bool = False,
    guard: Guard | None = Guard(),
    limits: Limits = Limits(),
    output: Output = Output(),
) -> TrainingResult:
    r"""Minimise an objective over a family of tasks, in one compiled loop.

    Each step is :math:`\theta \leftarrow \theta + s \cdot \mathrm{update}(\hat\nabla L(\theta))` with s = 1 unless the
    guard shortens it. With :class:`jaxlqr.Maml` and the exact oracle this is Algorithm 1 of toso2024, with the
    zeroth-order oracle Algorithm 3.

    Arguments:
        loss: function (params, task) -> scalar, unbatched and hashable; +inf marks infeasible parameters.
        params: initial parameters, feasible for every task.
        tasks: pytree with a leading task axis M.
        num_steps: number of outer steps.
        objective: what is minimised: :class:`jaxlqr.Maml`, :class:`jaxlqr.Mean`, or any
            :class:`jaxlqr.meta.Objective`; ``Maml()`` unless given, whose inner step size ``step_rule`` then chooses.
            Its numbers may have one value for each run when ``batched``.
        outer_step_size: step size of plain gradient descent outside; with an ``optimizer``, a factor on its updates, 1
            unless given. Give this, ``optimizer`` or both. Unlike the numbers within an optimiser it is traced: another
            one compiles nothing. ``"auto"``, here or as ``Maml.inner_step_size``, lets
            :func:`jaxlqr.training.automatic_steps` choose by the curvature at ``params``.
        optimizer: any optax optimiser.
        step_rule: chooses both step sizes of :class:`jaxlqr.Maml` at every iterate, see :mod:`jaxlqr.training.steps`;
            with an ``optimizer``, its outer step is a factor on the optimiser's updates.
        oracle: source of derivatives; exact unless given.
        key: random key; ``jax.random.key(0)`` unless given. The same key gives the same result.
        weights: task weights [M]; 1/M each unless given.
        batched: ``params``, ``tasks``, ``key`` and ``weights`` carry a leading axis of independent runs, which are
            trained side by side.
        guard: how every iterate is kept feasible, see :class:`jaxlqr.Guard`; None for no safeguard.
        limits: how many tasks are worked on at once, or drawn for each step, and a budget of cost queries, see
            :class:`jaxlqr.Limits`.
        output: what is shown, recorded and stored, see :class:`jaxlqr.Output`. For LQR tasks the history has the cost,
            the spectral radius and the gap to the optimal cost.

    Tasks that lie on a mesh (:func:`jaxlqr.training.sharding.shard_tasks`) are worked on where they are.

    Returns:
        :class:`TrainingResult` with the last parameters, the history and the status.

    Raises:
        ValueError: when an argument does not fit, or the initial parameters are not feasible (with the tasks).

    >>> import jax, jaxlqr
    >>> task = jaxlqr.families.boeing()
    >>> tasks = jaxlqr.families.perturb(jax.random.key(0), task, 3, level=0.01)
    >>> K0 = jaxlqr.families.boeing_initial_gain()
    >>> maml = jaxlqr.Maml(inner_step_size=1e-7)
    >>> result = jaxlqr.meta_train(jaxlqr.cost, K0, tasks, num_steps=20, objective=maml, outer_step_size=1e-6)
    >>> result.history["cost"].shape, bool((result.history["gap"][-1] < result.history["gap"][0]).all())
    ((21, 3), True)
    """
    refuse_half("meta_train", params=params)
    params, tasks = stack_of_tasks(params, tasks, batched=batched).values()
    check_count("num_steps", num_steps, 1)
    source = as_oracle(oracle)
    given = TrainingInputs(hashable(loss, "loss"), params, tasks, source, batched)
    rule, scale, objective = resolve_steps(given, objective, optimizer, outer_step_size, step_rule)
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
    layout = Layout(limits.batch_size, mesh_of(tasks))
    by_run = partial(place, mesh=layout.mesh, lead=(RUN_AXIS,) if batched else ())
    shares = place(
        jax.device_put(np.asarray(shares, dtype)), layout.mesh, (RUN_AXIS, TASK_AXIS) if batched else (TASK_AXIS,)
    )
    check_minibatch(limits.minibatch_size, count, sharded=layout.mesh is not None)
    check_budget(limits.max_queries, isinstance(source, ExactOracle))
    # The numbers of oracle and objective become arrays: another radius or step size compiles nothing.
    numbers = by_run(jax.tree.map(per_run, (source, objective)))
    data = RunData(tasks, numbers[0], by_run(key), numbers[1], shares)
    recorded = recording_of(tasks) if output.metrics is None else output.metrics
    problem = MetaProblem(
        loss=given.loss,
        feasible=None if guard is None else guard.feasible,
        metrics=recorded,
        max_backtracks=0 if guard is None else guard.max_backtracks,
        step_rule=None if step_rule is None else hashable(step_rule, "step_rule"),
        layout=layout,
        minibatch_size=limits.minibatch_size,
    )
    settings = Settings(
        problem, rule, guard is not None, max(problem.max_backtracks, 1), layout.mesh is not None, output.record_params
    )
    with ThreadPoolExecutor(1) as pool, kept_checkpoints(output, problem, rule, data, params, scale) as keeper:
        # The reference of the history is solved at the same time: its compilation takes as long as that of the loop.
        reference = start_reference(pool, recorded, layout, batched, tasks)
        result = run(
            settings,
            data,
            by_run(params),
            by_run(per_run(scale)),
            num_steps=num_steps,
            batched=batched,
            output=output,
            reject=partial(reject_start, isinstance(source, ExactOracle))
            if guard is not None and guard.strict
            else None,
            keeper=keeper,
            max_queries=limits.max_queries,
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
    oracle: Oracle | None = None,
    key: Array | None = None,
    batched: bool = False,
    guard: Guard | None = Guard(),
    limits: Limits = Limits(),
    output: Output = Output(),
) -> TrainingResult:
    """Minimise the loss of one task by gradient descent; also the adaptation of a meta-learned policy to a new task.

    Arguments:
        loss, params: as in :func:`meta_train`.
        task: one task, without a task axis; with ``batched``, a stack of them, which may lie on a mesh.
        num_steps: number of steps.
        step_size, optimizer: as ``outer_step_size`` and ``optimizer`` of :func:`meta_train`.
        oracle, key, guard, limits, output: as in :func:`meta_train`.
        batched: ``params``, ``task`` and ``key`` carry a leading axis of independent runs.

    Returns:
        :class:`TrainingResult`; the history has no task axis.

    Raises:
        ValueError: when an argument does not fit, or the initial parameters are not feasible.

    >>> import jaxlqr
    >>> task = jaxlqr.make_task([[1.1]], [[1.0]])
    >>> result = policy_gradient(jaxlqr.cost, jnp.array([[0.5]]), task, num_steps=50, step_size=0.02)
    >>> bool(abs(result.params - jaxlqr.optimal_gain(task)) < 1e-3)
    True

    Source: Fazel et al., ICML 2018, for the exact oracle; toso2024, section 7, for its use in adaptation.
    """
    axis = 1 if batched else 0
    result = meta_train(
        loss,
        params,
        with_task_axis(one_task(task, batched=batched), batched=batched),
        num_steps=num_steps,
        objective=Mean(),
        outer_step_size=step_size,
        optimizer=optimizer,
        oracle=oracle,
        key=key,
        batched=batched,
        guard=guard,
        limits=limits,
        output=output,
    )
    without_runs = 2 if batched else 1
    recorded = named_leaves(result.params)
    history = {
        name: rows.squeeze(axis=axis + 1) if rows.ndim > without_runs and name not in recorded else rows
        for name, rows in result.history.items()
    }
    return TrainingResult(params=result.params, history=history, status=result.status)
