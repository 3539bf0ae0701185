"""The cost under multiplicative noise: matrices of the plant that fluctuate at random from step to step."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.core.result import short_repr
from jaxlqr.feedback._costs import Controller, as_controller, closed_loop
from jaxlqr.feedback._plant import GeneralizedPlant, check_plant
from jaxlqr.matrix_equations import is_schur_stable
from jaxlqr.matrix_equations.gramians import infinite_unless
from jaxlqr.matrix_equations.scaling import similarity
from jaxlqr.systems._state_space import StateSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MultiplicativeNoise:
    r"""Random changes of A and B2, a pytree of two arrays.

    .. math:: x_{t+1} = \Big(A + \sum_i e_{i,t} A_i\Big) x_t + \Big(B_2 + \sum_i e_{i,t} B_i\Big) u_t + B_1 w_t

    with independent e of mean zero and variance one; in continuous time with independent Wiener processes (Ito).

    Attributes:
        A: [k, n, n], the changes of A, times their standard deviations.
        B2: [k, n, m], the changes of B2. Where A and B2 change independently, give one of them a matrix of zeros.
    """

    A: Float[Array, "k n n"]
    B2: Float[Array, "k n m"]

    def __repr__(self) -> str:
        return short_repr(self)


def _all(controller: Any, plant: Any, noise: Any) -> dict[str, Any]:
    plant = check_plant(plant)
    n, m = plant.B2.shape
    if not isinstance(noise, MultiplicativeNoise):
        raise ValueError(f"noise must be a MultiplicativeNoise, got {type(noise).__name__}; make one of (A, B2).")
    a, b = (jnp.asarray(leaf, plant.A.dtype) for leaf in (noise.A, noise.B2))
    if a.ndim != 3 or a.shape[1:] != (n, n) or b.shape != (len(a), n, m):
        raise ValueError(
            f"noise must hold A of shape [k, {n}, {n}] and B2 of shape [k, {n}, {m}], got {a.shape} and {b.shape}; "
            "give zeros where one of them does not change."
        )
    return {"controller": as_controller(controller, plant), "plant": plant, "noise": MultiplicativeNoise(a, b)}


@compiled(prepare=_all)
def multiplicative_cost(
    controller: Controller, plant: GeneralizedPlant, noise: MultiplicativeNoise
) -> Float[Array, ""]:
    r"""Return :func:`h2_cost` where A and B2 fluctuate at random, a scalar.

    With the closed loop (A, B, C, D) and its fluctuations N_i, the covariance of the state solves

    .. math:: P = A P A^\top + \sum_i N_i P N_i^\top + B B^\top, \qquad J = \mathrm{tr}(C P C^\top + D D^\top),

    in continuous time with A P + P A' on the right and zero on the left. The linear map of P is a matrix of size n^2
    squared: the cost takes n^6 operations for n states of the loop, and is for loops of up to a dozen states.

    Arguments:
        controller: as for :func:`h2_cost`. The fluctuations of B2 act on its output u.
        plant: one :class:`GeneralizedPlant`; ``jax.vmap`` batches.
        noise: :class:`MultiplicativeNoise`.

    Returns:
        The cost; +inf, with derivatives NaN, unless the loop is stable in mean square. Differentiable in all arguments,
        in both modes and to any order.

    >>> from jaxlqr import feedback
    >>> one = jnp.ones((1, 1))
    >>> plant = feedback.generalized_plant(0.5 * one, one, one, one, one, dt=1.0)
    >>> noise = feedback.MultiplicativeNoise(A=0.5 * one[None], B2=0 * one[None])
    >>> print(f"{feedback.multiplicative_cost(0 * one, plant, noise):.4f}")  # 1 / (1 - 1/4 - 1/4)
    2.0000

    Source: Gravell, Esfahani, Summers, IEEE Trans. Automat. Control 66 (2021).
    """
    loop = closed_loop(controller, plant)
    if isinstance(controller, StateSpace):
        direct, states = controller.D, [controller.C]
    else:
        direct, states = -controller, []
    u = jnp.concatenate([matmul(direct, plant.C2), *states], axis=1)
    size, n = len(loop.A), plant.num_states
    # The fluctuations N_i [k, size, size] of the loop, and those of the input of w, D21 through u.
    wide = jnp.zeros((len(noise.A), n, size - n), loop.A.dtype)
    upper = jnp.concatenate([noise.A, wide], axis=2) + jnp.matmul(noise.B2, u, precision=lax.Precision.HIGHEST)
    moves = jnp.concatenate([upper, jnp.zeros((len(noise.A), size - n, size), loop.A.dtype)], axis=1)
    kicks = jnp.matmul(noise.B2, matmul(direct, plant.D21), precision=lax.Precision.HIGHEST)
    added = jnp.einsum("kir,kjr->ij", kicks, kicks, precision=lax.Precision.HIGHEST)
    covariance = matmul(loop.B, loop.B.T)
    covariance = covariance.at[:n, :n].add(added)
    units = lax.stop_gradient(similarity(loop.A, 1 if plant.is_discrete else 0))[:, None]
    a, moves = loop.A * units.T / units, moves * units.T[None] / units[None]
    right = (covariance / units / units.T).reshape(-1)
    p, stable = _second_moment(a, moves, right, discrete=plant.is_discrete)
    p = p.reshape(size, size) * units * units.T
    value = jnp.sum(matmul(loop.C, p) * loop.C) + jnp.sum(loop.D**2)
    finite = stable & (plant.is_discrete | jnp.all(loop.D == 0))
    return infinite_unless(finite, value)


def _second_moment(a: Array, moves: Array, right: Array, *, discrete: bool) -> tuple[Array, Array]:
    """The stationary second moment [n^2] and whether there is one."""
    eye = jnp.eye(len(a), dtype=a.dtype)
    noise = jnp.einsum("kij,kab->iajb", moves, moves, precision=lax.Precision.HIGHEST).reshape(len(right), len(right))
    whole = jnp.eye(len(right), dtype=a.dtype)
    if discrete:
        operator = jnp.kron(a, a) + noise
        stable, equation = is_schur_stable(lax.stop_gradient(operator)), whole - operator
    else:
        operator = jnp.kron(a, eye) + jnp.kron(eye, a) + noise
        known = jnp.where(jnp.all(jnp.isfinite(operator)), lax.stop_gradient(operator), jnp.inf)
        poles = jnp.linalg.eigvals(jnp.where(jnp.isfinite(known), known, whole))
        stable, equation = jnp.max(poles.real) < 0, -operator
    solution = jnp.linalg.solve(jnp.where(stable, equation, whole), right[:, None])[:, 0]
    return solution, stable
