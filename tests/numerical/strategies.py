"""Hypothesis strategies for matrices and tasks: a few choices for each lane, from which NumPy builds the arrays.

Hypothesis draws the choices, so that what fails is shrunk to few and plain ones; the first of each is the plain one.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

LANES = 32
EPS = float(np.finfo(float).eps)
TINY = float(np.finfo(float).tiny)

RADII = (0.5, 0.9, 0.0, 1e-140, 1e-8, 0.99, 1 - 1e-4, 1 - 1e-8, 1 - 1e-12, 1 - EPS / 2, 1.0, 1 + EPS, 1 + 1e-12,
         1 + 1e-8, 1 + 1e-4, 1.1, 2.0, 10.0)  # fmt: skip
KINDS = ("dense", "ties", "rotation", "triangular", "nilpotent", "integers", "rank one", "identity", "graded")
# Powers of ten: no scale in half of the lanes, and denormal numbers in some.
SCALES = (0,) * 12 + (-150, 150, -100, 100, -30, 30, -8, 8, -3, 3, -310, -322)
SPOILT = ("no",) * 15 + ("nan", "inf")


def in_range(scale: int, unit: int) -> int:
    """A power of ten between -150 and 150, or that of denormal numbers."""
    return scale if scale < -300 else max(-150, min(150, scale + unit))


@dataclass(frozen=True)
class Matrix:
    """What hypothesis chose for one square matrix."""

    kind: str
    radius: float
    scale: int
    spoilt: str
    seed: int

    def build(self, n: int) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        with np.errstate(under="ignore"):
            a = _base(self.kind, rng, n) * self.radius
            if abs(self.scale) >= 100 and np.any(a):
                a = a / np.max(np.abs(a))  # between 1e-150 and 1e150, where squares are numbers, or denormal
            a = a * float(f"1e{self.scale}")
        if self.spoilt != "no":
            a[rng.integers(n), rng.integers(n)] = float(self.spoilt)
        return a


def _base(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    """A matrix of spectral radius one, or nilpotent."""
    dense = rng.standard_normal((n, n))
    if kind == "ties":
        basis, _ = np.linalg.qr(dense)
        return basis @ np.diag(rng.choice([-1.0, 1.0], n)) @ basis.T
    if kind == "rotation":
        return np.linalg.qr(dense)[0]
    if kind == "triangular":
        return np.diag(rng.choice([1.0, 0.5, -0.5], n)) + 10.0 ** rng.integers(0, 7) * np.triu(dense, 1)
    if kind == "nilpotent":
        return np.triu(dense, 1)
    if kind == "integers":
        return rng.integers(-1, 2, (n, n)).astype(float)
    if kind == "rank one":
        left, right = rng.standard_normal((2, n))
        return np.outer(left, right) / max(abs(left @ right), 1e-3)
    if kind == "identity":
        return np.eye(n)
    a = dense / np.max(np.abs(np.linalg.eigvals(dense)))
    if kind == "graded":
        units = 10.0 ** rng.uniform(-4, 4, n)
        return a * units[:, None] / units[None, :]
    return a


@dataclass(frozen=True)
class Definite:
    """What hypothesis chose for one symmetric matrix: semidefinite where ``rank`` is less than full."""

    condition: int
    scale: int
    deficient: bool
    seed: int

    def build(self, n: int, unit: int = 0) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
        values = 10.0 ** (-self.condition * np.linspace(0, 1, n)) if n > 1 else np.ones(1)
        if self.deficient:
            values[0] = 0.0
        made = (basis * values) @ basis.T
        with np.errstate(under="ignore"):
            return (made + made.T) / 2 * float(f"1e{in_range(self.scale, unit)}")


_SEEDS = st.integers(0, 2**16)


def matrices(scales=SCALES, spoilt=SPOILT):
    return st.builds(
        Matrix, st.sampled_from(KINDS), st.sampled_from(RADII), st.sampled_from(scales), st.sampled_from(spoilt), _SEEDS
    )


def definite(scales=SCALES, conditions=(0, 0, 1, 3, 6, 10, 14), deficient=(False, True)):
    return st.builds(Definite, st.sampled_from(conditions), st.sampled_from(scales), st.sampled_from(deficient), _SEEDS)


def lanes(*each):
    """A batch: a tuple of choices for each lane."""
    return st.lists(st.tuples(*each), min_size=LANES, max_size=LANES)
