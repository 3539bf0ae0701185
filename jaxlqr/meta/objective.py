"""What a learner minimises over a family of tasks: objectives, each with its value and its direction."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast, runtime_checkable

import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxlqr.core.arguments import check_count
from jaxlqr.core.layout import Layout
from jaxlqr.core.types import PyTree
from jaxlqr.meta.estimate import MetaGradient, Perturbations, check_perturbations, meta_estimate, meta_value
from jaxlqr.oracles.protocol import Loss, Oracle


@runtime_checkable
class Objective(Protocol):
    """Protocol of objectives over a family of M tasks, for :func:`jaxlqr.meta_train`.

    An objective is a pytree. Its leaves are numbers, with one value for each run where runs are batched: another value
    compiles nothing. All else is static. Arguments of both methods:

        loss: function (params, task) -> scalar, unbatched.
        params: pytree of parameters.
        tasks: pytree with a leading task axis M.
        oracle: source of the derivatives of ``loss``.
        key: random key; None where nothing is random.
        weights: task weights [M]; 1/M each unless given.
        max_backtracks: how often an inner step is halved until the gradient behind it is finite.
        layout: how many tasks are worked on at once, and on which devices.
    """

    def value(
        self,
        loss: Loss,
        params: PyTree,
        tasks: PyTree,
        oracle: Oracle,
        key: Array | None,
        *,
        weights: Array | None = None,
        layout: Layout = Layout(),
    ) -> Float[Array, ""]:
        """Value of the objective, a scalar."""
        ...

    def estimate(
        self,
        loss: Loss,
        params: PyTree,
        tasks: PyTree,
        oracle: Oracle,
        key: Array | None,
        *,
        weights: Array | None = None,
        max_backtracks: int = 0,
        layout: Layout = Layout(),
    ) -> MetaGradient:
        """Gradient of the objective, like ``params``, and what the oracle did for it."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Maml:
    r"""The loss after adaptation: :math:`\sum_i w_i\, J_i(\bar\theta_i)`, :math:`\bar\theta_i` after gradient steps.

    Attributes:
        inner_step_size: step size of the adaptation, a number or, in :func:`jaxlqr.meta_train`, one for each run;
            ``"auto"`` lets :func:`jaxlqr.meta_train` choose it by the curvature at the first parameters. None where a
            step rule chooses it, or where there is no inner step.
        num_inner_steps: number of adaptation steps; 0 is :class:`Mean`.
        first_order: leave out the Hessian (first-order MAML).
        perturbations: ``"independent"`` draws for each task and inner step; ``"shared"`` uses one draw for all of them,
            as the released code of toso2024 does (docs/errata.md, T8).

    Raises:
        ValueError: when a count is not an integer of at least 0, or ``perturbations`` is no such name.

    >>> import jaxlqr, jax.numpy as jnp
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> maml = Maml(inner_step_size=1e-3)
    >>> start = jnp.array([[0.8]])
    >>> result = jaxlqr.meta_train(jaxlqr.cost, start, tasks, num_steps=9, objective=maml, outer_step_size=0.01)
    >>> bool(result.history["gradient_norm"][-1] < result.history["gradient_norm"][0])
    True

    Source: toso2024, equation (3); Finn, Abbeel, Levine, ICML 2017.
    """

    inner_step_size: float | Array | np.ndarray | Literal["auto"] | None = None
    num_inner_steps: int = field(default=1, metadata={"static": True})
    first_order: bool = field(default=False, metadata={"static": True})
    perturbations: Perturbations = field(default="independent", metadata={"static": True})

    def __post_init__(self) -> None:
        # The step size is checked where it is used: it may be traced here, or no number at all while JAX looks.
        check_count("num_inner_steps", self.num_inner_steps, 0)
        check_perturbations(self.perturbations)

    def value(
        self,
        loss: Loss,
        params: PyTree,
        tasks: PyTree,
        oracle: Oracle,
        key: Array | None,
        *,
        weights: Array | None = None,
        layout: Layout = Layout(),
    ) -> Float[Array, ""]:
        """Value of the objective, a scalar; differentiable once less often than ``loss``."""
        return meta_value(
            loss,
            params,
            tasks,
            cast(Any, self.inner_step_size),
            oracle,
            key,
            num_inner_steps=self.num_inner_steps,
            weights=weights,
            first_order=self.first_order,
            perturbations=self.perturbations,
            layout=layout,
        )

    def estimate(
        self,
        loss: Loss,
        params: PyTree,
        tasks: PyTree,
        oracle: Oracle,
        key: Array | None,
        *,
        weights: Array | None = None,
        max_backtracks: int = 0,
        layout: Layout = Layout(),
    ) -> MetaGradient:
        """Gradient of the objective, like ``params``, and what became of the queries and inner steps."""
        return meta_estimate(
            loss,
            params,
            tasks,
            cast(Any, self.inner_step_size),
            oracle,
            key,
            num_inner_steps=self.num_inner_steps,
            weights=weights,
            first_order=self.first_order,
            perturbations=self.perturbations,
            max_backtracks=max_backtracks,
            layout=layout,
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Mean:
    r"""The weighted mean of the losses, :math:`\sum_i w_i\, J_i(\theta)`: no task adapts.

    >>> import jaxlqr, jax.numpy as jnp
    >>> tasks = jaxlqr.families.scalar(a=0.9, q=[1.0, 2.0])
    >>> start = jnp.array([[0.8]])
    >>> result = jaxlqr.meta_train(jaxlqr.cost, start, tasks, num_steps=9, objective=Mean(), outer_step_size=0.01)
    >>> bool(result.history["cost"][-1].mean() < result.history["cost"][0].mean())
    True
    """

    def value(
        self,
        loss: Loss,
        params: PyTree,
        tasks: PyTree,
        oracle: Oracle,
        key: Array | None,
        *,
        weights: Array | None = None,
        layout: Layout = Layout(),
    ) -> Float[Array, ""]:
        """Value of the objective, a scalar; differentiable as often as ``loss``."""
        return Maml(num_inner_steps=0).value(loss, params, tasks, oracle, key, weights=weights, layout=layout)

    def estimate(
        self,
        loss: Loss,
        params: PyTree,
        tasks: PyTree,
        oracle: Oracle,
        key: Array | None,
        *,
        weights: Array | None = None,
        max_backtracks: int = 0,
        layout: Layout = Layout(),
    ) -> MetaGradient:
        """Gradient of the objective, like ``params``, and what became of the queries."""
        return Maml(num_inner_steps=0).estimate(
            loss, params, tasks, oracle, key, weights=weights, max_backtracks=max_backtracks, layout=layout
        )
