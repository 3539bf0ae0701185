"""Poles, zeros, damping and the gain at rest."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Complex, Float

from jaxlqr.core.products import matmul
from jaxlqr.core.result import short_repr
from jaxlqr.systems._pencil import finite_zeros
from jaxlqr.systems._solve import checked_solve
from jaxlqr.systems._state_space import StateSpace, check_system


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Damping:
    """Poles with their natural frequencies and damping ratios, from :func:`damping`.

    Attributes:
        poles: complex [n], of the system as it is.
        frequencies: natural frequencies [n] in radians per unit of time.
        ratios: damping ratios [n], between -1 (an unstable real pole) and 1 (a stable real pole).
    """

    poles: Array
    frequencies: Array
    ratios: Array

    def __repr__(self) -> str:
        return short_repr(self)


def poles(system: StateSpace) -> Complex[Array, " n"]:
    """Eigenvalues of A, complex [n], in no order; a system in continuous time is stable where all real parts are < 0.

    Differentiable to any order and in both modes where no two poles are equal; there, derivatives are not finite. JAX
    computes eigenvalues on the CPU only, unless its version has them for the GPU too.

    >>> poles(StateSpace(*map(jnp.asarray, ([[-2.0]], [[1.0]], [[1.0]], [[0.0]])))).tolist()
    [(-2+0j)]
    """
    check_system(system)
    return _poles(system.A)


def zeros(system: StateSpace) -> Complex[Array, " n"]:
    r"""Transmission zeros, complex [n]: where the Rosenbrock matrix has less than its normal rank.

    .. math:: \begin{bmatrix} A - z I & B \\ C & D \end{bmatrix}

    Returns:
        The finite zeros, and then NaN: a system with n states has at most n zeros, and their number depends on values.
        Poles that no input moves or no output shows are among them where the rank falls there. Zeros at infinity are
        left out by reduction of the pencil, and not by size: what remains has no infinite eigenvalues.

        For as many inputs as outputs they are differentiable, to any order and in both modes, where they are simple.
        Otherwise a zero exists for special matrices only, and its derivative is NaN.

    The reduction decides ranks, so it runs on the host, in float64 whatever the precision of the system; it is slow for
    large batches.

    >>> lead = StateSpace(*map(jnp.asarray, ([[-2.0]], [[1.0]], [[-1.0]], [[1.0]])))  # (s + 1) / (s + 2)
    >>> zeros(lead).tolist()
    [(-1+0j)]

    Source: Emami-Naeini and Van Dooren, Automatica 18 (1982), the method of SLICOT's AB08ND.
    """
    check_system(system)
    return _zeros(system.A, system.B, system.C, system.D)


def dc_gain(system: StateSpace) -> Float[Array, "p m"]:
    """The gain [p, m] of constant inputs: D - C A^-1 B, or D + C (I - A)^-1 B in discrete time.

    If the system has an integrator (a pole at 0, at 1 in discrete time, within rounding), all entries are inf, also
    those without a path through the integrator. It is the output at rest only if the system is stable.

    >>> dc_gain(StateSpace(*map(jnp.asarray, ([[-2.0]], [[1.0]], [[1.0]], [[0.0]])))).tolist()
    [[0.5]]
    """
    check_system(system)
    return _dc_gain(system)


def damping(system: StateSpace) -> Damping:
    r"""Natural frequencies and damping ratios of all poles.

    With :math:`s` a pole in continuous time, or :math:`\log(z) / dt` in discrete time, the frequency is :math:`|s|` and
    the ratio :math:`-\cos \arg s`. An integrator has the ratio -1, as in python-control.

    Returns:
        :class:`Damping`, differentiable as :func:`poles`.

    >>> oscillator = StateSpace(*map(jnp.asarray, ([[0.0, 1.0], [-4.0, -2.0]], [[0.0], [1.0]], [[1.0, 0.0]], [[0.0]])))
    >>> damping(oscillator).frequencies.round(3).tolist(), damping(oscillator).ratios.round(3).tolist()
    ([2.0, 2.0], [0.5, 0.5])
    """
    check_system(system)
    return _damping(system)


@jax.jit
def _poles(a: Array) -> Array:
    return _eig(a)[0]


@jax.jit
def _damping(system: StateSpace) -> Damping:
    found = _eig(system.A)[0]
    if system.dt is None:
        return Damping(found, jnp.abs(found), -jnp.cos(jnp.angle(found)))
    dead = found == 0  # beat in one sample: the limit is a stable real pole, infinitely fast
    rates = jnp.log(jnp.where(dead, 1, found)) / system.dt
    frequencies, ratios = jnp.abs(rates), -jnp.cos(jnp.angle(rates))
    return Damping(found, jnp.where(dead, jnp.inf, frequencies), jnp.where(dead, 1, ratios))


@jax.jit
def _dc_gain(system: StateSpace) -> Array:
    eye = jnp.eye(len(system.A), dtype=system.A.dtype)
    matrix, known = system.A, jnp.abs(system.A)
    if system.is_discrete:
        matrix, known = matrix - eye, known + eye
    states, singular = checked_solve(matrix, known, system.B, 0)
    at_rest = system.D - matmul(system.C, states)
    return jnp.where(singular, jnp.inf, at_rest) if len(eye) else system.D


@jax.custom_jvp
def _eig(a: Array) -> tuple[Array, Array]:
    if not len(a):
        return jnp.zeros(0, np.result_type(a.dtype, np.complex64)), jnp.zeros((0, 0), a.dtype)
    values, vectors = jnp.linalg.eig(a)
    return values, vectors


@_eig.defjvp
def _eig_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    # With P = V^-1 dA V: d lambda = diag P and dV = V X, where X_ij = P_ij / (lambda_j - lambda_i) off the diagonal.
    # The diagonal of X scales the vectors, which no derivative of an eigenvalue depends on; it is zero here.
    (a,), (change,) = primals, tangents
    values, vectors = _eig(a)
    n = len(values)
    rates = jnp.linalg.solve(vectors, matmul(change.astype(vectors.dtype), vectors))
    eye = jnp.eye(n, dtype=bool)
    gaps = jnp.where(eye, 1, values[None, :] - values[:, None])
    turned = matmul(vectors, jnp.where(eye, 0, rates / gaps))
    return (values, vectors), (jnp.diagonal(rates), turned)


@jax.custom_jvp
@jax.jit
def _zeros(a: Array, b: Array, c: Array, d: Array) -> Array:
    dtype = np.result_type(a.dtype, np.complex64)

    def on_host(*matrices: Any) -> np.ndarray:
        return finite_zeros(*(np.asarray(matrix, float) for matrix in matrices)).astype(dtype)

    shape = jax.ShapeDtypeStruct((len(a),), dtype)
    return jax.pure_callback(on_host, shape, a, b, c, d, vmap_method="sequential")


@_zeros.defjvp
def _zeros_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    found = _zeros(*primals)
    if primals[3].shape[0] != primals[3].shape[1]:
        return found, jnp.full_like(found, jnp.nan)
    return found, _rates(found, primals, tangents)


@jax.jit
def _rates(found: Array, primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> Array:
    """Of each zero, by the implicit function g of the Rosenbrock matrix with a border of its null vectors.

    g vanishes where the matrix is singular, whatever the border, so the border is not differentiated.
    """
    n = len(found)

    def rosenbrock(matrices: tuple[Array, ...], z: Array) -> Array:
        a, b, c, d = (matrix.astype(z.dtype) for matrix in matrices)
        return jnp.block([[a - z * jnp.eye(n, dtype=z.dtype), b], [c, d]])

    def rate(z: Array) -> Array:
        there = jnp.isfinite(z)
        z = jnp.where(there, z, 0)
        left, _, right = jnp.linalg.svd(lax.stop_gradient(rosenbrock(primals, z)))
        column, row = left[:, -1:], right[-1:]
        corner = jnp.zeros((1, 1), z.dtype)
        bordered = jnp.block([[rosenbrock(primals, z), column], [row, corner]])
        last = jnp.zeros((len(bordered), 1), z.dtype).at[-1].set(1)
        x, y = jnp.linalg.solve(bordered, last)[:, 0], jnp.linalg.solve(bordered.T, last)[:, 0]
        _, change = jax.jvp(lambda matrices: rosenbrock(matrices, z), (primals,), (tangents,))
        # dg = -y' dM x, and M falls by one on the diagonal of the states as z grows.
        moved = jnp.sum(y[:-1] * (change @ x[:-1])) / jnp.sum(y[:n] * x[:n])
        return jnp.where(there, moved, jnp.nan)

    return jax.vmap(rate)(found)
