"""Systems that several test files share: random ones, the same in other units, and plants of COMPleib."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from jaxlqr import systems


def random_matrices(seed, n, m=2, p=3, *, discrete=False, margin=0.3):
    """A, B, C, D of a stable system: spectral abscissa -margin, or spectral radius 1 - margin."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n)) / np.sqrt(n)
    poles = np.linalg.eigvals(a)
    a = a * (1 - margin) / np.max(np.abs(poles)) if discrete else a - (np.max(poles.real) + margin) * np.eye(n)
    d = rng.normal(size=(p, m)) if discrete else np.zeros((p, m))
    return a, rng.normal(size=(n, m)), rng.normal(size=(p, n)), d


def random_system(seed, n, m=2, p=3, *, discrete=False, margin=0.3):
    return systems.ss(*random_matrices(seed, n, m, p, discrete=discrete, margin=margin), dt=0.1 if discrete else None)


def in_other_units(system, seed=0):
    """The same system with states, inputs and outputs in units from 1e-9 to 1e6; and the factor of its gain."""
    rng = np.random.default_rng(seed)
    x = 10.0 ** rng.integers(-9, 7, system.num_states)
    a = np.asarray(system.A) / x[:, None] * x[None, :]
    b, c = np.asarray(system.B) / x[:, None] * 1e6, np.asarray(system.C) * x[None, :] * 1e-9
    return systems.ss(a, b, c, np.asarray(system.D) * 1e-3, dt=system.dt), 1e-3


def fortran(system):
    """A, B, C, D as SLICOT takes them; it overwrites them."""
    return [np.asfortranarray(np.array(leaf)) for leaf in (system.A, system.B, system.C, system.D)]


@cache
def _compleib():
    found = importlib.util.find_spec("gym_lqr")  # the package itself imports gymnasium, which is not needed
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "compleib.py"
    spec = importlib.util.spec_from_file_location("compleib_plants", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plant(name):
    """A, B1, B, C1, C, D11, D12, D21 of a plant of COMPleib."""
    module = _compleib()
    if module is None:
        # No extra of ours: its requirements, a whole training stack, are not those of its one file of matrices.
        pytest.skip("the plants of COMPleib need gym-lqr; install it with: pip install --no-deps gym-lqr")
    return [np.atleast_2d(np.asarray(matrix, float)) for matrix in module.COMPleib(name)[:8]]


def lightly_damped(seed, n, m=2, p=3, *, discrete=False, damping=1e-3):
    """n / 2 modes of frequencies 0.1 to 10 and damping ``damping`` to 0.1, in mixed coordinates: sharp peaks inside."""
    rng = np.random.default_rng(seed)
    a = np.zeros((n, n))
    for i in range(0, n, 2):
        omega, zeta = 10 ** rng.uniform(-1, 1), damping * (0.1 / damping) ** rng.uniform(0, 1)
        a[i : i + 2, i : i + 2] = [[-zeta * omega, omega], [-omega, -zeta * omega]]
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    a = q @ a @ q.T
    b, c, d = rng.normal(size=(n, m)), rng.normal(size=(p, n)), 0.1 * rng.normal(size=(p, m))
    return systems.ss(scipy.linalg.expm(0.1 * a) if discrete else a, b, c, d, dt=0.1 if discrete else None)
