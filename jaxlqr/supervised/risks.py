"""Risks of a predictor on one task, usable as losses of the generic core, and their functional derivatives."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.supervised.task import SupervisedTask

Predictor = Callable[[Any, Array], Array]  # (params, x [N, d]) -> [N], or [N, classes] for the cross-entropy
RiskKind = Literal["squared", "logistic", "cross_entropy"]


def linear(params: Array, features: Array) -> Array:
    r"""Predictions :math:`\phi(x)^\top \theta`: [N] for parameters [d], [N, classes] for [d, classes].

    >>> linear(jnp.array([1.0, 2.0]), jnp.array([[3.0, 4.0]])).tolist()
    [11.0]

    Source: wang2020, equation (4.2).
    """
    if jnp.ndim(params) not in (1, 2) or jnp.shape(features)[-1] != jnp.shape(params)[0]:
        raise ValueError(
            f"features must have shape [N, d] and params [d] or [d, classes], got {jnp.shape(features)} and "
            f"{jnp.shape(params)}."
        )
    return jnp.matmul(features, params, precision=lax.Precision.HIGHEST)


@dataclass(frozen=True)
class Risk:
    r"""The risk :math:`R_i(h_\theta) = \sum_j p_j\, \ell(h_\theta(x_j), y_j)`, a loss of (params, task).

    Attributes:
        kind: ``"squared"``: :math:`(h - y)^2 / 2`; ``"logistic"``: :math:`\log(1 + e^{-y h})` with labels -1 and 1;
            ``"cross_entropy"``: :math:`\log \sum_c e^{h_c} - h_y` with integer labels.
        predictor: function (params, x) -> predictions; linear unless given.

    >>> import numpy as np
    >>> from jaxlqr.supervised import make_supervised_tasks
    >>> tasks = make_supervised_tasks(np.ones((1, 2, 1)), [[0.0, 2.0]])
    >>> float(Risk(kind="squared")(jnp.array([1.0]), jax.tree.map(lambda leaf: leaf[0], tasks)))
    0.5

    Source: wang2020, equation (4.1).
    """

    _: KW_ONLY
    kind: RiskKind = "squared"
    predictor: Predictor = linear

    def __post_init__(self) -> None:
        if self.kind not in ("squared", "logistic", "cross_entropy"):
            raise ValueError(f'kind must be "squared", "logistic" or "cross_entropy", got {self.kind!r}.')

    def __call__(self, params: Any, task: SupervisedTask) -> Array:
        return self.of_predictions(self.predictor(params, task.x), task)

    def of_predictions(self, h: Array, task: SupervisedTask) -> Array:
        """The risk as a function of the predictions at the task's points; convex in them."""
        return jnp.sum(task.probability * self.pointwise(h, task.y))

    def pointwise(self, h: Array, y: Array) -> Array:
        """The loss of each point [N]."""
        if self.kind == "squared":
            return (h - y) ** 2 / 2
        if self.kind == "logistic":
            return jax.nn.softplus(-y * h)
        own = jnp.take_along_axis(h, y[:, None].astype(jnp.int32), axis=-1)[:, 0]
        return jax.nn.logsumexp(h, axis=-1) - own


def frechet_derivative(risk: Risk, params: Any, task: SupervisedTask, *, rho: Array | None = None) -> Array:
    r"""The function :math:`\delta R / \delta h_\theta` at the task's points, for the inner product of
    :math:`L_2(\rho)`.

    It represents the derivative of the risk with respect to the prediction function:
    :math:`R(h + g) = R(h) + \sum_j \rho_j\, (\delta R/\delta h)(x_j)\, g(x_j) + o(g)`, Its values are the derivatives
    with respect to the predictions, divided by :math:`\rho`.

    Arguments:
        risk: the risk.
        params: parameters.
        task: one task.
        rho: positive weights of the inner product [N]; the task's own probabilities unless given.

    >>> import numpy as np
    >>> from jaxlqr.supervised import make_supervised_tasks
    >>> tasks = make_supervised_tasks(np.ones((1, 2, 1)), [[0.0, 2.0]])
    >>> frechet_derivative(Risk(kind="squared"), jnp.array([1.0]), jax.tree.map(lambda leaf: leaf[0], tasks)).tolist()
    [1.0, -1.0]

    Source: wang2020, Definition 4.1, equation (4.9).
    """
    slope = jax.grad(risk.of_predictions)(risk.predictor(params, task.x), task)
    weights = task.probability if rho is None else rho
    return slope / weights.reshape(-1, *(1,) * (slope.ndim - 1))
