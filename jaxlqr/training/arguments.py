"""Checks of the arguments of the learners, with one sentence for each mistake."""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxlqr.core.arguments import check_count as check_count
from jaxlqr.core.arguments import check_number
from jaxlqr.core.types import PyTree
from jaxlqr.lqr.checks import check_task
from jaxlqr.lqr.task import LQRTask
from jaxlqr.meta.maml import params_and_tasks
from jaxlqr.meta.objective import Maml, Objective
from jaxlqr.oracles.protocol import Loss, Oracle
from jaxlqr.training.automatic import automatic_steps
from jaxlqr.training.steps import StepRule

if TYPE_CHECKING:
    import optax


@lru_cache(maxsize=1)
def _plain_descent() -> "optax.GradientTransformation":
    import optax  # imported on first use: it takes as long to import as the rest of this package

    return optax.sgd(1.0)


class TrainingInputs(NamedTuple):
    """What the caller trains: the arguments by which step sizes are chosen."""

    loss: Loss
    params: PyTree
    tasks: PyTree
    oracle: Oracle
    batched: bool


def resolve_steps(
    given: TrainingInputs, objective: Any, optimizer: Any, outer: Any, step_rule: StepRule | None
) -> tuple[Any, Any, Objective]:
    """The optimiser, the factor on its updates and the objective, with numbers for the step sizes.

    Both step sizes are traced, so that others compile nothing.
    """
    check_optimizer(optimizer)
    objective = Maml() if objective is None else objective
    if isinstance(objective, type) or not isinstance(objective, Objective):
        raise ValueError(
            f"objective must be an objective, got {objective!r}; write jaxlqr.Maml(inner_step_size=1e-3) or "
            "jaxlqr.Mean()."
        )
    inner = objective.inner_step_size if isinstance(objective, Maml) else None
    if _is_auto(inner) or _is_auto(outer):
        _check_auto(optimizer, outer)
        steps = automatic_steps(given.loss, given.params, given.tasks, oracle=given.oracle, batched=given.batched)
        inner = steps.inner if _is_auto(inner) else inner
        outer = steps.outer if _is_auto(outer) else outer
    for name, value in (("inner_step_size", inner), ("the (outer) step size", outer)):
        if isinstance(value, str):
            check_number(name, value)
    inner = _inner_step(objective, inner, step_rule)
    if isinstance(objective, Maml):
        objective = replace(objective, inner_step_size=inner)
    if step_rule is not None:
        if outer is not None:
            raise ValueError("give no outer step size with a step_rule, which chooses it.")
        return _plain_descent() if optimizer is None else optimizer, 1.0, objective
    if optimizer is None and outer is None:
        raise ValueError("give an optimizer, the (outer) step size, or both.")
    if outer is None:
        return optimizer, 1.0, objective
    _check_step("the (outer) step size", outer, zero_allowed=False)
    return _plain_descent() if optimizer is None else optimizer, outer, objective


def _inner_step(objective: Objective, inner: Any, step_rule: StepRule | None) -> Any:
    """The inner step size; 0 where a rule chooses it or no inner step is taken."""
    if not isinstance(objective, Maml):
        if step_rule is not None:
            raise ValueError(
                f"step_rule must be None for {type(objective).__name__}, which has no inner step, got {step_rule!r}; "
                "give outer_step_size or optimizer."
            )
        return None
    if inner is None and step_rule is None and objective.num_inner_steps == 0:
        return 0.0
    if (step_rule is None) == (inner is None):
        raise ValueError("give exactly one of inner_step_size and step_rule.")
    if step_rule is not None:
        return 0.0
    _check_step("inner_step_size", inner, zero_allowed=True)
    return inner


def _is_auto(step: Any) -> bool:
    return isinstance(step, str) and step == "auto"


def _check_auto(optimizer: Any, outer: Any) -> None:
    """Raise ``ValueError`` where a chosen outer step would be a factor on the updates of an optimiser."""
    if optimizer is not None and _is_auto(outer):
        raise ValueError(
            'the (outer) step size "auto" is that of plain gradient descent; with an optimizer leave it out, or give a '
            "factor on its updates."
        )


def check_optimizer(optimizer: Any) -> None:
    """Raise ``ValueError`` unless ``optimizer`` is None or an optimiser of optax."""
    if optimizer is not None and not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(
            f"optimizer must be an optax optimiser, got {optimizer!r}; write for example optimizer=optax.adam(1e-3)."
        )


def one_task(task: Any, *, batched: bool) -> Any:
    """``task``, which must not be a stack, unless ``batched``."""
    if isinstance(task, LQRTask) and not batched:
        check_task(task)
    return task


def stack_of_tasks(params: Any, tasks: Any, *, batched: bool) -> dict[str, Any]:
    """``params`` as arrays and ``tasks`` as a stack; with ``batched``, as one stack for each run."""
    if not batched:
        return params_and_tasks(params, tasks)
    if isinstance(tasks, LQRTask) and np.ndim(tasks.A) != 4:
        raise ValueError(
            f"tasks must be a stack for each run with batched=True, whose A is [runs, M, n, n], got A of shape "
            f"{np.shape(tasks.A)}; stack those of the runs with jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)."
        )
    return {"params": params, "tasks": tasks}


def check_minibatch(minibatch_size: int | None, count: int, *, sharded: bool) -> None:
    """Raise ``ValueError`` unless so many of ``count`` tasks can be drawn at each step."""
    if minibatch_size is None:
        return
    if minibatch_size > count:
        raise ValueError(f"minibatch_size must be at most the number of tasks, {count}, got {minibatch_size}.")
    if sharded:
        raise ValueError(
            "minibatch_size must be None for tasks that lie on a mesh, whose devices work on their own tasks; use "
            "batch_size to bound the memory."
        )


def check_budget(max_queries: int | None, deterministic: bool) -> None:
    """Raise ``ValueError`` unless ``max_queries`` can bound what the oracle does."""
    if max_queries is not None and deterministic:
        raise ValueError("max_queries must be None with the exact oracle, which makes no cost queries.")


def _check_step(name: str, value: Any, *, zero_allowed: bool) -> None:
    array = np.asarray(value, dtype=float)
    good = (array >= 0) if zero_allowed else (array > 0)
    if not np.all(good & np.isfinite(array)):
        raise ValueError(f"{name} must be {'non-negative' if zero_allowed else 'positive'} and finite, got {value}.")


def reject_start(deterministic: bool, row: dict[str, np.ndarray]) -> None:
    losses = row["loss"].reshape(-1, row["loss"].shape[-1])
    bad = sorted({int(task) for _, task in np.argwhere(~np.isfinite(losses))})
    if bad:
        listed = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        raise ValueError(
            f"params must be feasible for every task, but the loss is not finite for {len(bad)} of "
            f"{losses.shape[1]} tasks: {listed}; start from parameters that are (for LQR, a gain that stabilises them)."
        )
    if not np.all(row["feasible"]):
        raise ValueError("params must be feasible for every task, but the function feasible returns false for them.")
    if deterministic:  # a random direction may be finite at the next draw
        raise ValueError(
            "params are feasible, but the meta-gradient there is not finite: the adapted parameters leave the feasible "
            "set; reduce inner_step_size."
        )


def hashable(value: Any, name: str) -> Any:
    """``value`` if it is hashable and can key a compiled function; otherwise raises ``TypeError`` with a remedy."""
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{name} must be hashable, so that the compiled loop can be found again, got {type(value).__name__}; use a "
            "function or a frozen dataclass of plain numbers."
        ) from None
    return value
