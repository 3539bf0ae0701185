"""First parameters, and how they are made to stabilise every plant."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from jaxlqr.feedback import _objectives
from jaxlqr.feedback._descent import bfgs, start
from jaxlqr.feedback._plant import GeneralizedPlant
from jaxlqr.systems._gramians import balanced

# Rounds of the stabilisation, steps of each, and how far the shift is ahead of the slowest pole, in units of the rates
# of the plant: large at first, which moves all poles, and small at last, which moves the slowest.
_ROUNDS, _STEPS, _AHEAD, _SHRINK, _LEAST = 40, 12, 0.3, 0.75, 1e-4
# A start counts as stabilised when its slowest pole is this far inside, in units of the rates of the plant.
_INSIDE = 1e-7


def first_parameters(
    controller_class: Any, plants: GeneralizedPlant, starts: Any, num_starts: int, key: Array
) -> tuple[np.ndarray, Any]:
    """The flat parameters [s, d] of all starts, and one set of parameters in its own form."""
    dtype = plants.A.dtype
    if starts is not None:
        counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(starts)}
        if len(counts) != 1 or () in counts:
            raise ValueError(
                "starts must be parameters with one leading axis of starts; write leaf[None] for one start."
            )
        sets = [jax.tree.map(lambda leaf, i=i: leaf[i], starts) for i in range(counts.pop()[0])]
    else:
        if not hasattr(controller_class, "initial"):
            raise ValueError(
                "controller_class must have a method initial(*, key=None, scale=1.0), or starts must be given; make a "
                "class with feedback.structured(plant, function=..., start=...)."
            )
        scale = typical_gain(plants)
        keys = jax.random.split(key, num_starts)
        sizes = [scale * (0.1, 1.0, 0.3, 3.0)[i % 4] for i in range(num_starts)]
        sets = [controller_class.initial()]
        sets += [controller_class.initial(key=keys[i], scale=sizes[i]) for i in range(1, num_starts)]
    sets = [jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), one) for one in sets]
    return np.stack([np.asarray(ravel_pytree(one)[0], float) for one in sets]), sets[0]


def typical_rates(plants: GeneralizedPlant) -> float:
    """A rate between those of the poles of all plants; one in discrete time, where poles are rates for each sample."""
    if plants.is_discrete:
        return 1.0
    size = np.abs(np.linalg.eigvals(np.asarray(plants.A, float)))
    return float(size.mean()) or 1.0


# Called without jit, the loop of the balancing would be compiled anew in each call.
_balanced = jax.jit(balanced)


def typical_gain(plants: GeneralizedPlant) -> float:
    """A size of gains that move the poles by about a typical rate."""
    actuated = jax.tree.map(lambda leaf: leaf[0], plants).actuated
    system = _balanced(actuated)
    inputs = np.linalg.norm(np.asarray(system.B, float), axis=0)
    outputs = np.linalg.norm(np.asarray(system.C, float), axis=1)
    sizes = [float(np.exp(np.log(part[part > 0]).mean())) if np.any(part > 0) else 1.0 for part in (inputs, outputs)]
    return typical_rates(plants) / (sizes[0] * sizes[1])


def stabilise(
    controller_class: Any,
    like: Any,
    plants: GeneralizedPlant,
    weights: Array,
    x: np.ndarray,
    history: list[np.ndarray],
) -> np.ndarray:
    """The parameters [s, d], moved until they stabilise every plant; those that never do stay unstable."""
    dtype, unit = plants.A.dtype, typical_rates(plants)

    def slowest(x: np.ndarray) -> np.ndarray:
        return np.asarray(_objectives.abscissas(controller_class, like, plants, jnp.asarray(x, dtype)), float)

    ahead = _AHEAD * unit
    alpha = slowest(x)
    for done_rounds in range(_ROUNDS):
        history.append(alpha)
        there = alpha < -_INSIDE * unit
        # The last starts may be hopeless: half of all are enough once all had their time.
        if np.all(there) or (done_rounds >= _ROUNDS // 2 and 2 * np.sum(there) >= len(there)):
            break
        shift = np.where(there, 0.0, alpha + ahead)

        def values(
            x: np.ndarray, shift: np.ndarray = shift, there: np.ndarray = there
        ) -> tuple[np.ndarray, np.ndarray]:
            found = _objectives.values(
                "shifted", controller_class, like, plants, weights, jnp.asarray(x, dtype), jnp.asarray(shift, dtype)
            )
            # What stabilises rests.
            return np.asarray(found[0], float), np.where(there[:, None], 0, np.asarray(found[1], float))

        moved = bfgs(values, start(values, x), _STEPS, 1e-6, lambda _: False)
        now = slowest(moved.x)
        better = ~there & (now <= alpha + ahead)
        x, alpha = np.where(better[:, None], moved.x, x), np.where(better, now, alpha)
        ahead = max(ahead * _SHRINK, _LEAST * unit)
    return x
