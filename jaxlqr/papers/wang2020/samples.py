"""How many simulated transitions a meta-gradient costs: its relative error, by where the action values come from."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

import jaxlqr
from jaxlqr.families import garnet
from jaxlqr.mdp import (
    ExactValues,
    MDPTask,
    MonteCarloValues,
    SampledProximalLoss,
    TemporalDifferenceValues,
    make_tasks,
    meta_gradient,
)
from jaxlqr.papers.units import Units

NUM_TASKS, NUM_STATES, NUM_ACTIONS, NUM_FEATURES = 3, 6, 3, 5
ETA, HORIZON = 3.0, 40
COUNTS = (64, 512, 4096)
NUM_ESTIMATES = 30
LABELS = {
    "exact": "exact values",
    "monte_carlo": "values by Monte Carlo",
    "temporal_difference": "values by temporal differences",
    "zeroth_order": "zeroth order, of sampled returns",
}


def complexity(
    key: Array, counts: tuple[int, ...], num_estimates: int, units: Units | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Transitions a task [counts] and relative errors [counts, estimates] of each source."""
    task_key, feature_key, theta_key, draw_key = jax.random.split(key, 4)
    mdps = garnet(task_key, NUM_TASKS, NUM_STATES, NUM_ACTIONS, gammas=(0.5, 0.8))
    features = jax.random.normal(feature_key, (NUM_STATES, NUM_ACTIONS, NUM_FEATURES))
    tasks = make_tasks(mdps, features=features)
    theta = jax.random.normal(theta_key, (NUM_FEATURES,))
    exact = np.asarray(meta_gradient(theta, tasks, ETA))

    def of_source(name: str) -> dict[str, np.ndarray]:
        used, errors = [], []
        for count in counts:
            transitions, loss, oracle = _source(name, count)
            keys = jax.random.split(jax.random.fold_in(draw_key, count), num_estimates)
            estimates = -np.asarray(_estimates(loss, oracle, keys, theta, tasks))
            used.append(transitions)
            errors.append(np.linalg.norm(estimates - exact, axis=1) / np.linalg.norm(exact))
        return {"transitions": np.array(used), "errors": np.array(errors)}

    return {name: (units or Units())(f"samples, {name}", partial(of_source, name)) for name in LABELS}


def _source(name: str, count: int) -> tuple[int, Any, Any]:
    """Transitions a task, loss and oracle; of those for values and visits about the same number."""
    pairs = NUM_STATES * NUM_ACTIONS
    if name == "zeroth_order":
        # Two queries a direction, each a return from the values of few rollouts: the package's oracle, unchanged.
        values = MonteCarloValues(num_rollouts=1, horizon=HORIZON)
        loss = SampledProximalLoss(step_size=ETA, num_visits=8, horizon=HORIZON, values=values)
        # A return needs the walk of each visit only, and not its 4 other trajectories.
        directions = max(2, count // 8)
        oracle = jaxlqr.ZerothOrderOracle(num_samples=directions, radius=0.5)
        return 2 * directions * (8 + pairs) * HORIZON, loss, oracle
    values: Any = ExactValues()
    spent = 0
    if name == "monte_carlo":
        rollouts = max(1, 5 * count // pairs)
        values, spent = MonteCarloValues(num_rollouts=rollouts, horizon=HORIZON), rollouts * pairs * HORIZON
    if name == "temporal_difference":
        sweeps = max(1, 5 * count * HORIZON // pairs)
        values, spent = TemporalDifferenceValues(num_sweeps=sweeps), sweeps * pairs
    loss = SampledProximalLoss(step_size=ETA, num_visits=count, horizon=HORIZON, values=values)
    return 5 * count * HORIZON + spent, loss, None


def _estimates(loss: Any, oracle: Any, keys: Array, theta: Array, tasks: MDPTask) -> Array:
    @jax.jit
    def all_of(keys: Array) -> Array:
        def one(key: Array) -> Array:
            return jaxlqr.maml_gradient(
                loss, theta, tasks, inner_step_size=0.0, oracle=oracle, key=key, num_inner_steps=0
            )

        return jax.lax.map(one, keys)

    return all_of(keys)
