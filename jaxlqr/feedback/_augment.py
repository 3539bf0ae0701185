"""Plants with further states: integrals of outputs, and references to follow."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxlqr.core.products import matmul
from jaxlqr.feedback._factor import factor
from jaxlqr.feedback._plant import GeneralizedPlant, check_plant


def with_integral_action(plant: GeneralizedPlant, outputs: ArrayLike, *, weight: ArrayLike) -> GeneralizedPlant:
    r"""Return the plant with integrals of outputs as further states, which are measured and penalised.

    .. math:: \dot\xi = E x \;\text{ or }\; \xi_{t+1} = \xi_t + E x_t, \qquad
        \tilde y = \begin{bmatrix} y \\ \xi \end{bmatrix}, \qquad |\tilde z|^2 = |z|^2 + \xi^\top W \xi .

    A controller that stabilises this plant drives E x to zero also under constant disturbances: integral action, LQI.

    Arguments:
        plant: one :class:`GeneralizedPlant`; ``jax.vmap`` batches.
        outputs: E [k, n], one row for each output whose integral counts.
        weight: W [k, k], positive semidefinite, the penalty of the integrals.

    Returns:
        The plant with n + k states and p + k measurements. The noise of the plant reaches the integrals through E x.

    >>> from jaxlqr import feedback
    >>> one = jnp.ones((1, 1))
    >>> plant = feedback.generalized_plant(-one, one, one, one, one)
    >>> feedback.with_integral_action(plant, one, weight=4 * one).A.tolist()
    [[-1.0, 0.0], [1.0, 0.0]]

    Source: Anderson, Moore, Optimal Control: Linear Quadratic Methods (1990), section 4.3.
    """
    rows, root = _rows(plant, outputs, weight)
    k, dtype = len(rows), plant.A.dtype
    own = jnp.eye(k, dtype=dtype) if plant.is_discrete else jnp.zeros((k, k), dtype)
    penalised = jnp.pad(root, ((0, 0), (plant.num_states, 0)))
    return _joined(plant, rows, own, jnp.zeros((k, 0), dtype), penalised)


def with_reference(
    plant: GeneralizedPlant,
    outputs: ArrayLike,
    reference: ArrayLike,
    shape: ArrayLike,
    *,
    weight: ArrayLike,
    noise: ArrayLike,
) -> GeneralizedPlant:
    r"""Return the plant with a reference to follow: the error between outputs and the reference is penalised.

    .. math:: \dot r = A_r r + B_r w_r \;\text{ or }\; r_{t+1} = A_r r_t + B_r w_{r,t}, \qquad e = E x - C_r r,
        \qquad |\tilde z|^2 = |z|^2 + e^\top W e .

    The state r of the reference is measured, too: the controller has a feedforward part. A reference model on the
    boundary of stability, as that of constant references, is moved by no controller, and every cost is +inf: let it
    forget slowly, or give :func:`h2_cost` a discount.

    Arguments:
        plant: one :class:`GeneralizedPlant`; ``jax.vmap`` batches.
        outputs: E [k, n], the outputs that shall follow.
        reference: A_r [j, j], the model of the reference.
        shape: C_r [k, j], what is to be followed.
        weight: W [k, k], positive semidefinite, the penalty of the error.
        noise: B_r [j, i], how new references come in.

    Returns:
        The plant with n + j states, p + j measurements and i further disturbances.

    >>> from jaxlqr import feedback
    >>> one = jnp.ones((1, 1))
    >>> plant = feedback.generalized_plant(0.5 * one, one, one, one, one, dt=1.0)
    >>> tracking = feedback.with_reference(plant, one, 0.99 * one, one, weight=one, noise=one)
    >>> tracking.C1.tolist()
    [[1.0, 0.0], [1.0, -1.0]]

    Source: Anderson, Moore, Optimal Control: Linear Quadratic Methods (1990), chapter 4.
    """
    rows, root = _rows(plant, outputs, weight)
    model, followed, entry = (jnp.asarray(x, plant.A.dtype) for x in (reference, shape, noise))
    j = len(model)
    if model.shape != (j, j) or followed.shape != (len(rows), j) or entry.ndim != 2 or len(entry) != j:
        raise ValueError(
            f"reference must have shape [j, j], shape [{len(rows)}, j] and noise [j, i], got {model.shape}, "
            f"{followed.shape} and {entry.shape}; check them."
        )
    penalised = jnp.concatenate([matmul(root, rows), -matmul(root, followed)], axis=1)
    none = jnp.zeros((j, plant.num_states), plant.A.dtype)
    return _joined(plant, none, model, entry, penalised)


def _rows(plant: Any, outputs: ArrayLike, weight: ArrayLike) -> tuple[Array, Array]:
    check_plant(plant)
    rows, penalty = (jnp.asarray(x, plant.A.dtype) for x in (outputs, weight))
    if rows.ndim != 2 or rows.shape[1] != plant.num_states:
        raise ValueError(f"outputs must have shape [k, {plant.num_states}], one column per state, got {rows.shape}.")
    if penalty.shape != (len(rows), len(rows)):
        raise ValueError(f"weight must have shape [{len(rows)}, {len(rows)}], got {penalty.shape}; check it.")
    return rows, factor(penalty, "weight")


def _joined(plant: GeneralizedPlant, inputs: Array, own: Array, entry: Array, penalised: Array) -> GeneralizedPlant:
    """The plant with k more states: driven by ``inputs`` [k, n] of the old ones and by ``entry`` [k, i], all measured.

    ``penalised`` [j, n + k] are further rows of the penalised outputs.
    """
    k, i, rows = len(own), entry.shape[1], len(penalised)
    diagonal = jax.scipy.linalg.block_diag
    n = plant.num_states
    return dataclasses.replace(
        plant,
        A=diagonal(plant.A, own).at[n:, :n].set(inputs),
        B1=jnp.pad(plant.B1, ((0, k), (0, i))).at[n:, plant.B1.shape[1] :].set(entry),
        B2=jnp.pad(plant.B2, ((0, k), (0, 0))),
        C1=jnp.concatenate([jnp.pad(plant.C1, ((0, 0), (0, k))), penalised]),
        C2=diagonal(plant.C2, jnp.eye(k, dtype=plant.A.dtype)),
        D11=jnp.pad(plant.D11, ((0, rows), (0, i))),
        D12=jnp.pad(plant.D12, ((0, rows), (0, 0))),
        D21=jnp.pad(plant.D21, ((0, k), (0, i))),
    )
