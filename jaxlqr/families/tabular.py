"""Small Markov decision processes of the literature: Garnets, RiverSwim, chains and bandits."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.mdp.model import MDP, make_mdp, stack_mdps


def garnet(
    key: Array,
    num_tasks: int,
    num_states: int,
    num_actions: int,
    *,
    branching: int = 3,
    gammas: tuple[float, float] = (0.9, 0.9),
) -> MDP:
    r"""Stack of random processes: from each (s, a) to ``branching`` states, with uniform spacings as probabilities.

    Rewards are uniform on [0, 1], discounts uniform on ``gammas``, starts uniform over states.

    >>> garnet(jax.random.key(0), num_tasks=2, num_states=5, num_actions=3).P.shape
    (2, 5, 3, 5)

    Source: Archibald, McKinnon, Thomas, J. Oper. Res. Soc. 46 (1995); Bhatnagar et al., Automatica 45 (2009).
    """
    if min(num_tasks, num_states, num_actions) < 1 or not 1 <= branching <= num_states:
        raise ValueError(
            "num_tasks, num_states and num_actions must be at least 1 and branching between 1 and num_states, got "
            f"{num_tasks}, {num_states}, {num_actions} and {branching}."
        )
    if not 0 < gammas[0] <= gammas[1] < 1:
        raise ValueError(f"gammas must be two increasing numbers in (0, 1), got {gammas}.")

    lead = (num_tasks, num_states, num_actions)
    where_key, how_key, reward_key, gamma_key = jax.random.split(key, 4)
    # The largest of independent uniforms are a sample without replacement.
    targets = jax.lax.top_k(jax.random.uniform(where_key, (*lead, num_states)), branching)[1]
    # Normalised exponentials are Dirichlet(1, ..., 1), and compile in a tenth of the time.
    shares = jax.random.exponential(how_key, (*lead, branching))
    shares = shares / jnp.sum(shares, axis=-1, keepdims=True)
    P = jnp.put_along_axis(jnp.zeros((*lead, num_states), shares.dtype), targets, shares, axis=-1, inplace=False)
    gamma = jax.random.uniform(gamma_key, (num_tasks,), minval=gammas[0], maxval=gammas[1])
    return MDP(P, jax.random.uniform(reward_key, lead), gamma, jnp.full(lead[:2], 1 / num_states))


def riverswim(*, num_states: int = 6, gamma: float = 0.95, goal_reward: float = 1.0, bank_reward: float = 0.005) -> MDP:
    """RiverSwim: action 0 drifts left to a small reward, action 1 swims right against the current to a large one.

    >>> riverswim().r[0, 0].item(), riverswim().r[-1, 1].item()
    (0.005, 1.0)

    Source: Strehl and Littman, J. Comput. Syst. Sci. 74 (2008).
    """
    _check_states(num_states)
    P, r = np.zeros((num_states, 2, num_states)), np.zeros((num_states, 2))
    for s in range(num_states):
        P[s, 0, max(s - 1, 0)] = 1
        P[s, 1, max(s - 1, 0)] += 0.05
        P[s, 1, s] += 0.6
        P[s, 1, min(s + 1, num_states - 1)] += 0.35
    P[0, 1, :2] = 0.4, 0.6
    P[-1, 1, -2:] = 0.4, 0.6
    r[0, 0], r[-1, 1] = bank_reward, goal_reward
    return make_mdp(P, r, gamma, np.eye(num_states)[0])


def two_ended_chain(num_tasks: int, *, num_states: int = 9, gamma: float = 0.95, slip: float = 0.1) -> MDP:
    """Stack of chains: the reward is at the left end in even tasks, at the right end in odd ones; starts in the middle.

    A policy that is good for all tasks before adaptation does not exist, and one that adapts well in one step does.

    >>> two_ended_chain(2).r[:, [0, -1], 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    _check_states(num_states)
    if num_tasks < 1:
        raise ValueError(f"num_tasks must be at least 1, got {num_tasks}.")
    if not 0 <= slip < 1:
        raise ValueError(f"slip must lie in [0, 1), got {slip}.")
    states = np.arange(num_states)
    P = np.zeros((num_states, 2, num_states))
    left, right = np.maximum(states - 1, 0), np.minimum(states + 1, num_states - 1)
    for action, (wanted, other) in enumerate([(left, right), (right, left)]):
        P[:, action] = (1 - slip) * np.eye(num_states)[wanted] + slip * np.eye(num_states)[other]
    start = np.eye(num_states)[num_states // 2]
    ends = [np.repeat(np.eye(num_states)[end][:, None], 2, axis=1) for end in (0, -1)]
    return stack_mdps([make_mdp(P, ends[i % 2], gamma, start) for i in range(num_tasks)])


def bandit(rewards: Array | list[float], *, gamma: float = 0.5) -> MDP:
    """One state and one action for each entry of ``rewards`` [A].

    >>> bandit([0.0, 1.0]).P.shape
    (1, 2, 1)
    """
    means = np.asarray(rewards, dtype=float)
    if means.ndim != 1 or means.size == 0:
        raise ValueError(f"rewards must have shape [A] with A >= 1, got {means.shape}.")
    return make_mdp(np.ones((1, means.size, 1)), means[None], gamma)


def _check_states(num_states: int) -> None:
    if num_states < 2:
        raise ValueError(f"num_states must be at least 2, got {num_states}.")
