"""What the synthesis minimises, for many starts and all plants at once: one compiled program for each kind."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxlqr.core.compiled import compiled
from jaxlqr.feedback._costs import closed_loop, h2_cost, hinf_cost
from jaxlqr.feedback._plant import GeneralizedPlant
from jaxlqr.matrix_equations import continuous_gramian_trace, gramian_trace
from jaxlqr.systems._gramians import balanced_units
from jaxlqr.systems._state_space import StateSpace

COSTS = {"h2": h2_cost, "hinf": hinf_cost}


@compiled(static=("objective",))
def values(
    objective: str,
    controller_class: Any,
    like: Any,
    plants: GeneralizedPlant,
    weights: Array,
    x: Array,
    shift: Array,
) -> tuple[Array, Array]:
    """The logarithm of the objective [s] and its gradient [s, d] at the flat parameters ``x`` [s, d].

    ``objective`` is ``"h2"``, the weighted mean over the plants, ``"hinf"``, the largest of them, or ``"shifted"``, the
    size of the Gramians with all poles moved by ``shift`` [s].
    """
    one = _one(objective, controller_class, like, plants, weights)
    return jax.vmap(jax.value_and_grad(one))(x, shift)


@compiled()
def products(
    controller_class: Any, like: Any, plants: GeneralizedPlant, weights: Array, x: Array, vector: Array
) -> Array:
    """The Hessians of the logarithm of the H2 objective at ``x`` [s, d], applied to ``vector`` [s, d]."""
    one = _one("h2", controller_class, like, plants, weights)
    slope = jax.grad(lambda flat: one(flat, jnp.zeros((), flat.dtype)))
    return jax.vmap(lambda flat, v: jax.jvp(slope, (flat,), (v,))[1])(x, vector)


@compiled()
def abscissas(controller_class: Any, like: Any, plants: GeneralizedPlant, x: Array) -> Array:
    """The largest real part of all poles of all loops [s]; in discrete time the logarithm of the spectral radius."""
    unravel = ravel_pytree(like)[1]

    def one(flat: Array) -> Array:
        return jnp.max(jax.vmap(lambda plant: _abscissa(closed_loop(controller_class(unravel(flat)), plant)))(plants))

    return jax.vmap(one)(x)


@compiled()
def costs(objective: str, controller_class: Any, params: Any, plants: GeneralizedPlant) -> Array:
    """The cost of each plant [M]."""
    controller = controller_class(params)
    return jax.vmap(lambda plant: COSTS[objective](controller, plant))(plants)


def _abscissa(loop: StateSpace) -> Array:
    finite = jnp.all(jnp.isfinite(loop.A))
    poles = jnp.linalg.eigvals(jnp.where(finite, loop.A, 0))
    rate = jnp.log(jnp.max(jnp.abs(poles))) if loop.is_discrete else jnp.max(poles.real)
    return jnp.where(finite, rate, jnp.inf)


def _one(objective: str, controller_class: Any, like: Any, plants: GeneralizedPlant, weights: Array) -> Any:
    unravel = ravel_pytree(like)[1]

    def one(flat: Array, shift: Array) -> Array:
        controller = controller_class(unravel(flat))
        if objective == "shifted":
            sizes = jax.vmap(lambda plant: _shifted_size(closed_loop(controller, plant), plant, shift))(plants)
            return jnp.log(jnp.sum(sizes))
        found = jax.vmap(lambda plant: COSTS[objective](controller, plant))(plants)
        return jnp.log(jnp.max(found) if objective == "hinf" else jnp.sum(weights * found))

    return one


def _shifted_size(loop: StateSpace, plant: GeneralizedPlant, shift: Array) -> Array:
    """The trace of the Gramian of the loop, all of whose states are disturbed and penalised, with its poles moved.

    The states are in the units in which the plant is balanced.
    """
    units = lax.stop_gradient(balanced_units(plant.actuated))
    d = jnp.concatenate([units, jnp.ones((len(loop.A) - len(units),), loop.A.dtype)])[:, None]
    a, eye = loop.A * d.T / d, jnp.eye(len(loop.A), dtype=loop.A.dtype)
    if loop.is_discrete:
        return gramian_trace(a * jnp.exp(-shift), eye, eye)
    return continuous_gramian_trace(a - shift * eye, eye, eye)
