"""Gridworlds from text maps, families of goals on them, and the toy-text environments of gymnasium."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.mdp.model import MDP, make_mdp

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # left, down, right, up: the order of gymnasium's FrozenLake
_TILES = "SFHGW"


def text_map(rows: Sequence[str], *, gamma: float = 0.95, slip: float = 0.0) -> MDP:
    """Gridworld from a map: S start, F free, H hole, G goal, W wall; 4 actions: left, down, right, up.

    Entering a goal pays 1. Holes and goals are absorbing, walls and borders cannot be entered, and with probability
    ``slip`` the move is replaced by one of the two perpendicular ones. Several S share the start; without any it is
    uniform over free cells. The states are all cells, row by row, walls included.

    Raises:
        ValueError: when the map is ragged, holds other letters, or no goal can be reached from the start.

    >>> lake = text_map(["SF", "HG"], slip=0.0)
    >>> lake.P[1, 1].tolist(), lake.r[1].tolist()
    ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0])
    """
    tiles = _tiles(rows)
    _check_slip(slip)
    passable = tiles != "W"
    P = _moves(passable, slip)
    final = np.flatnonzero(np.isin(tiles.ravel(), ["H", "G"]))
    P[final] = np.eye(tiles.size)[final][:, None]
    goals = tiles.ravel() == "G"
    r = P[:, :, goals].sum(axis=2)
    r[final] = 0
    start = tiles.ravel() == ("S" if "S" in tiles else "F")
    if not start.any():
        raise ValueError("the map has no start: mark one cell with S, or leave free cells F.")
    reached = _reached(P, start)
    if not np.any(reached & goals):
        raise ValueError(
            f"no goal G can be reached from the start of the map {list(rows)}; open a way through W and H, or add one."
        )
    return make_mdp(P, r, gamma, start / start.sum())


def gridworld_goals(
    key: Array,
    num_tasks: int,
    *,
    size: int = 9,
    gamma: float = 0.95,
    slip: float = 0.1,
    goals: Sequence[int] | None = None,
    start: int | None = None,
    replace: bool = True,
) -> MDP:
    """Stack of size x size gridworlds that differ in their goal cell, where each step pays 1 and the agent stays.

    Goals are drawn from ``goals`` (cells, row by row), or from all cells, with replacement or, for tasks that all
    differ, without (``replace=False``); the agent starts in the cell ``start``, or anywhere.
    The return is the discounted share of the time at the goal.

    >>> gridworld_goals(jax.random.key(0), num_tasks=3).P.shape
    (3, 81, 4, 81)
    """
    if size < 2 or num_tasks < 1:
        raise ValueError(f"size must be at least 2 and num_tasks at least 1, got {size} and {num_tasks}.")
    _check_slip(slip)
    if not 0 < gamma < 1:
        raise ValueError(f"gamma must be one number strictly between 0 and 1, got {gamma}.")
    cells = jnp.arange(size**2) if goals is None else jnp.asarray(goals)
    if goals is not None and not (len(goals) and min(goals) >= 0 and max(goals) < size**2):
        raise ValueError(f"goals must be cells from 0 to {size**2 - 1}, got {list(goals)}.")
    if not replace and num_tasks > len(cells):
        raise ValueError(
            f"num_tasks must be at most {len(cells)}, the number of goals, with replace=False; got {num_tasks}."
        )
    moves = jnp.asarray(_moves(np.ones((size, size), bool), slip))
    drawn = jax.random.choice(key, cells, (num_tasks,), replace=replace)
    at_goal = jax.nn.one_hot(drawn, size**2, dtype=moves.dtype)
    stay = jnp.eye(size**2, dtype=moves.dtype)[None, :, None, :]
    P = jnp.where(at_goal[:, :, None, None] > 0, stay, moves[None])
    r = jnp.repeat(at_goal[:, :, None], len(MOVES), axis=2)
    if start is not None and not 0 <= start < size**2:
        raise ValueError(f"start must be a cell from 0 to {size**2 - 1}, got {start}.")
    begin = np.full(size**2, 1 / size**2) if start is None else np.eye(size**2)[start]
    zeta = jnp.broadcast_to(jnp.asarray(begin, moves.dtype), (num_tasks, size**2))
    return MDP(P, r, jnp.full(num_tasks, gamma, moves.dtype), zeta)


def from_gymnasium(environment: Any, *, gamma: float = 0.95) -> MDP:
    """A toy-text environment of gymnasium (FrozenLake, Taxi, CliffWalking) as a process; it must carry its table ``P``.

    Episodes that end stay where they end, without reward. Needs ``pip install jaxlqr[gym]``, to make environments.
    """
    plain = getattr(environment, "unwrapped", environment)
    table = getattr(plain, "P", None)
    if not isinstance(table, dict):
        raise ValueError(
            f"environment must have a transition table P, as FrozenLake, Taxi and CliffWalking do, got "
            f"{type(plain).__name__}."
        )
    S, A = len(table), len(table[0])
    # The last state is where ended episodes stay: in these tables the same state may both end one and go on.
    P, r = np.zeros((S + 1, A, S + 1)), np.zeros((S + 1, A))
    P[S, :, S] = 1
    for s, actions in table.items():
        for a, outcomes in actions.items():
            for probability, following, reward, ended in outcomes:
                P[s, a, S if ended else following] += probability
                r[s, a] += probability * reward
    start = np.append(np.asarray(plain.initial_state_distrib, dtype=float), 0)
    return make_mdp(P, r, gamma, start / start.sum())


def _tiles(rows: Sequence[str]) -> np.ndarray:
    lines = [str(row).strip() for row in rows]
    if not lines or len({len(line) for line in lines}) != 1 or not lines[0]:
        raise ValueError(f"rows must be strings of one length, got {list(rows)}.")
    tiles = np.array([list(line) for line in lines])
    strange = sorted(set(tiles.ravel().tolist()) - set(_TILES))
    if strange:
        raise ValueError(f"a map is made of S, F, H, G and W, got {', '.join(strange)}.")
    return tiles


def _moves(passable: np.ndarray, slip: float) -> np.ndarray:
    """Transition probabilities [S, 4, S] of moves that slip to either side."""
    height, width = passable.shape
    cells = np.arange(passable.size)
    row, column = np.divmod(cells, width)
    step = np.zeros((len(MOVES), passable.size, passable.size))
    for action, (down, right) in enumerate(MOVES):
        to_row, to_column = np.clip(row + down, 0, height - 1), np.clip(column + right, 0, width - 1)
        target = np.where(passable[to_row, to_column], to_row * width + to_column, cells)
        step[action, cells, target] = 1
    turned = (np.roll(step, 1, axis=0) + np.roll(step, -1, axis=0)) / 2
    return np.moveaxis((1 - slip) * step + slip * turned, 0, 1)


def _reached(P: np.ndarray, start: np.ndarray) -> np.ndarray:
    """States that can be reached from ``start`` [S], booleans."""
    linked = P.sum(axis=1) > 0
    reached = start.copy()
    for _ in range(len(P)):
        following = reached | (reached @ linked)
        if np.array_equal(following, reached):
            break
        reached = following
    return reached


def _check_slip(slip: float) -> None:
    if not 0 <= slip < 1:
        raise ValueError(f"slip must lie in [0, 1), got {slip}.")
