"""The cost from experiments without a model: finite rollouts from sampled initial states."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Key

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.checks import refuse_half
from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.lqr.checks import as_gain, check_task
from jaxlqr.lqr.cost import closed_loop
from jaxlqr.lqr.task import LQRTask


def _key_and_task(key: Any, task: Any) -> dict[str, Any]:
    check_task(task)
    return {"key": as_key(key)}


@compiled(prepare=_key_and_task)
def gaussian_initial_state(key: Key[Array, ""], task: LQRTask) -> Float[Array, " n"]:
    """Initial state [n] drawn from N(0, Sigma0)."""
    refuse_half("gaussian_initial_state", task=task)
    # Unlike Cholesky, an eigenvalue root exists for a semidefinite Sigma0. Each state is divided by its standard
    # deviation, so that a small one does not vanish in the rounding of a large one.
    variance = jnp.diagonal(task.Sigma0)
    unit = jnp.sqrt(jnp.where(variance > 0, variance, 1))
    values, vectors = jnp.linalg.eigh(task.Sigma0 / unit[None] / unit[:, None])
    root = unit[:, None] * vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]
    noise = jax.random.normal(key, task.Sigma0.shape[:1], task.Sigma0.dtype)
    return jnp.matmul(root, noise, precision=lax.Precision.HIGHEST)


def _arguments_of_rollout(K: Any, task: Any, x0: Any, noise: Any) -> dict[str, Any]:
    check_task(task)
    x0, noise = (jnp.asarray(value, getattr(value, "dtype", float)) for value in (x0, noise))
    n = task.A.shape[0]
    if x0.shape != (n,) or noise.shape[1:] != (n,):
        raise ValueError(
            f"x0 and noise must have shapes ({n},) and (horizon, {n}), got {x0.shape} and {noise.shape}; map over a "
            "batch with jax.vmap."
        )
    return {"K": as_gain(K, task), "x0": x0, "noise": noise}


@compiled(prepare=_arguments_of_rollout)
def rollout(
    K: Float[Array, "m n"], task: LQRTask, x0: Float[Array, " n"], noise: Float[Array, "horizon n"]
) -> tuple[Float[Array, "horizon n"], Float[Array, "horizon m"], Float[Array, " horizon"]]:
    """Simulate x_{t+1} = A x_t + B u_t + w_t with u_t = -K x_t.

    Arguments: ``K`` [m, n]; ``x0`` [n]; ``noise`` w [horizon, n].
    Returns: states [horizon, n] (from x0 on), inputs [horizon, m], stage costs x'Qx + u'Ru [horizon].
    """
    A_K = closed_loop(K, task)
    weight = task.Q + matmul(K.mT, task.R, K)

    def step(x: Array, w: Array):
        product = jnp.matmul(jnp.concatenate([A_K, weight, -K]), x, precision=lax.Precision.HIGHEST)
        n = x.shape[0]
        return product[:n] + w, (x, product[2 * n :], jnp.dot(x, product[n : 2 * n]))

    _, (states, inputs, stage_costs) = lax.scan(step, x0, noise)
    return states, inputs, stage_costs


@dataclass(frozen=True, kw_only=True)
class RolloutCost:
    r"""Average cost of finite rollouts, a loss for the zeroth-order oracle that never sees A, B, Q or R.

    .. math:: \frac{1}{N} \sum_{j=1}^{N} \sum_{t=0}^{T-1} x_t^\top Q x_t + u_t^\top R u_t,
              \qquad x_{t+1} = A x_t + B u_t + w_t, \quad w_t \sim N(0, \sigma^2 I).

    It is a stochastic loss: ``loss.with_key(key)`` is a function (params, task) -> scalar with the random numbers of
    ``key``. The oracles and the training loop draw a new key for each query. A direct call uses one fixed key.

    Attributes:
        horizon: number of stages T.
        num_rollouts: number N of rollouts averaged in one query.
        process_noise: standard deviation sigma of each entry of w, in units of the state. The infinite-horizon cost
            diverges with noise, so compare such losses with each other, not with :func:`jaxlqr.cost`.
        state_limit: if the state norm of a rollout exceeds this limit or overflows, the query is +inf, as for a plant
            that must be stopped. The default only catches overflow.
        initial_state: draws x0 [n] from (key, task); N(0, Sigma0) unless given.

    >>> import jax, jax.numpy as jnp, jaxlqr
    >>> task, loss = jaxlqr.make_task([[0.9]], [[1.0]]), RolloutCost(horizon=50, num_rollouts=4000)
    >>> sampled = loss.with_key(jax.random.key(0))(jnp.array([[0.5]]), task)
    >>> bool(abs(sampled - jaxlqr.cost(jnp.array([[0.5]]), task)) < 0.2)
    True
    """

    horizon: int
    num_rollouts: int
    process_noise: float = 0.0
    state_limit: float = float("inf")
    initial_state: Callable[[Array, LQRTask], Array] = gaussian_initial_state

    def __post_init__(self) -> None:
        check_count("horizon", self.horizon)
        check_count("num_rollouts", self.num_rollouts)
        if not self.process_noise >= 0:
            raise ValueError(f"process_noise must be a standard deviation >= 0, got {self.process_noise}.")
        if not self.state_limit > 0:
            raise ValueError(f"state_limit must be positive, got {self.state_limit}.")

    def __call__(self, params: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
        return self.with_key(jax.random.key(0))(params, task)

    def with_key(self, key: Array) -> Callable[[Array, LQRTask], Array]:
        """The loss as a deterministic function of (params, task) whose random numbers come from ``key``."""
        return partial(_sampled_cost, self, as_key(key))

    def _one(self, key: Key[Array, ""], K: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
        start_key, noise_key = jax.random.split(key)
        noise = jnp.zeros((self.horizon, task.A.shape[0]), task.A.dtype)
        if self.process_noise:
            noise = self.process_noise * jax.random.normal(noise_key, noise.shape, noise.dtype)
        states, _, stage_costs = rollout(K, task, self.initial_state(start_key, task), noise)
        total = jnp.sum(stage_costs)
        within = jnp.all(jnp.sum(states**2, axis=1) <= self.state_limit**2) & jnp.isfinite(total)
        return jnp.where(within, total, jnp.inf)


def _params_and_task(params: Any, task: Any) -> dict[str, Any]:
    check_task(task)
    return {"params": as_gain(params, task, "params")}


@compiled(prepare=_params_and_task)
def _sampled_cost(loss: RolloutCost, key: Array, params: Float[Array, "m n"], task: LQRTask) -> Float[Array, ""]:
    keys = jax.random.split(key, loss.num_rollouts)
    return jnp.mean(jax.vmap(lambda k: loss._one(k, params, task))(keys))
