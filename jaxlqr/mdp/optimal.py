"""The optimal policy of one process, by policy iteration."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.evaluation import evaluate
from jaxlqr.mdp.model import MDP


@compiled()
def optimal_policy(mdp: MDP, *, max_steps: int = 100) -> Array:
    """A deterministic optimal policy [S, A], by Howard's policy iteration from the greedy policy of the rewards.

    >>> from jaxlqr.families import bandit
    >>> optimal_policy(bandit([0.0, 1.0])).tolist()
    [[0.0, 1.0]]

    Source: Puterman, Markov Decision Processes, section 6.4.
    """

    def improve(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        policy, _, count = carry
        better = evaluate(mdp, policy)
        # Change an action only for a gain above rounding: otherwise ties would alternate forever.
        rounding = 32 * jnp.finfo(better.A.dtype).eps * jnp.max(jnp.abs(mdp.r))
        gain = jnp.max(better.A, axis=1) > rounding
        greedy = jnp.where(gain[:, None], _greedy(better.Q), policy)
        return greedy, jnp.any(gain), count + 1

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        return carry[1] & (carry[2] < max_steps)

    return lax.while_loop(unfinished, improve, (_greedy(mdp.r), jnp.asarray(True), jnp.asarray(0)))[0]


def _greedy(Q: Array) -> Array:
    return jax.nn.one_hot(jnp.argmax(Q, axis=1), Q.shape[1], dtype=Q.dtype)
