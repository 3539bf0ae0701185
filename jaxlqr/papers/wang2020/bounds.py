"""How tight Theorem 3.5 is: both sides on random instances."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.families import garnet
from jaxlqr.mdp import make_tasks
from jaxlqr.papers.wang2020.theory import theorem_3_5

FORMS = ("printed", "corrected", "sharp", "l1")
NUM_TASKS, NUM_STATES, NUM_ACTIONS, NUM_FEATURES = 3, 5, 3, 4
ETA, RADIUS = 3.0, 10.0


def draw(key: Array, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Gaps [count] between two random policies on random Garnets, and the bounds on them by form."""
    gaps, bounds = _draw(jax.random.split(key, count))
    return np.asarray(gaps), {form: np.asarray(bounds[form]) for form in FORMS}


@jax.jit
def _draw(keys: Array) -> tuple[Array, dict[str, Array]]:
    def one(key: Array) -> tuple[Array, dict[str, Array]]:
        mdp_key, feature_key, theta_key = jax.random.split(key, 3)
        mdps = garnet(mdp_key, NUM_TASKS, NUM_STATES, NUM_ACTIONS, gammas=(0.2, 0.95))
        features = jax.random.normal(feature_key, (NUM_STATES, NUM_ACTIONS, NUM_FEATURES))
        tasks = make_tasks(mdps, features=features)
        pair = jax.random.normal(theta_key, (2, NUM_FEATURES))
        told = theorem_3_5(pair[0], pair[1], tasks, ETA, RADIUS)
        # The better of the two is the comparator.
        better, omega = jnp.where(told.gap < 0, pair[::-1], pair)
        bounds = {form: theorem_3_5(better, omega, tasks, ETA, RADIUS, form=form) for form in FORMS}
        return bounds["sharp"].gap, {form: rows.bound for form, rows in bounds.items()}

    return jax.lax.map(one, keys)


def tightness(gaps: np.ndarray, bounds: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Quartiles of bound over gap by form, and the share of instances whose bound is below the gap."""
    told = {}
    for form, rows in bounds.items():
        low, middle, high = np.quantile(rows / gaps, [0.25, 0.5, 0.75])
        told[form] = {"median": middle, "low": low, "high": high, "violated": float(np.mean(rows < gaps))}
    return told
