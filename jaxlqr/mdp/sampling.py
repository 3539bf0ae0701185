"""The return after a proximal step and its gradient, both estimated from simulated trajectories."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.model import MDP, MDPTask
from jaxlqr.mdp.policy import check_positive, tilt
from jaxlqr.mdp.simulation import Values, discounted, draw_states, simulate


class Sampled(NamedTuple):
    """Estimates of the return after the step, a scalar, and of the density D [S, A] of its gradient."""

    J: Array
    D: Array


@dataclass(frozen=True, kw_only=True)
class SampledProximalLoss:
    r"""The negative return after one proximal step, and its gradient, from simulated trajectories.

    A stochastic loss of (params, task), like :class:`jaxlqr.RolloutCost`: ``loss.with_key(key)`` has the randomness of
    ``key``. Its value estimates :math:`-J(\pi_{i,\theta})`; differentiated once, by ``jax.grad`` or through
    ``jaxlqr.maml_gradient(loss, params, tasks, num_inner_steps=0, key=key)`` and ``jaxlqr.meta_train``, it gives
    an estimate of the gradient of Proposition 3.2, as corrected (docs/errata.md, W1):

    .. math:: \frac{1}{1-\gamma}\, \mathbb{E}_{s, a, b}\, \tfrac12 \left( Q^{\pi_i}(s, a) - Q^{\pi_i}(s, b) \right)
              \left( h(s, a) - h(s, b) \right), \quad
              h = \frac{1}{\tau} \nabla f + \eta\, \nabla Q^{\pi_\theta},

    Here s is the state of a trajectory of :math:`\pi_i` at a geometric time, and a and b are two actions of
    :math:`\pi_i` in s. Both values are returns of trajectories from these actions. :math:`\nabla Q^{\pi_\theta}(s, a)`
    is the policy gradient along another trajectory from (s, a), under :math:`\pi_\theta`. Given the adapted policy, the
    factors are independent, so the estimate is unbiased except for tails beyond the horizon. Estimated ``values`` make
    the adapted policy random; the resulting bias is of the order of their variance.

    The simulator must be able to start in any state. One estimate uses 5 trajectories for each visit, and the
    trajectories of ``values``.

    Attributes:
        step_size: :math:`\eta`, not negative.
        num_visits: number of visited states.
        horizon: length of the trajectories; the omitted tail is :math:`\gamma^{\text{horizon}}` of the returns.
        values: source of :math:`Q^{\pi_\theta}` for the proximal step: :class:`jaxlqr.mdp.MonteCarloValues`,
            :class:`jaxlqr.mdp.TemporalDifferenceValues`, or :class:`jaxlqr.mdp.ExactValues` from the model.

    >>> import jaxlqr
    >>> task = jaxlqr.mdp.make_tasks(jaxlqr.families.bandit([0.0, 1.0], gamma=0.5))
    >>> loss = SampledProximalLoss(step_size=2.0, num_visits=4000, horizon=30, values=jaxlqr.mdp.ExactValues())
    >>> sampled = jax.grad(loss.with_key(jax.random.key(0)))(jnp.zeros((1, 2)), task)
    >>> exact = jax.grad(jaxlqr.mdp.ProximalLoss(2.0))(jnp.zeros((1, 2)), task)
    >>> bool(jnp.linalg.norm(sampled - exact) < 0.1 * jnp.linalg.norm(exact))
    True

    Source: wang2020, Proposition 3.2 and the remark before Algorithm 1.
    """

    step_size: float
    num_visits: int
    horizon: int
    values: Values

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size, zero_allowed=True)
        check_count("num_visits", self.num_visits)
        check_count("horizon", self.horizon)

    def __call__(self, params: Any, task: MDPTask) -> Array:
        return self.with_key(jax.random.key(0))(params, task)

    def with_key(self, key: Array) -> Callable[[Any, MDPTask], Array]:
        """The loss as a deterministic function of (params, task) whose random numbers come from ``key``."""
        return partial(_sampled_loss, self, as_key(key))

    def estimate(self, key: Array, logits: Array, task: MDPTask) -> Sampled:
        """The return after the step and the density of its gradient at energies over temperature [S, A]."""
        mdp, policy = task.mdp, jax.nn.softmax(logits, axis=-1)
        value_key, start_key, time_key, walk_key, return_key, branch_key = jax.random.split(key, 6)
        Q = self.values(value_key, mdp, policy)
        adapted = tilt(policy, self.step_size * Q)

        starts = draw_states(start_key, mdp.zeta, self.num_visits)
        walks = simulate(walk_key, mdp, adapted, starts, self.horizon)
        # The time of a visit is geometric, so its state has the visitation distribution. Draw two actions in this
        # state.
        uniform = jax.random.uniform(time_key, starts.shape, policy.dtype, minval=jnp.finfo(policy.dtype).tiny)
        time = jnp.minimum(jnp.log(uniform) / jnp.log(mdp.gamma), self.horizon - 1).astype(jnp.int32)
        visited = jnp.take_along_axis(walks.states, time[None], axis=0)[0]
        states = jnp.concatenate([visited, visited])
        returned = simulate(return_key, mdp, adapted, states, self.horizon)
        actions, returns = returned.actions[0], discounted(returned.rewards, mdp.gamma)
        ahead = (returns - jnp.roll(returns, self.num_visits)) / (2 * self.num_visits)

        first = jnp.zeros_like(policy).at[states, actions].add(ahead)
        second = self._through_values(branch_key, mdp, policy, jnp.sum(policy * Q, axis=1), states, actions, ahead)
        D = (first + self.step_size * second) / (task.temperature * (1 - mdp.gamma))
        return Sampled(jnp.mean(discounted(walks.rewards, mdp.gamma)), D)

    def _through_values(self, key, mdp: MDP, policy, V, states, actions, shares) -> Array:
        """Density [S, A] of the sum of ``shares`` times gradients of Q at (states, actions), by policy gradients."""
        branch = simulate(key, mdp, policy, states, self.horizon + 1, actions=actions)
        followed, taken, rewards = (rows[1:] for rows in branch)

        def accumulate(after: Array, now: Array) -> tuple[Array, Array]:
            total = (1 - mdp.gamma) * now + mdp.gamma * after
            return total, total

        # Returns to go, normalised, less a baseline that does not depend on the action.
        to_go = lax.scan(accumulate, jnp.zeros_like(shares), rewards, reverse=True)[1] - V[followed]
        discount = mdp.gamma ** jnp.arange(1, 1 + self.horizon, dtype=mdp.gamma.dtype)
        weights = jnp.zeros_like(policy).at[followed, taken].add(discount[:, None] * to_go * shares[None])
        return weights - policy * jnp.sum(weights, axis=1, keepdims=True)


@compiled()
def _sampled_loss(loss: SampledProximalLoss, key: Array, params: Any, task: MDPTask) -> Array:
    logits = task.logits(params)
    fixed = lax.stop_gradient(logits)
    told = loss.estimate(key, fixed, task)
    # This estimate is not the derivative of the estimated return: a term of value zero has it as its derivative.
    return -told.J - jnp.sum(task.temperature * told.D * (logits - fixed))
