"""The families of tasks that are learned: goals on a gridworld, and two chains."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from jaxlqr.families import gridworld_goals, riverswim, two_ended_chain
from jaxlqr.mdp import MDP, MDPTask, make_tasks, stack_mdps

NUM_TASKS = 20  # to train on, and as many held out
SIZE = 9


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A family of tasks.

    Attributes:
        draw: function (key, number) -> stack of processes.
        features: [S, A, d], or None for a table of logits.
        eta: proximal step size.
    """

    draw: Callable[[Array, int], MDP]
    features: np.ndarray | None
    eta: float

    def tasks(self, key: Array, num_splits: int) -> MDPTask:
        """Tasks [splits, 2 NUM_TASKS, ...]; the second half of each split is held out."""
        drawn = self.draw(key, num_splits * 2 * NUM_TASKS)
        tasks = make_tasks(drawn, self.features)
        return jax.tree.map(lambda leaf: leaf.reshape(num_splits, 2 * NUM_TASKS, *leaf.shape[1:]), tasks)

    def start(self, tasks: MDPTask) -> np.ndarray:
        """Parameters of the uniform policy."""
        return np.zeros(tasks.mdp.r.shape[-2:] if self.features is None else self.features.shape[-1])


def bumps() -> np.ndarray:
    """Six Gaussian bumps on the grid for each of the four actions: features [81, 4, 24]."""
    cells = np.stack(np.divmod(np.arange(SIZE**2), SIZE), axis=1) / (SIZE - 1)
    centres = np.array([[row, column] for row in (0.2, 0.8) for column in (0.1, 0.5, 0.9)])
    heights = np.exp(-((cells[:, None] - centres) ** 2).sum(-1) / (2 * 0.3**2))
    return np.einsum("sb,ac->sabc", heights, np.eye(4)).reshape(SIZE**2, 4, -1)


def _far_goals(key: Array, number: int) -> MDP:
    """Start in one corner, goals on the other side of the diagonal."""
    row, column = np.divmod(np.arange(SIZE**2), SIZE)
    goals = np.flatnonzero(row + column >= SIZE - 1).tolist()
    return gridworld_goals(key, number, SIZE, goals=goals, start=0)


def _rivers(key: Array, number: int) -> MDP:
    """RiverSwims whose two rewards are drawn from [0, 1], so that it pays to stay in some and to swim in others."""
    rewards = np.asarray(jax.random.uniform(key, (number, 2)))
    return stack_mdps([riverswim(6, bank_reward=left, goal_reward=right) for left, right in rewards])


SETTINGS = {
    "gridworld": Setting(draw=_far_goals, features=bumps(), eta=10.0),
    "chain": Setting(draw=lambda key, number: two_ended_chain(number), features=None, eta=10.0),
    "riverswim": Setting(draw=_rivers, features=None, eta=10.0),
}
