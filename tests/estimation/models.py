"""The stored models of macroeconomics, and random ones with given roots."""

from pathlib import Path

import numpy as np

NAMES = ("rbc", "rbc_sv", "sgu", "fvgq", "sw07pfeifer")


def stored(name):
    """A, B, g_x, h_x and the loading of the shocks."""
    with np.load(Path(__file__).parent / "dsge" / f"{name}.npz") as file:
        return tuple(file[key] for key in ("A", "B", "g_x", "h_x", "shock"))


def with_roots(seed, stable, unstable):
    """A and B with the roots ``stable`` and ``unstable``, in which 0 stands for an infinite root."""
    rng = np.random.default_rng(seed)
    n = len(stable) + len(unstable)
    left, right = rng.normal(size=(n, n)), rng.normal(size=(n, n))
    of_next = np.diag([1.0] * len(stable) + [1 / root if root else 0.0 for root in unstable])
    of_now = np.diag([-root for root in stable] + [-1.0] * len(unstable))
    return left @ of_next @ right, left @ of_now @ right
