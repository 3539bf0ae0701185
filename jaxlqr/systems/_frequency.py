"""The frequency response, for many frequencies at once in blocks of bounded memory."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Complex

from jaxlqr.matrix_equations.scaling import similarity
from jaxlqr.systems._state_space import StateSpace, check_system

# Entries of complex matrices that are factored at once: some 16 MB.
_BLOCK = 2**20


def frequency_response(system: StateSpace, omega: ArrayLike) -> Complex[Array, "frequencies p m"]:
    r"""The transfer matrix at real frequencies, complex [len(omega), p, m].

    .. math:: G(\omega) = C (s I - A)^{-1} B + D, \qquad s = j \omega \;\text{ or }\; s = e^{j \omega\, dt} .

    Arguments:
        system: a :class:`StateSpace`.
        omega: frequencies [k] in radians per unit of time, also in discrete time.

    Returns:
        The responses, differentiable in the system and in ``omega``, to any order and in both modes. Not finite at a
        frequency that is a pole. One factorisation a frequency; memory is bounded by blocks of frequencies.

    Raises:
        ValueError: unless ``omega`` has one axis.

    >>> low_pass = StateSpace(*map(jnp.asarray, ([[-1.0]], [[1.0]], [[1.0]], [[0.0]])))
    >>> frequency_response(low_pass, jnp.array([0.0, 1.0])).ravel().tolist()
    [(1+0j), (0.5-0.5j)]
    """
    check_system(system)
    frequencies = jnp.asarray(omega, system.A.dtype)
    if frequencies.ndim != 1:
        raise ValueError(
            f"omega must be frequencies [k], got shape {frequencies.shape}; write jnp.array([omega]) for one, and "
            "jax.vmap for several sets."
        )
    return _response(system, frequencies)


@jax.jit
def _response(system: StateSpace, omega: Array) -> Array:
    dtype = np.result_type(omega.dtype, np.complex64)
    n = system.num_states
    if not n or not omega.size:
        return jnp.broadcast_to(system.D.astype(dtype), (omega.size, *system.D.shape))
    # In balanced units of the states, powers of two, the pivots do not depend on the user's units.
    size = jnp.max(jnp.abs(omega)) if system.dt is None else jnp.ones((), omega.dtype)
    scale = similarity(lax.stop_gradient(system.A), lax.stop_gradient(size))[:, None]
    a, b, c, d = (
        matrix.astype(dtype) for matrix in (system.A * scale.T / scale, system.B / scale, system.C * scale.T, system.D)
    )
    eye = jnp.eye(n, dtype=dtype)

    def at(frequency: Array) -> Array:
        if system.dt is None:
            point = lax.complex(jnp.zeros_like(frequency), frequency)
        else:
            point = lax.complex(jnp.cos(frequency * system.dt), jnp.sin(frequency * system.dt))
        solved = jnp.linalg.solve(point * eye - a, b)
        return jnp.matmul(c, solved, precision=lax.Precision.HIGHEST) + d

    block = max(1, min(omega.size, _BLOCK // (n * (n + system.num_inputs))))
    return jax.vmap(at)(omega) if block == omega.size else lax.map(at, omega, batch_size=block)
