"""The modified Boeing system of the MAML-LQR paper."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.lqr.task import LQRTask, make_task

_B = [[0.01, 0.99], [-3.44, 1.66], [-0.83, 0.44], [-0.47, 0.25]]
_SECOND_ROW = {"released": [0.01, 4.7, 0.0, 0.0], "printed": [0.01, 0.47, 4.7, 0.0]}
_INITIAL_GAIN = [
    [0.61343269, -1.53543838, 0.30279836, 0.39631415],
    [0.88802018, 0.60382034, -0.14729954, -0.58220629],
]


def boeing(*, variant: Literal["released", "printed"] = "released") -> LQRTask:
    """Nominal task with n = 4 states and m = 2 inputs, Q = I, R = I, Sigma0 = I/4.

    The A printed in the paper cannot be run from the printed initial gain (spectral radius 3.07); the released code has
    another second row, which can (0.95). Both are here; docs/errata.md, T1.

    >>> [round(float(entry), 2) for entry in boeing().A[1]]
    [0.01, 4.7, 0.0, 0.0]

    Source: toso2024, section 7; Hong et al., 2021, for the unmodified system.
    """
    if variant not in _SECOND_ROW:
        raise ValueError(f'variant must be "released" or "printed", got {variant!r}.')
    rows = [[1.22, 0.03, -0.02, -0.32], _SECOND_ROW[variant], [0.02, -0.06, 0.40, 0.0], [0.01, -0.04, 0.72, 1.55]]
    return make_task(rows, _B, np.eye(4), np.eye(2), np.eye(4) / 4)


def boeing_initial_gain() -> Array:
    """Initial gain K0 [2, 4] of the paper, to eight decimals; it stabilises the released variant only."""
    return jnp.asarray(_INITIAL_GAIN)
