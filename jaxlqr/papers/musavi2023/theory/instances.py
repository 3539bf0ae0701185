"""Random task sets with common dynamics, and gains that stabilise them: what the inequalities are evaluated on."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.iterations.bisection import bisect
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask

# Largest spectral radius of a drawn gain.
_WITHIN = 0.97
_NUM_TASKS = 3
# How far short of the boundary a ray ends, relative to its length.
_CLOSENESS = 1e-5


def random_instances(
    seed: int, num_states: int, num_inputs: int, num_instances: int, controllable: float = 0.1
) -> tuple[Array, LQRTask]:
    """Gains [instances, m, n], not optimal, and stacks of tasks [instances, tasks, ...] that each of them stabilises.

    The tasks of an instance share A, of spectral radius 0.5 to 1.3, B and Sigma0; Q, R and Sigma0 are definite. The
    least singular value of [B, AB, ...] is at least ``controllable``: where it is much smaller, the radii of the lemmas
    fall below rounding.

    >>> K, tasks = random_instances(0, 2, 1, 4)
    >>> K.shape, tasks.Q.shape
    ((4, 1, 2), (4, 3, 2, 2))
    """
    rng = np.random.default_rng(seed)
    count, n, m = num_instances, num_states, num_inputs
    A, B = (rng.standard_normal((4 * count + 60, 1, n, width)) for width in (n, m))  # more than are needed
    A *= rng.uniform(0.5, 1.3, (len(A), 1, 1, 1)) / np.abs(np.linalg.eigvals(A)).max(-1)[..., None, None]
    reached = np.concatenate([np.linalg.matrix_power(A, power) @ B for power in range(n)], axis=-1)
    kept = np.flatnonzero(np.linalg.svd(reached, compute_uv=False)[:, 0, -1] >= controllable)[:count]
    A, B = A[kept], B[kept]
    Q, R = _definite(rng, count, _NUM_TASKS, n, n), _definite(rng, count, _NUM_TASKS, m, m)
    Sigma0 = _definite(rng, count, 1, n, n)
    parts = (A, B, Q, R, Sigma0)
    tasks = LQRTask(*(jnp.asarray(np.broadcast_to(x, (count, _NUM_TASKS, *x.shape[2:]))) for x in parts))
    optimal = np.asarray(_optimal_gains(jax.tree.map(lambda leaf: leaf[:, 0], tasks)))
    direction = rng.standard_normal(optimal.shape)
    # The largest step along a random direction, among its halvings, that keeps away from the boundary.
    trials = optimal[:, None] + 0.5 ** np.arange(10.0)[:, None, None] * direction[:, None]
    radius = np.abs(np.linalg.eigvals(A - B @ trials)).max(-1)
    return jnp.asarray(trials[np.arange(count), np.argmax(radius < _WITHIN, axis=1)]), tasks


def near_the_boundary(K: Array, tasks: LQRTask, directions: Array) -> Array:
    """Gains [instances, moves, m, n] that still stabilise, on the rays from K [instances, m, n] along the directions
    [moves, m, n]: short of where the first eigenvalue leaves the unit disk, by 1e-5 of that length.

    A ray that leaves it nowhere within a length of 1000 ends there.

    >>> K, tasks = random_instances(0, 1, 1, 1)
    >>> edge = near_the_boundary(K, tasks, jnp.ones((1, 1, 1)))
    >>> print(f"{abs((tasks.A[0, 0] - tasks.B[0, 0] @ edge[0, 0]).item()):.3f}")
    1.000
    """
    A, B, centre, rays = (np.asarray(x) for x in (tasks.A[:, :1], tasks.B[:, :1], K[:, None], directions[None]))

    def stable(length: np.ndarray) -> np.ndarray:
        gains = centre + length[..., None, None] * rays
        return np.abs(np.linalg.eigvals(A - B @ gains)).max(-1) < 1

    shape = (centre.shape[0], rays.shape[1])
    low, high = np.zeros(shape), np.full(shape, 1e3)
    searching = np.ones(shape, bool)
    for length in np.geomspace(1e-4, 1e3, 141):  # the first crossing, to within a step of this grid
        inside = stable(np.full(shape, length))
        high = np.where(searching & ~inside, length, high)
        searching &= inside
        low = np.where(searching, length, low)
    reach = np.asarray(_reach(*map(jnp.asarray, (A, B, centre, rays, low, high))))
    return jnp.asarray(centre + ((1 - _CLOSENESS) * reach)[..., None, None] * rays)


@jax.jit
def _reach(A: Array, B: Array, centre: Array, rays: Array, low: Array, high: Array) -> Array:
    """The lengths [instances, moves] between ``low`` and ``high`` at which the closed loops cease to be stable."""

    def stable(length: Array) -> Array:
        return jnp.abs(jnp.linalg.eigvals(A - B @ (centre + length[..., None, None] * rays))).max(-1) < 1

    return bisect(stable, low, high, num_steps=60)[0]


def _definite(rng: np.random.Generator, *shape: int) -> np.ndarray:
    root = rng.standard_normal(shape)
    return root @ np.swapaxes(root, -1, -2) / shape[-1] + 0.3 * np.eye(shape[-1])


_optimal_gains = jax.jit(jax.vmap(optimal_gain))
