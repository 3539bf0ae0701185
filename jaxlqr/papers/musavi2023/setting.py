"""The tasks, starts and step sizes of the experiment: those of the paper, and stated ones where it has none."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from jaxlqr.families import combinations, common_dynamics
from jaxlqr.lqr.task import LQRTask

A, B = ((1.5, 0.0), (0.0, -2.0)), ((0.5,), (0.5,))
STATE_COSTS = (((0.01, -0.5), (-0.5, 200.0)), ((200.0, 1.0), (1.0, 0.01)))
INPUT_COSTS = (((2.0,),), ((0.1,),))
NUM_TASKS, NUM_STEPS = 10, 50

#: The paper gives no distribution of x0 (erratum M3). With the identity the largest curvature of a task is near 3e4,
#: and at eta = 0.0066 the landscape is infinite nearly everywhere; with this one eta times the curvature is 0.1 to 0.2.
SIGMA0 = 1e-3

#: Nor its outer steps: this one is below the inverse of the largest curvature of the mean, about 20.
OUTER_STEP = 0.03


class PrintedStart(NamedTuple):
    """One of the four runs: its initial gain, and its inner step first and at the last iterate."""

    gain: tuple[float, float]
    first_step: float
    last_step: float


#: The fourth is close to the boundary (spectral radius 0.997) and its inner step grows as in the paper.
STARTS = (
    PrintedStart((1.0, -2.4), 5e-4, 5e-4),
    PrintedStart((1.6, -1.8), 5e-3, 5e-3),
    PrintedStart((1.0, -2.9), 6.6e-3, 6.6e-3),
    PrintedStart((0.52, -2.9), 5e-5, 6.6e-3),
)
INNER_STEPS = (5e-4, 5e-3, 6.6e-3)  # of Table II


def draw(key: Array) -> LQRTask:
    """Ten tasks with coefficients uniform on (0, 10).

    >>> draw(jax.random.key(0)).Q.shape
    (10, 2, 2)

    Source: musavi2023, section V.
    """
    state_key, input_key = jax.random.split(key)
    Q, R = combinations(state_key, STATE_COSTS, NUM_TASKS), combinations(input_key, INPUT_COSTS, NUM_TASKS)
    return common_dynamics(A, B, Q, R, SIGMA0 * np.eye(2))


def stabilising_grid(resolution: float) -> np.ndarray:
    """Gains [points, 1, 2] of the given resolution that stabilise A - B K, a triangle.

    >>> stabilising_grid(0.05).shape
    (1829, 1, 2)
    """
    first, second = np.arange(0, 3.6, resolution), np.arange(-5.2, -0.5, resolution)
    gains = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    closed = np.asarray(A) - np.asarray(B) @ gains
    return gains[np.abs(np.linalg.eigvals(closed)).max(axis=1) < 1]
