"""Plants that vary in time as one plant that does not: all times of a period, or of a horizon, side by side."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxlqr.feedback._plant import GeneralizedPlant, check_plant
from jaxlqr.feedback._structure import StructuredGain, structured


def periodic_plant(plants: GeneralizedPlant) -> GeneralizedPlant:
    r"""Return the plant, constant in time, whose :func:`h2_cost` is the average cost of a periodic plant.

    .. math:: x_{t+1} = A_t x_t + B_{1,t} w_t + B_{2,t} u_t, \quad A_{t+T} = A_t, \ldots

    Its state holds T copies of the state, one for each time of the period, of which each drives the next. A gain on it
    that is block diagonal, as those of :func:`scheduled`, is a gain F_t for each time. The cost of n T states takes
    (n T)^3 operations: for short periods.

    Arguments:
        plants: a stack of T plants in discrete time, in the order of the period.

    >>> from jaxlqr import feedback
    >>> one = jnp.ones((1, 1))
    >>> half = feedback.generalized_plant(0.5 * one, one, one, one, one, dt=1.0)
    >>> plant = feedback.periodic_plant(feedback.stack_plants([half, half]))
    >>> print(f"{feedback.h2_cost(jnp.zeros((2, 2)), plant):.4f}")  # 1 / (1 - 1/4), as for the constant plant
    1.3333

    Source: Bittanti, Colaneri, Periodic Systems (2009), chapter 6.
    """
    period = _times(plants)
    return _side_by_side(plants, np.roll(np.eye(period), 1, axis=0), period**-0.5)


def finite_horizon_plant(
    plants: GeneralizedPlant, *, initial: ArrayLike, terminal: ArrayLike | None = None
) -> GeneralizedPlant:
    r"""Return the plant, constant in time, whose :func:`h2_cost` is the cost over a finite horizon T.

    .. math:: J = E \sum_{t=0}^{T-1} |z_t|^2 + |S x_T|^2, \qquad E\, x_0 x_0^\top = M M^\top .

    Its state holds x_0 to x_T side by side, of which each drives the next, so that every gain is stabilising. A block
    diagonal gain, as those of :func:`scheduled`, is a gain F_t for each time.

    Arguments:
        plants: a stack of T plants in discrete time. For one plant that does not vary, repeat it:
            ``stack_plants([plant] * T)``.
        initial: factor M [n, k] of the second moment of the initial state.
        terminal: factor S [j, n] of the penalty of the last state; none unless given.

    >>> from jaxlqr import feedback
    >>> one = jnp.ones((1, 1))
    >>> half = feedback.generalized_plant(0.5 * one, 0 * one, one, one, one, dt=1.0)
    >>> plant = feedback.finite_horizon_plant(feedback.stack_plants([half] * 3), initial=one)
    >>> print(f"{feedback.h2_cost(jnp.zeros((3, 3)), plant):.4f}")  # 1 + 1/4 + 1/16
    1.3125
    """
    horizon = _times(plants)
    n, dtype = plants.num_states, plants.A.dtype
    start = jnp.asarray(initial, dtype)
    last = jnp.zeros((1, n), dtype) if terminal is None else jnp.asarray(terminal, dtype)
    if start.ndim != 2 or start.shape[0] != n or last.ndim != 2 or last.shape[1] != n:
        raise ValueError(
            f"initial must have shape [{n}, k] and terminal [j, {n}], got {start.shape} and {last.shape}; check them."
        )
    inner = _side_by_side(plants, np.eye(horizon, k=-1), 1.0)
    # One more time for the last state, and one more disturbance for the first one.
    a = _padded(inner.A, n, n).at[-n:, -2 * n : -n].set(plants.A[-1])
    r, m, q, p = plants.B1.shape[-1], plants.num_controls, plants.C1.shape[-2], plants.num_measurements
    b1 = _padded(inner.B1, n, start.shape[1]).at[:n, -start.shape[1] :].set(start)
    b1 = b1.at[-n:, (horizon - 1) * r : horizon * r].set(plants.B1[-1])
    b2 = _padded(inner.B2, n, 0).at[-n:, (horizon - 1) * m : horizon * m].set(plants.B2[-1])
    c1 = _padded(inner.C1, last.shape[0], n).at[horizon * q :, -n:].set(last)
    return GeneralizedPlant(
        A=a,
        B1=b1,
        B2=b2,
        C1=c1,
        C2=_padded(inner.C2, 0, n),
        D11=_padded(inner.D11, last.shape[0], start.shape[1]),
        D12=_padded(inner.D12, last.shape[0], 0),
        D21=jnp.pad(inner.D21, ((0, 0), (0, start.shape[1]))).reshape(horizon * p, -1),
        dt=inner.dt,
    )


def scheduled(plants: GeneralizedPlant, lifted: GeneralizedPlant) -> StructuredGain:
    """Return the class of gains F_t, one for each time: its parameters are [T, m, p].

    Arguments:
        plants: the stack of T plants that was lifted.
        lifted: :func:`periodic_plant` or :func:`finite_horizon_plant` of them.

    >>> from jaxlqr import feedback
    >>> one = jnp.ones((1, 1))
    >>> plants = feedback.stack_plants([feedback.generalized_plant(one, one, one, one, one, dt=1.0)] * 2)
    >>> kind = feedback.scheduled(plants, feedback.periodic_plant(plants))
    >>> kind(jnp.array([[[1.0]], [[2.0]]])).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    shape = (_times(plants), plants.num_controls, plants.num_measurements)
    return structured(lifted, function=_block_diagonal, start=jnp.zeros(shape, plants.A.dtype))


def _times(plants: Any) -> int:
    if not isinstance(plants, GeneralizedPlant) or jnp.ndim(plants.A) != 3 or not plants.is_discrete:
        raise ValueError(
            "plants must be a stack of plants in discrete time, one for each time; write feedback.stack_plants([...])."
        )
    check_plant(jax.tree.map(lambda leaf: leaf[0], plants))
    return len(plants.A)


def _block_diagonal(blocks: Array) -> Array:
    return _placed(blocks, np.eye(len(blocks)))


def _placed(blocks: Array, where: np.ndarray) -> Array:
    """The block of time t in column t of blocks, in the row that ``where`` [T, T] marks."""
    spread = jnp.asarray(where, blocks.dtype)[:, None, :, None] * jnp.swapaxes(blocks, 0, 1)[None]
    return spread.reshape(len(blocks) * blocks.shape[1], -1)


def _padded(matrix: Array, rows: int, columns: int) -> Array:
    return jnp.pad(matrix, ((0, rows), (0, columns)))


def _side_by_side(plants: GeneralizedPlant, following: np.ndarray, factor: float) -> GeneralizedPlant:
    """Each time drives the one that ``following`` marks; penalised outputs are multiplied by ``factor``."""
    same = np.eye(len(following))
    return GeneralizedPlant(
        A=_placed(plants.A, following),
        B1=_placed(plants.B1, following),
        B2=_placed(plants.B2, following),
        C1=factor * _placed(plants.C1, same),
        C2=_placed(plants.C2, same),
        D11=factor * _placed(plants.D11, same),
        D12=factor * _placed(plants.D12, same),
        D21=_placed(plants.D21, same),
        dt=None if plants.dt is None else plants.dt[0],
    )
