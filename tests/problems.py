"""The problem bank: LQR tasks, each with a gain that stabilises it and is not its optimum.

Tasks of equal shape share one compiled function, so most of the hard ones have n = 4 and m = 2.
"""

from dataclasses import dataclass
from functools import cache

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array

import jaxlqr
from jaxlqr import LQRTask, make_task


@dataclass(frozen=True)
class Problem:
    """A task, a stabilising gain K [m, n], and a direction X [m, n] in the space of gains."""

    name: str
    task: LQRTask
    K: Array
    X: Array


def spd(rng: np.random.Generator, size: int, floor: float = 0.5) -> np.ndarray:
    """A random symmetric matrix with eigenvalues of at least ``floor``."""
    root = rng.standard_normal((size, size)) / np.sqrt(size)
    return root @ root.T + floor * np.eye(size)


def from_closed_loop(name: str, seed: int, a_k: np.ndarray, m: int, gain_scale: float = 0.3) -> Problem:
    """A random problem whose closed loop A - B K is ``a_k``."""
    rng = np.random.default_rng(seed)
    n = a_k.shape[0]
    b = rng.standard_normal((n, m)) / np.sqrt(m)
    k = gain_scale * rng.standard_normal((m, n)) / np.sqrt(n)
    task = make_task(a_k + b @ k, b, spd(rng, n), spd(rng, m), spd(rng, n))
    return Problem(name, task, jnp.asarray(k), jnp.asarray(rng.standard_normal((m, n))))


def random_closed_loop(seed: int, n: int, radius: float) -> np.ndarray:
    """A random matrix of the given spectral radius."""
    a = np.random.default_rng(1000 + seed).standard_normal((n, n))
    return a * (radius / np.max(np.abs(np.linalg.eigvals(a))))


def random_problem(seed: int, n: int, m: int, radius: float = 0.8) -> Problem:
    """A random problem with n states, m inputs and the given closed-loop spectral radius."""
    return from_closed_loop(f"random n={n} m={m}", seed, random_closed_loop(seed, n, radius), m)


def _near_boundary(radius: float) -> Problem:
    # A rotation of modulus `radius` and two fast modes in a random orthonormal basis: normal, so that only the distance
    # to the boundary makes it hard.
    basis, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((4, 4)))
    c, s = radius * np.cos(0.7), radius * np.sin(0.7)
    block = scipy.linalg.block_diag([[c, -s], [s, c]], 0.5, -0.3)
    return from_closed_loop(f"radius {radius}", 8, basis @ block @ basis.T, 2)


def _non_normal() -> Problem:
    # Powers reach 10^3 * binomial terms before they decay: see test_problems.
    return from_closed_loop("non-normal", 9, 0.6 * np.eye(4) + 15.0 * np.eye(4, k=1), 2, gain_scale=1e-2)


def _nearly_uncontrollable() -> Problem:
    # An unstable mode that inputs reach with 1e-3 only, a stable one reached with 1e-6.
    a = np.diag([1.02, 0.9, 0.5, 0.3])
    b = np.array([[1e-3, 0.0], [0.0, 1e-6], [1.0, 0.5], [0.2, 1.0]])
    p = scipy.linalg.solve_discrete_are(a, b, np.eye(4), np.eye(2))
    k = 0.95 * np.linalg.solve(np.eye(2) + b.T @ p @ b, b.T @ p @ a)
    x = np.random.default_rng(10).standard_normal((2, 4))
    return Problem("nearly uncontrollable", make_task(a, b), jnp.asarray(k), jnp.asarray(x))


def scalar_problem() -> Problem:
    """n = m = 1, with the closed form of :func:`tests.references.scalar_cost`."""
    task = make_task([[0.9]], [[1.3]], [[1.7]], [[0.6]], [[0.8]])
    return Problem("scalar", task, jnp.array([[0.4]]), jnp.array([[1.0]]))


def boeing_problem() -> Problem:
    """The industrial one: the released Boeing system at the published initial gain."""
    x = np.random.default_rng(11).standard_normal((2, 4))
    return Problem("boeing", jaxlqr.families.boeing(), jaxlqr.families.boeing_initial_gain(), jnp.asarray(x))


@cache
def bank() -> tuple[Problem, ...]:
    """All problems."""
    return (
        scalar_problem(),
        from_closed_loop("n=1 near one", 1, np.array([[-(1 - 1e-7)]]), 1),
        random_problem(2, 2, 5),
        random_problem(3, 3, 3),
        random_problem(4, 4, 2),
        random_problem(5, 12, 1, radius=0.95),
        random_problem(6, 50, 7, radius=0.9),
        _non_normal(),
        _near_boundary(0.999),
        _near_boundary(1 - 1e-7),
        _nearly_uncontrollable(),
        boeing_problem(),
    )


def by_name(problem: Problem) -> str:
    """Test id of a problem."""
    return problem.name.replace(" ", "-")
