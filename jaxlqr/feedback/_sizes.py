"""What a class of controllers takes from the plant that it is for."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxlqr.feedback._plant import GeneralizedPlant
from jaxlqr.systems._state_space import StateSpace


@dataclass(frozen=True)
class Sizes:
    """Numbers of controls m and measurements p, and the sampling time, None in continuous time.

    Attributes:
        num_controls: m.
        num_measurements: p.
        dt: the sampling time, a number.
    """

    num_controls: int
    num_measurements: int
    dt: float | None

    def system(self, a: Array, b: Array, c: Array, d: Array) -> StateSpace:
        """A controller with these matrices in the time of the plant."""
        return StateSpace(a, b, c, d, None if self.dt is None else jnp.asarray(self.dt, a.dtype))


def sizes_of(plant: Any) -> Sizes:
    """The sizes of a plant or of a stack of them.

    Raises:
        ValueError: for what is no plant, a traced sampling time, and a stack with several sampling times.
    """
    if not isinstance(plant, GeneralizedPlant):
        raise ValueError(
            f"plant must be a GeneralizedPlant, got {type(plant).__name__}; make one with feedback.lqg_plant or "
            "feedback.generalized_plant."
        )
    dt = None
    if plant.dt is not None:
        if isinstance(plant.dt, Tracer):
            raise ValueError("plant must have a known sampling time, got a traced one; make the class outside jit.")
        times = np.unique(np.asarray(plant.dt))
        if len(times) > 1:
            raise ValueError(
                f"plant must have one sampling time, got {times.tolist()}; make one class for each of them."
            )
        dt = float(times[0])
    return Sizes(plant.num_controls, plant.num_measurements, dt)
