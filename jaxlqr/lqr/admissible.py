"""Checks of a task: symmetry, definiteness, stabilizability.

No result depends on the units of states and inputs. The checks read values, so they run outside ``jit``.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlqr.matrix_equations import discrete_lqr, is_schur_stable
from jaxlqr.systems._hold import cycle_mean

_EPS = float(np.finfo(float).eps)
# Relative to the larger of two mirrored entries: matrices that were printed, or symmetrised in float32, pass.
_ASYMMETRY = 1e-6
# An eigenvalue this far below zero, with a unit diagonal, is rounding: products C'C, as most costs are, have less.
_ROUNDING = 1e-12


def symmetric_part(array: np.ndarray, name: str, *, definite: bool, eps: float = _EPS) -> np.ndarray:
    """The symmetric part of a matrix [n, n] that is symmetric and positive semidefinite, or ``definite``, to rounding.

    Arguments: ``array``; its ``name`` for messages; ``eps``, the rounding unit of the numbers that the user gave.
    Raises: ``ValueError`` if it is not.
    """
    _check_symmetric(array, name, eps)
    array = (array + array.T) / 2
    diagonal = np.diagonal(array)
    # A diagonal entry defines its own scale: diag(1, -1e-18) is diag(1, -1) in other units.
    if np.any(diagonal < 0) or np.any(array[diagonal == 0] != 0):
        smallest, scaled = float(np.linalg.eigvalsh(array)[0]), ""
        smallest = min(smallest, float(np.min(diagonal)))
        singular = negative = True
    else:
        unit = np.sqrt(np.where(diagonal > 0, diagonal, 1))
        smallest, scaled = float(np.linalg.eigvalsh(array / unit[:, None] / unit)[0]), " (scaled to a unit diagonal)"
        singular = smallest <= 4 * len(array) * _EPS
        negative = smallest < -max(_ROUNDING, 4 * len(array) * eps)
    if singular if definite else negative:
        kind = "definite" if definite else "semidefinite"
        raise ValueError(
            f"{name} must be positive {kind}, got a smallest eigenvalue of {smallest:.3g}{scaled}; check the signs of "
            f"its entries{', and give every input a cost' if definite else ''}."
        )
    return array


def _check_symmetric(array: np.ndarray, name: str, eps: float) -> None:
    # Each pair is tested alone, so a mistyped entry is detected next to a large one. A sum of products that cancel may
    # be wrong by rounding of the products, which Cauchy and Schwarz bound by the two diagonal entries.
    diagonal = np.sqrt(np.abs(np.diagonal(array)))
    allowed = _ASYMMETRY * np.maximum(np.abs(array), np.abs(array.T))
    allowed = allowed + len(array) * eps * diagonal[:, None] * diagonal
    beyond = np.abs(array - array.T) - allowed
    if np.all(beyond <= 0):
        return
    i, j = (int(k) for k in np.argwhere(beyond > 0)[0])
    raise ValueError(
        f"{name} must be symmetric, got {array[i, j]:.6g} at index {(i, j)} and {array[j, i]:.6g} at {(j, i)}; correct "
        f"the entry, or pass ({name} + {name}.T) / 2."
    )


def unstabilizable_modes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Eigenvalues of ``a`` on or outside the unit circle that no input moves [k]; empty if some gain stabilises.

    For states that no path of nonzero entries connects with an input, the eigenvalues of their own block decide. For
    the others the Popov-Belevitch-Hautus rank test decides. If that test is in doubt, a Riccati solution decides.
    """
    reached = _reached(a, b)
    alone = a[np.ix_(~reached, ~reached)]
    stuck = _unstable(alone, margin=0.0)
    if np.any(np.abs(_unstable(alone, margin=_NEAR)) < 1 + _NEAR) and _is_stable(alone):
        stuck = np.array([])  # the powers decide near the circle, as they do for the cost
    a, b = a[np.ix_(reached, reached)], b[reached]
    unstable = _unstable(a, margin=_NEAR)
    if stuck.size or not unstable.size:
        return stuck
    a, b = _balanced(a, b)
    doubtful = np.array([value for value in unstable if not _has_full_rank(a, b, value)])
    if doubtful.size == 0 or _is_stable(a) or _is_stabilised(a, b):
        return np.array([])
    return doubtful


_NEAR = float(np.sqrt(_EPS))  # an eigenvalue is only that sharp when it is double


def _reached(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether a path of nonzero entries leads from an input to each state."""
    reached, edges = np.any(b != 0, axis=1), a != 0
    for _ in range(len(a)):
        reached = reached | np.any(edges[:, reached], axis=1)
    return reached


def _unstable(a: np.ndarray, margin: float) -> np.ndarray:
    values = np.linalg.eigvals(a)
    return values[np.abs(values) >= 1 - margin]


def _is_stable(a: np.ndarray) -> bool:
    return bool(is_schur_stable(jnp.asarray(a, jnp.result_type(float))))


def _balanced(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The system in units, powers of two, that the strongest path from an input to each state defines.

    If A is divided by its largest growth along a cycle (at least one), no entry of A and B then exceeds one, and each
    row has an entry of about one.
    """
    with np.errstate(divide="ignore"):
        weights, inputs = np.log2(np.abs(a)), np.log2(np.abs(b))
        growth = max(0.0, cycle_mean(a))
    units, gains = np.max(inputs, axis=1), np.zeros(b.shape[1])
    for _ in range(2):  # the second time with inputs in units of the states that they move
        moved = np.where(inputs > -np.inf, inputs - np.where(units > -np.inf, units, 0)[:, None], -np.inf)
        gains = -np.max(moved, axis=0)
        gains = np.where(np.isfinite(gains), gains, 0)  # a column of zeros
        units = np.max(inputs + gains, axis=1)
        for _ in range(len(a)):
            units = np.maximum(units, np.max(weights - growth + units[None], axis=1))
    state, control = np.round(units).astype(int), np.round(gains).astype(int)
    return np.ldexp(a, state[None] - state[:, None]), np.ldexp(b, control[None] - state[:, None])


def _has_full_rank(a: np.ndarray, b: np.ndarray, value: complex) -> bool:
    pencil = np.concatenate([a - value * np.eye(len(a)), b], axis=1)
    values = np.linalg.svd(pencil, compute_uv=False)
    # A rank that rounding of the entries could lose is in doubt.
    return bool(values[-1] > 1e3 * len(a) * _EPS * values[0])


def _is_stabilised(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the Riccati solver finds a gain, and the powers of the closed loop vanish with it."""
    weights = np.eye(len(a)), np.eye(b.shape[1])
    arrays = [jnp.asarray(array, jnp.result_type(float)) for array in (a, b, *weights)]
    gain = discrete_lqr(*arrays).gain
    return bool(jnp.all(jnp.isfinite(gain))) and bool(is_schur_stable(arrays[0] - arrays[1] @ gain))


def rounding_unit(value: Any) -> float:
    """The rounding unit of the dtype of a matrix as given; float64 for lists and integers."""
    dtype = getattr(value, "dtype", None)
    is_float = dtype is not None and "float" in str(dtype)
    return float(jnp.finfo(str(dtype).removeprefix("torch.")).eps) if is_float else _EPS
