"""Meta-training and policy gradient: the two learners, each a direction for the loop of :mod:`jaxlqr.training.loop`."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.meta.layout import RUN_AXIS, TASK_AXIS, Layout, check_batch_size, over_tasks
from jaxlqr.meta.objective import Perturbations, meta_estimate, num_tasks
from jaxlqr.oracles.exact import ExactOracle
from jaxlqr.oracles.protocol import Loss, Oracle, PyTree, with_key
from jaxlqr.training.checkpoint import Checkpoints, Keeper, digest
from jaxlqr.training.loop import Check, Direction, Settings, TrainingResult, hashable, run
from jaxlqr.training.sharding import mesh_of, place, to_host, with_task_axis
from jaxlqr.training.steps import CheckedStepRule, StepRule

if TYPE_CHECKING:
    import optax

Metrics = Callable[[PyTree, Any], dict[str, Array]]


class _Data(NamedTuple):
    tasks: PyTree
    oracle: Oracle
    key: Array
    inner_step_size: Array
    weights: Array


@dataclass(frozen=True)
class _MetaProblem:
    """Static part of the meta-objective; the arrays come as :class:`_Data`."""

    loss: Loss
    feasible: Callable[[PyTree, Any], Array] | None
    metrics: Metrics | None
    num_inner_steps: int
    first_order: bool
    perturbations: Perturbations
    max_halvings: int
    step_rule: StepRule | None
    layout: Layout

    def check(self, data: _Data, params: PyTree, step: Array) -> Check:
        _, loss_key = self._keys(data, step)
        loss = with_key(self.loss, loss_key)
        losses = over_tasks(self.layout, lambda task: loss(params, task), data.tasks)
        if (test := self.feasible) is None:
            feasible = jnp.all(jnp.isfinite(losses))
        else:
            feasible = jnp.all(over_tasks(self.layout, lambda task: test(params, task), data.tasks))
        return Check(feasible, {"loss": losses, **self._recorded(data.tasks, params, losses)})

    def direct(self, data: _Data, params: PyTree, step: Array) -> Direction:
        key, _ = self._keys(data, step)
        rule, inner_step = self.step_rule, data.inner_step_size
        if rule is not None:
            inner_step = rule.inner(params, data.tasks, step)
        estimate = meta_estimate(
            self.loss,
            params,
            data.tasks,
            inner_step,
            data.oracle,
            key,
            num_inner_steps=self.num_inner_steps,
            weights=data.weights,
            first_order=self.first_order,
            perturbations=self.perturbations,
            max_halvings=self.max_halvings,
            layout=self.layout,
        )
        record = {"failed_queries": estimate.failed_queries, "inner_fraction": estimate.inner_fraction}
        if rule is None:
            return Direction(estimate.gradient, record, jnp.ones((), data.inner_step_size.dtype))
        scale = rule.outer(params, data.tasks, inner_step, estimate.gradient, step)
        return Direction(estimate.gradient, record | {"inner_step": inner_step, "outer_step": scale}, scale)

    @staticmethod
    def _keys(data: _Data, step: Array) -> Array:
        return jax.random.split(jax.random.fold_in(data.key, step))

    def _recorded(self, tasks: PyTree, params: PyTree, losses: Array) -> dict[str, Array]:
        if (metrics := self.metrics) is not None:
            return over_tasks(self.layout, lambda task: metrics(params, task), tasks)
        if not hasattr(tasks, "metrics"):
            return {}
        return over_tasks(self.layout, lambda task, value: task.metrics(params, self.loss, value), tasks, losses)


@lru_cache(maxsize=1)
def _plain_descent() -> "optax.GradientTransformation":
    import optax  # imported on first use: it takes as long to import as the rest of this package

    return optax.sgd(1.0)


def meta_train(
    loss: Loss,
    params: PyTree,
    tasks: PyTree,
    *,
    num_steps: int,
    inner_step_size: float | Array | None = None,
    outer_step_size: float | Array | None = None,
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
    metrics: Metrics | None = None,
    batched: bool = False,
    chunk_size: int = 50,
    progress: bool | None = None,
    batch_size: int | None = None,
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
        inner_step_size: adaptation step size; one per run when ``batched``, or one for all.
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
        metrics: function (params, task) -> dict of scalars to record; unless given, those of the task's own type
            (``task.metrics``), if it has any.
        batched: ``params``, ``tasks``, ``key`` and ``weights`` carry a leading axis of independent runs, which are
            trained side by side.
        chunk_size: steps between two updates of the progress bar.
        progress: show the progress bar; ``None`` shows it in a terminal or a notebook.
        batch_size: tasks worked on at once on each device, which bounds the memory; all of them unless given.
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
    rule, scale, inner_step_size = _step_rule(optimizer, inner_step_size, outer_step_size, step_rule)
    _check_positive("num_steps", num_steps, 1)
    _check_positive("num_inner_steps", num_inner_steps, 0)
    _check_positive("max_backtracks", max_backtracks, 1)
    _check_positive("chunk_size", chunk_size, 1)
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
    key = jax.random.key(0) if key is None else key
    if runs is not None and key.shape != (runs,):
        key = jax.random.split(key, runs)
    dtype = jnp.result_type(*jax.tree.leaves(params))

    def per_run(value: Any) -> Any:
        # NumPy: outside the compiled loop, jnp operations would each be compiled for a new shape.
        return np.broadcast_to(np.asarray(value, dtype), lead)

    shares: Any = np.full((*lead, count), 1 / count) if weights is None else weights
    source: Oracle = ExactOracle() if oracle is None else oracle
    source = jax.tree.map(per_run, source)  # its numbers become arrays: another radius compiles nothing
    layout = Layout(batch_size, mesh_of(tasks))
    by_run = partial(place, mesh=layout.mesh, lead=(RUN_AXIS,) if batched else ())
    shares = place(
        jax.device_put(np.asarray(shares, dtype)), layout.mesh, (RUN_AXIS, TASK_AXIS) if batched else (TASK_AXIS,)
    )
    data = _Data(tasks, by_run(source), by_run(key), by_run(per_run(inner_step_size)), shares)
    problem = _MetaProblem(
        loss=hashable(loss, "loss"),
        feasible=feasible,
        metrics=metrics,
        num_inner_steps=num_inner_steps,
        first_order=first_order,
        perturbations=perturbations,
        max_halvings=max_backtracks if safeguard else 0,
        step_rule=None if step_rule is None else hashable(step_rule, "step_rule"),
        layout=layout,
    )
    if checkpoints is not None and checkpoints.every is not None:
        chunk_size = min(chunk_size, checkpoints.every)
    with ThreadPoolExecutor(1) as pool, _kept(checkpoints, problem, rule, data, params, scale) as keeper:
        # What the history is compared with is solved meanwhile: compiling it takes as long as compiling the loop.
        compared = metrics is None and hasattr(tasks, "compare")
        reference = pool.submit(_reference, layout, batched, tasks) if compared else None
        result = run(
            Settings(problem, rule, safeguard, max_backtracks, layout.mesh is not None),
            data,
            by_run(params),
            by_run(per_run(scale)),
            num_steps=num_steps,
            batched=batched,
            chunk_size=min(chunk_size, num_steps + 1),
            progress=progress,
            reject=partial(_reject, isinstance(source, ExactOracle)) if safeguard and strict else None,
            keeper=keeper,
            every=None if checkpoints is None else checkpoints.every,
        )
    if reference is None:
        return result
    steps = 1 if batched else 0
    expanded = jax.tree.map(lambda leaf: np.expand_dims(to_host(leaf), steps), reference.result())
    known = {name: np.asarray(rows) for name, rows in result.history.items()}
    return replace(result, history=result.history | jax.device_put(tasks.compare(known, expanded)))


def policy_gradient(
    loss: Loss,
    params: PyTree,
    task: PyTree,
    *,
    num_steps: int,
    step_size: float | Array | None = None,
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
            ``progress``, ``checkpoints`` and ``strict`` of :func:`meta_train`.

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
        with_task_axis(task, batched=batched),
        num_steps=num_steps,
        inner_step_size=0.0,
        num_inner_steps=0,
        outer_step_size=step_size,
        optimizer=optimizer,
        batched=batched,
        **options,
    )
    without_runs = 2 if batched else 1
    history = {
        name: rows.squeeze(axis=axis + 1) if rows.ndim > without_runs else rows for name, rows in result.history.items()
    }
    return TrainingResult(params=result.params, history=history, status=result.status)


@partial(jax.jit, static_argnames=("layout", "batched"))
def _reference(layout: Layout, batched: bool, tasks: PyTree) -> PyTree:
    prepare = partial(over_tasks, layout, lambda task: task.reference())
    return (jax.vmap(prepare, spmd_axis_name=RUN_AXIS if layout.mesh else None) if batched else prepare)(tasks)


@contextmanager
def _kept(
    checkpoints: Checkpoints | None,
    problem: _MetaProblem,
    optimizer: "optax.GradientTransformation",
    data: _Data,
    params: PyTree,
    scale: Any,
) -> Iterator[Keeper | None]:
    """The keeper of the checkpoints of this run, None without any."""
    if checkpoints is None:
        yield None
        return
    statics = {name: _described(value) for name, value in vars(problem).items() if name != "layout"}
    arrays = {"tasks and settings": digest(data), "start": digest((params, scale))}
    with checkpoints.open(statics | arrays | {"optimizer": _answer(optimizer, params)}) as keeper:
        yield keeper


def _answer(optimizer: "optax.GradientTransformation", params: PyTree) -> str:
    """Fingerprint of an optimiser, whose numbers are hidden in its code: what it makes of two gradients of ones."""
    gradient, state = jax.tree.map(jnp.ones_like, params), optimizer.init(params)
    _, state = optimizer.update(gradient, state, params)
    return digest(optimizer.update(gradient, state, params))


def _described(value: Any) -> Any:
    """A name that is the same in the next process: a function's own, else what it prints without addresses."""
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return (
        value if value is None or isinstance(value, str | int | bool) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    )


def _step_rule(optimizer: Any, inner: Any, outer: Any, step_rule: StepRule | None) -> tuple[Any, Any, Any]:
    """The optimiser, the factor on its updates and the inner step: traced numbers, so that others compile nothing."""
    if (step_rule is None) == (inner is None):
        raise ValueError("give exactly one of inner_step_size and step_rule.")
    if step_rule is not None:
        if outer is not None:
            raise ValueError("give no outer step size with a step_rule, which chooses it.")
        return _plain_descent() if optimizer is None else optimizer, 1.0, 0.0
    _check_step("inner_step_size", inner, zero_allowed=True)
    if optimizer is None and outer is None:
        raise ValueError("give an optimizer, the (outer) step size, or both.")
    if outer is None:
        return optimizer, 1.0, inner
    _check_step("the (outer) step size", outer, zero_allowed=False)
    return _plain_descent() if optimizer is None else optimizer, outer, inner


def _check_positive(name: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")


def _check_step(name: str, value: Any, *, zero_allowed: bool) -> None:
    array = np.asarray(value, dtype=float)
    good = (array >= 0) if zero_allowed else (array > 0)
    if not np.all(good & np.isfinite(array)):
        raise ValueError(f"{name} must be {'non-negative' if zero_allowed else 'positive'} and finite, got {value}.")


def _reject(deterministic: bool, row: dict[str, np.ndarray]) -> None:
    losses = row["loss"].reshape(-1, row["loss"].shape[-1])
    bad = sorted({int(task) for _, task in np.argwhere(~np.isfinite(losses))})
    if bad:
        listed = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        raise ValueError(
            f"params must be feasible for every task, but the loss is not finite for {len(bad)} of "
            f"{losses.shape[1]} tasks: {listed}; start from parameters that are (for LQR, a gain that stabilises them)."
        )
    if not np.all(row["feasible"]):
        raise ValueError("params must be feasible for every task, but the test passed as feasible says they are not.")
    if deterministic:  # a random direction may be finite at the next draw
        raise ValueError(
            "params are feasible, but the meta-gradient there is not finite: the adapted parameters leave the feasible "
            "set; reduce inner_step_size."
        )
