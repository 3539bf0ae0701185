"""Plants and controllers that several test files share."""

import jax.numpy as jnp
import numpy as np

from jaxlqr import feedback, systems
from tests.systems.cases import plant as compleib

DT = 0.1


def random_plant(seed, n=3, m=2, p=2, r=4, q=5, *, discrete, direct=True, dtype=None):
    """A slightly unstable plant with all matrices full; D11 is zero in continuous time, where the cost needs that."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    poles = np.linalg.eigvals(a)
    a = a * 1.02 / np.max(np.abs(poles)) if discrete else a - (np.max(poles.real) - 0.1) * np.eye(n)
    shapes = [(n, r), (n, m), (q, n), (p, n), (q, r), (q, m), (p, r)]
    b1, b2, c1, c2, d11, d12, d21 = (rng.normal(size=shape) for shape in shapes)
    d11 = d11 if discrete else None
    d21 = d21 if direct else None
    arrays = [x if x is None else jnp.asarray(x, dtype) for x in (a, b1, b2, c1, c2, d11, d12, d21)]
    return feedback.generalized_plant(*arrays, dt=DT if discrete else None)


def stabilising(plant):
    """The optimal controller of a plant, moved a little, so that no derivative of its cost vanishes."""
    best = feedback.lqg(plant).check()
    moved = [leaf * 1.02 + 0.01 for leaf in (best.A, best.B, best.C)]
    return systems.StateSpace(*moved, 0.9 * best.D, best.dt)


def lqg_matrices(seed, n=3, m=2, p=2, *, discrete=True):
    """A, B, C, Q, R, W, V."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n)) / np.sqrt(n)
    a = a if discrete else a - np.eye(n)

    def positive(size):
        x = rng.normal(size=(size, size))
        return x @ x.T + 0.1 * np.eye(size)

    return (
        a,
        rng.normal(size=(n, m)),
        rng.normal(size=(p, n)),
        positive(n),
        positive(m),
        positive(n),
        positive(p),
    )


def static_plant(name):
    """A plant of COMPleib. Where gym-lqr leaves B1, C1 or D12 out, they are those that COMPleib takes then.

    COMPleib disturbs and penalises all states, and penalises the controls: B1 = I, C1 = [I; 0], D12 = [0; I].
    """
    a, b1, b, c1, c, d11, d12, d21 = compleib(name)
    n, m = b.shape
    b1 = b1 if b1.size else np.eye(n)
    if not c1.size:
        c1, d12 = np.vstack([np.eye(n), np.zeros((m, n))]), np.vstack([np.zeros((n, m)), np.eye(m)])
    direct = (x if x.size else None for x in (d11, d12, d21))
    return feedback.generalized_plant(a, b1, b, c1, c, *direct)
