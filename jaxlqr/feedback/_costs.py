"""Closed loops of plants and controllers, and their H2 and H-infinity costs."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.core.checks import refuse_half, refuse_masked
from jaxlqr.core.compiled import compiled
from jaxlqr.core.products import matmul
from jaxlqr.feedback._plant import GeneralizedPlant, check_plant
from jaxlqr.matrix_equations.gramians import infinite_unless
from jaxlqr.matrix_equations.scaling import magnitude
from jaxlqr.systems._connections import common_time
from jaxlqr.systems._gramians import h2_square
from jaxlqr.systems._hinf import largest, matrices
from jaxlqr.systems._state_space import StateSpace, check_system

Controller = StateSpace | Float[Array, "m p"]
# Products of two rounded factors: an entry below this many rounding units of its parts is zero.
_ZERO = 8


def as_controller(controller: Any, plant: GeneralizedPlant) -> Controller:
    """A gain [m, p] as an array, or a :class:`StateSpace` with p inputs and m outputs, checked against the plant.

    Raises:
        ValueError: if a shape or the time domain does not fit.
        TypeError: for half precision, integers, and a precision that is not that of the plant.
    """
    m, p = plant.num_controls, plant.num_measurements
    if isinstance(controller, StateSpace):
        check_system(controller, "controller")
        shape, remedy = controller.D.shape, "a controller has the measurements for inputs and the controls for outputs"
        if controller.is_discrete != plant.is_discrete:
            raise ValueError(
                "controller must be in the time domain of the plant, got one in "
                f"{'discrete' if controller.is_discrete else 'continuous'} time; sample the continuous one of the two."
            )
    else:
        controller = _gain(controller, plant)
        shape, remedy = controller.shape, "write controller.T" if controller.shape == (p, m) else "check it"
        if controller.ndim > 2:
            remedy = "map over a batch with jax.vmap, for example jax.vmap(feedback.h2_cost, (0, None))(F, plant)"
    if shape != (m, p):
        raise ValueError(
            f"controller must have shape ({m}, {p}), one row per control and one column per measurement, got {shape}; "
            f"{remedy}."
        )
    dtype = controller.A.dtype if isinstance(controller, StateSpace) else controller.dtype
    if dtype != plant.A.dtype:
        raise TypeError(
            f"controller must have the precision of the plant, {plant.A.dtype}, got {dtype}; convert it with "
            "x.astype(plant.A.dtype)."
        )
    if isinstance(controller, StateSpace):
        common_time([plant.system, controller])
    return controller


def _gain(value: Any, plant: GeneralizedPlant) -> Array:
    refuse_masked(value, "controller")
    if isinstance(value, list | tuple | int | float):
        try:
            value = jnp.asarray(value, plant.A.dtype)
        except (TypeError, ValueError):
            raise ValueError(
                "controller must be an array [m, p], got nested lists of another form; check it."
            ) from None
    if not hasattr(value, "dtype"):
        raise ValueError(
            f"controller must be a gain [m, p] or a StateSpace, got {type(value).__name__}; write "
            "jnp.asarray(F) or systems.ss(A, B, C, D)."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"controller must have a real floating dtype, got {value.dtype}; write F.astype(float).")
    refuse_half("feedback", controller=value)
    return jnp.asarray(value)


def _both(controller: Any, plant: Any) -> dict[str, Any]:
    """What a function of (controller, plant) begins with."""
    plant = check_plant(plant)
    return {"controller": as_controller(controller, plant), "plant": plant}


def _loop(controller: Controller, plant: GeneralizedPlant) -> tuple[StateSpace, Array]:
    """The closed loop from w to z, and which entries of its feedthrough are not zero."""
    if not isinstance(controller, StateSpace):
        rows, direct = -matmul(controller, plant.C2), -controller
        a = plant.A + matmul(plant.B2, rows)
        b = plant.B1 + matmul(plant.B2, direct, plant.D21)
        c = plant.C1 + matmul(plant.D12, rows)
    else:
        direct = controller.D
        inputs = matmul(controller.B, plant.C2)
        own = plant.A + matmul(plant.B2, direct, plant.C2)
        upper = jnp.concatenate([own, matmul(plant.B2, controller.C)], axis=1)
        a = jnp.concatenate([upper, jnp.concatenate([inputs, controller.A], axis=1)])
        noise = plant.B1 + matmul(plant.B2, direct, plant.D21)
        b = jnp.concatenate([noise, matmul(controller.B, plant.D21)])
        penalised = plant.C1 + matmul(plant.D12, direct, plant.C2)
        c = jnp.concatenate([penalised, matmul(plant.D12, controller.C)], axis=1)
    d = plant.D11 + matmul(plant.D12, direct, plant.D21)
    parts = jnp.abs(plant.D11) + magnitude(plant.D12, direct, plant.D21)
    there = jnp.abs(d) > _ZERO * jnp.finfo(d.dtype).eps * parts
    return StateSpace(a, b, c, d, plant.dt), there


def _same_time(controller: Controller, plant: GeneralizedPlant) -> Array | None:
    """Whether both have one sampling time, where only a traced value can say so; else None."""
    return common_time([plant.system, controller])[1] if isinstance(controller, StateSpace) else None


@compiled(prepare=_both)
def closed_loop(controller: Controller, plant: GeneralizedPlant) -> StateSpace:
    r"""Return the closed loop from the disturbances w to the penalised outputs z, a :class:`jaxlqr.systems.StateSpace`.

    Arguments:
        controller: a gain F [m, p], u = -F y, or a :class:`jaxlqr.systems.StateSpace` from y to u.
        plant: one :class:`GeneralizedPlant`; ``jax.vmap`` batches.

    Returns:
        The loop with the states of the plant, then those of the controller. It is ``systems.lft(plant.system,
        controller)`` where the controller is a system, and ``systems.lft(plant.system, -F)`` for a gain. Differentiable
        in both arguments, to any order and in both modes. Sampling times that differ raise ``ValueError``. Inside
        ``jit``, where they cannot be compared, all entries are NaN instead.

    >>> import jax.numpy as jnp
    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> feedback.closed_loop(jnp.array([[3.0]]), plant).A.tolist()
    [[-2.0]]

    Source: Zhou, Doyle, Glover, Robust and Optimal Control (1996), chapter 10.
    """
    loop, _ = _loop(controller, plant)
    same = _same_time(controller, plant)
    if same is None:
        return loop
    return StateSpace(*(jnp.where(same, leaf, jnp.nan) for leaf in (loop.A, loop.B, loop.C, loop.D)), dt=loop.dt)


def _discounted(controller: Any, plant: Any, discount: Any) -> dict[str, Any]:
    both = _both(controller, plant)
    if isinstance(discount, int | float) and not 0 < discount < float("inf"):
        raise ValueError(f"discount must be a positive, finite number, got {discount}; 1 weighs all times alike.")
    return both | {"discount": jnp.asarray(discount, both["plant"].A.dtype)}


@compiled(prepare=_discounted)
def h2_cost(controller: Controller, plant: GeneralizedPlant, *, discount: ArrayLike = 1.0) -> Float[Array, ""]:
    r"""Return the squared H2 norm of the closed loop from w to z, a scalar.

    .. math:: J = E\,\|z\|^2 = \mathrm{tr}(C P C^\top + D D^\top), \qquad A P A^\top - P + B B^\top = 0
        \;\text{ or }\; A P + P A^\top + B B^\top = 0,

    with (A, B, C, D) the :func:`closed_loop`. For a plant of :func:`lqg_plant` it is the average cost under noise. It
    is also the energy of z after impulses at the inputs w, one after the other. It is a loss for every learner, as
    :func:`jaxlqr.cost` is: ``lambda params, plant: h2_cost(controller_class(params), plant)``.

    Arguments:
        controller: a gain F [m, p], u = -F y, or a :class:`jaxlqr.systems.StateSpace` from y to u.
        plant: one :class:`GeneralizedPlant`; ``jax.vmap`` batches.
        discount: the weight g^t of the time t since the impulse, in units of time, or in samples in discrete time.
            Below one the sum exists for loops that are slightly unstable. Above one it demands that the loop decays
            faster.

    Returns:
        The cost, in the unit of z squared. It is +inf, with derivatives NaN, unless the loop is internally stable:
        every mode of plant and controller decays (with a discount, faster than the weight grows). In continuous time it
        is also +inf if white noise reaches z directly, as with a static gain F where D12 F D21 is not zero. Elsewhere
        it is differentiable in every matrix of both, in both modes and to any order.

    >>> import jax.numpy as jnp
    >>> from jaxlqr import feedback
    >>> one = [[1.0]]
    >>> plant = feedback.lqg_plant([[0.9]], one, one, Q=one, R=one, W=one, V=[[0.0]], dt=1.0)
    >>> print(f"{feedback.h2_cost(jnp.array([[0.5]]), plant):.4f}")  # (1 + 0.5^2) / (1 - 0.4^2), as jaxlqr.cost
    1.4881
    >>> print(feedback.h2_cost(jnp.array([[-0.5]]), plant))
    inf

    Source: Zhou, Doyle, Glover, Robust and Optimal Control (1996), chapter 14.
    """
    loop, direct = _loop(controller, plant)
    weight = jnp.log(jnp.asarray(discount, loop.A.dtype)) / 2
    a = loop.A * jnp.exp(weight) if plant.is_discrete else loop.A + weight * jnp.eye(len(loop.A), dtype=loop.A.dtype)
    loop = StateSpace(a, loop.B, loop.C, loop.D, loop.dt)
    whole, square, finite = h2_square(loop, direct)
    same = _same_time(controller, plant)
    return infinite_unless(finite if same is None else finite & same, whole * (whole * square))


@compiled(prepare=_both)
def hinf_cost(controller: Controller, plant: GeneralizedPlant) -> Float[Array, ""]:
    r"""Return the H-infinity norm of the closed loop from w to z, a scalar: the largest gain over all frequencies.

    It bounds the energy of z by that of any disturbance w. Arguments as for :func:`h2_cost`.

    Returns:
        The norm, in the unit of z / w. It is +inf, with derivatives NaN, unless the loop is internally stable.
        Elsewhere it is differentiable as :func:`jaxlqr.systems.hinf_norm` is, where one peak is highest. At a minimum
        over controllers several peaks are often equally high: the norm has a kink there, and :func:`synthesize` takes
            care.

    >>> import jax.numpy as jnp
    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> print(f"{feedback.hinf_cost(jnp.array([[3.0]]), plant):.4f}")  # 1 / (s + 2) at s = 0
    0.5000

    Source: Apkarian, Noll, IEEE Trans. Automat. Control 51 (2006).
    """
    loop, _ = _loop(controller, plant)
    value, _, peak = largest(matrices(loop), discrete=plant.is_discrete)
    same = _same_time(controller, plant)
    return value if same is None else infinite_unless(peak.stable & same, value)
