"""The families of tasks: goals on a gridworld, chains and rivers, and the reasons for this choice.

The processes and eta are the problem. Those of the first gridworld are the paper's companion setting: 81 states, 24
features, eta = 10; that the agent starts in a corner and the goals are far was chosen because the prior matters there,
which the second gridworld shows: with starts and goals anywhere it does not. Eta of the rivers was chosen on a
development draw (seed 77) among 10, 30 and 100. Features and step sizes of the learner: see choose.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.families import gridworld_goals, riverswim, two_ended_chain
from jaxlqr.mdp import MDP, MDPTask, evaluate, make_tasks, stack_mdps

NUM_TASKS = 20  # to train on, and as many held out
SIZE = 9
BUMP_WIDTH = 0.45  # chosen by choose.py


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A family of tasks.

    Attributes:
        title: what figures call it.
        draw: function (key, number) -> stack of processes.
        features: [S, A, d], or None for a table of logits.
        eta: proximal step size.
    """

    title: str
    draw: Callable[[Array, int], MDP]
    features: np.ndarray | None
    eta: float

    def tasks(self, key: Array, num_splits: int) -> MDPTask:
        """Tasks [splits, 2 NUM_TASKS, ...], drawn anew for each split; the second half of each is held out."""
        drawn = [self.draw(one, 2 * NUM_TASKS) for one in jax.random.split(key, num_splits)]
        together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *drawn)
        tasks = make_tasks(together, features=self.features)
        return jax.tree.map(lambda leaf: leaf.reshape(num_splits, 2 * NUM_TASKS, *leaf.shape[1:]), tasks)

    def start(self, tasks: MDPTask) -> np.ndarray:
        """Parameters of the uniform policy."""
        return np.zeros(tasks.mdp.r.shape[-2:] if self.features is None else self.features.shape[-1])


def bumps(width: float = BUMP_WIDTH) -> np.ndarray:
    """Six Gaussian bumps on the grid for each of the four actions: features [81, 4, 24]."""
    cells = np.stack(np.divmod(np.arange(SIZE**2), SIZE), axis=1) / (SIZE - 1)
    centres = np.array([[row, column] for row in (0.2, 0.8) for column in (0.1, 0.5, 0.9)])
    heights = np.exp(-((cells[:, None] - centres) ** 2).sum(-1) / (2 * width**2))
    return np.einsum("sb,ac->sabc", heights, np.eye(4)).reshape(SIZE**2, 4, -1)


def _far_goals(key: Array, number: int) -> MDP:
    """Start in one corner, different goals on the other side of the diagonal: no held-out goal is trained on."""
    row, column = np.divmod(np.arange(SIZE**2), SIZE)
    goals = np.flatnonzero(row + column >= SIZE - 1).tolist()
    return gridworld_goals(key, number, size=SIZE, goals=goals, start=0, replace=False)


def _any_goals(key: Array, number: int) -> MDP:
    """Start anywhere, different goals anywhere."""
    return gridworld_goals(key, number, size=SIZE, replace=False)


def _rivers(key: Array, number: int) -> MDP:
    """RiverSwims with both rewards drawn so that swimming is better than staying in half of them."""
    river = riverswim(bank_reward=0.0)
    swum = float(evaluate(river, jnp.eye(2)[jnp.ones(len(river.r), int)]).J)  # return of swimming for a reward of 1
    rewards = np.asarray(jax.random.uniform(key, (number, 2)))
    return stack_mdps([riverswim(bank_reward=swum * bank, goal_reward=goal) for bank, goal in rewards])


def _chains(key: Array, number: int) -> MDP:
    """Chains whose reward is at either end, with probabilities to slip from 0 to 0.3."""
    slips = np.asarray(jax.random.uniform(key, (number,), maxval=0.3))
    pairs = [two_ended_chain(2, slip=float(slip)) for slip in slips]
    return stack_mdps([jax.tree.map(lambda leaf, end=i % 2: leaf[end], pair) for i, pair in enumerate(pairs)])


SETTINGS = {
    "gridworld": Setting(title="9 x 9 goals, from a corner", draw=_far_goals, features=bumps(), eta=10.0),
    "anywhere": Setting(title="9 x 9 goals, from anywhere", draw=_any_goals, features=bumps(), eta=10.0),
    "chain": Setting(title="two-ended chain", draw=_chains, features=None, eta=10.0),
    "riverswim": Setting(title="RiverSwim", draw=_rivers, features=None, eta=100.0),
}
