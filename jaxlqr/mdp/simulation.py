"""Simulation of a process: trajectories, and estimates of the values of a policy from them."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.evaluation import evaluate
from jaxlqr.mdp.model import MDP


class Trajectories(NamedTuple):
    """N simulated trajectories, time first: states, actions and rewards [horizon, N]."""

    states: Array
    actions: Array
    rewards: Array


def _key_and_horizon(key: Any, horizon: Any) -> dict[str, Any]:
    check_count("horizon", horizon)
    return {"key": as_key(key)}


@compiled(static=("horizon",), prepare=_key_and_horizon)
def simulate(
    key: Array, mdp: MDP, policy: Array, states: Array, horizon: int, *, actions: Array | None = None
) -> Trajectories:
    """Trajectories of ``policy`` [S, A] from ``states`` [N], with the first ``actions`` [N] if they are given.

    The simulation uses only successors and rewards of state-action pairs.

    >>> from jaxlqr.families import riverswim
    >>> swims = jnp.array([[0.0, 1.0]] * 6)
    >>> simulate(jax.random.key(0), riverswim(), swims, jnp.zeros(3, int), horizon=4).states.shape
    (4, 3)
    """
    cumulative_P, cumulative_policy = jnp.cumsum(mdp.P, axis=-1), jnp.cumsum(policy, axis=-1)
    first_key, step_key = jax.random.split(key)
    if actions is None:
        uniform = jax.random.uniform(first_key, states.shape, policy.dtype)
        actions = _index(cumulative_policy, (states,), uniform)

    def step(pair: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        s, a = pair
        uniform = jax.random.uniform(key, (2, *s.shape), policy.dtype)
        following = _index(cumulative_P, (s, a), uniform[0])
        return (following, _index(cumulative_policy, (following,), uniform[1])), (s, a, mdp.r[s, a])

    start = (states.astype(jnp.int32), actions.astype(jnp.int32))
    return Trajectories(*lax.scan(step, start, jax.random.split(step_key, horizon))[1])


def draw_states(key: Array, distribution: Array, count: int) -> Array:
    """Independent draws [count] from a distribution [S]."""
    uniform = jax.random.uniform(key, (count,), distribution.dtype)
    return _index(jnp.cumsum(distribution), (), uniform)


def _index(cumulative: Array, row: tuple[Array, ...], uniform: Array) -> Array:
    """Draws from the distributions whose cumulative sums are ``cumulative[row]``, by bisection: [N]."""
    size = cumulative.shape[-1]
    # Scaled, so that a sum slightly below one, by rounding, loses no mass.
    level = uniform * cumulative[(*row, -1)]
    index = jnp.zeros(uniform.shape, jnp.int32)
    for power in reversed(range(max(size - 1, 0).bit_length())):
        probe = index + 2**power - 1
        passed = (probe < size - 1) & (cumulative[(*row, jnp.minimum(probe, size - 1))] <= level)
        index = index + jnp.where(passed, 2**power, 0).astype(jnp.int32)
    return index


class Values(Protocol):
    """A source of action values: a hashable function (key, mdp, policy) -> Q [S, A], normalised by 1 - gamma."""

    def __call__(self, key: Array, mdp: MDP, policy: Array) -> Array: ...


@dataclass(frozen=True)
class ExactValues:
    """Exact action values from the model; the key is not used.

    >>> from jaxlqr.families import bandit
    >>> ExactValues()(jax.random.key(0), bandit([0.0, 1.0], gamma=0.5), jnp.array([[0.5, 0.5]])).tolist()
    [[0.25, 0.75]]
    """

    def __call__(self, key: Array, mdp: MDP, policy: Array) -> Array:
        return evaluate(mdp, policy).Q


@dataclass(frozen=True, kw_only=True)
class MonteCarloValues:
    r"""Means of discounted returns from every pair (s, a): unbiased, but for the tail :math:`\gamma^{\text{horizon}}`.

    Attributes:
        num_rollouts: trajectories from each of the S A pairs.
        horizon: their length.

    >>> from jaxlqr.families import bandit
    >>> values = MonteCarloValues(num_rollouts=4000, horizon=40)
    >>> Q = values(jax.random.key(0), bandit([0.0, 1.0], gamma=0.5), jnp.array([[0.5, 0.5]]))
    >>> bool(jnp.all(jnp.abs(Q - jnp.array([[0.25, 0.75]])) < 0.02))
    True

    Source: Sutton and Barto, Reinforcement Learning, chapter 5.
    """

    num_rollouts: int
    horizon: int

    def __post_init__(self) -> None:
        check_count("num_rollouts", self.num_rollouts)
        check_count("horizon", self.horizon)

    @compiled()
    def __call__(self, key: Array, mdp: MDP, policy: Array) -> Array:
        S, A = mdp.r.shape
        s, a = (jnp.repeat(part, self.num_rollouts) for part in jnp.divmod(jnp.arange(S * A), A))
        told = simulate(key, mdp, policy, s, self.horizon, actions=a)
        return discounted(told.rewards, mdp.gamma).reshape(S, A, -1).mean(axis=-1)


@dataclass(frozen=True, kw_only=True)
class TemporalDifferenceValues:
    r"""Temporal differences: sweep k draws one successor s' of every pair and moves Q(s, a) by
    :math:`\alpha_k` times :math:`r + \gamma \sum_{a'} \pi(a'|s') Q(s', a') - Q(s, a)`.

    The step sizes :math:`\alpha_k = 1 / (1 + (1 - \gamma) k)` make the squared error decrease as one over the number of
    sweeps. The estimate is biased; the bias decreases at the same rate.

    Attributes:
        num_sweeps: number of sweeps, each of S A transitions.

    >>> from jaxlqr.families import bandit
    >>> values = TemporalDifferenceValues(num_sweeps=4000)
    >>> Q = values(jax.random.key(0), bandit([0.0, 1.0], gamma=0.5), jnp.array([[0.5, 0.5]]))
    >>> bool(jnp.all(jnp.abs(Q - jnp.array([[0.25, 0.75]])) < 0.02))
    True

    Source: Sutton, Machine Learning 3 (1988); Wainwright, arXiv:1905.06265, for the step sizes.
    """

    num_sweeps: int

    def __post_init__(self) -> None:
        check_count("num_sweeps", self.num_sweeps)

    @compiled()
    def __call__(self, key: Array, mdp: MDP, policy: Array) -> Array:
        S, A = mdp.r.shape
        pairs = jnp.divmod(jnp.arange(S * A), A)
        cumulative = jnp.cumsum(mdp.P, axis=-1)

        def sweep(Q: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
            number, key = step
            following = _index(cumulative, pairs, jax.random.uniform(key, (S * A,), Q.dtype)).reshape(S, A)
            target = (1 - mdp.gamma) * mdp.r + mdp.gamma * jnp.sum(policy * Q, axis=1)[following]
            return Q + (target - Q) / (1 + (1 - mdp.gamma) * number), None

        numbers = jnp.arange(self.num_sweeps).astype(mdp.r.dtype)
        keys = jax.random.split(key, self.num_sweeps)
        return lax.scan(sweep, jnp.zeros_like(mdp.r), (numbers, keys))[0]


def discounted(rewards: Array, gamma: Array) -> Array:
    """Normalised returns (1 - gamma) sum_t gamma^t r_t [N] of rewards [horizon, N]."""
    return (1 - gamma) * jnp.tensordot(gamma ** jnp.arange(len(rewards), dtype=gamma.dtype), rewards, 1)
