"""The one way in which a system says that it could not be formed: entries that are not finite, and a status."""

import enum
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.status import check_lanes


class SystemStatus(enum.IntEnum):
    """Whether a system could be formed.

    Attributes:
        FINITE: all entries are finite.
        NOT_FINITE: an algebraic loop is singular, two sampling times differ inside ``jit``, or an entry overflowed.
    """

    FINITE = 0
    NOT_FINITE = 1


_ADVICE = {
    SystemStatus.NOT_FINITE: "an entry is NaN or infinite. In a connection an algebraic loop is singular (I - D1 D2 "
    "has no inverse), or the sampling times differ; in sampling exp(A dt) overflows. Change the feedthrough, dt or "
    "the matrices."
}


def finite_status(*arrays: Array) -> Array:
    """A :class:`SystemStatus` for each system of a stack, from the arrays of the stack."""
    good = jnp.asarray(True)
    for array in arrays:
        good = good & jnp.all(jnp.isfinite(array), axis=(-2, -1))
    return jnp.where(good, int(SystemStatus.FINITE), int(SystemStatus.NOT_FINITE)).astype(jnp.int32)


def check_finite(status: Any) -> None:
    """Raise ``RuntimeError`` unless every status is FINITE."""
    check_lanes(status, _ADVICE, "systems")
