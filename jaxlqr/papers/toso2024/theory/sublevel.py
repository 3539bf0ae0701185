"""Constants over the stabilising sub-level set, which Theorems 1 to 4 of toso2024 take their suprema over."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.compiled import compiled
from jaxlqr.iterations.bisection import bisect
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.checks import assumed
from jaxlqr.papers.toso2024.theory.constants import Constants, constants
from jaxlqr.papers.toso2024.theory.heterogeneity import gradient_heterogeneity_bound
from jaxlqr.papers.toso2024.theory.quantities import quantities


def _check_sampling(key: Any, K0: Any, tasks: Any, num_samples: Any) -> dict[str, Any]:
    check_count("num_samples", num_samples)
    checked = assumed(K0, tasks)
    return {"key": as_key(key), "K0": checked["K"], "tasks": checked["tasks"]}


@compiled(static=("num_samples",), prepare=_check_sampling)
def sample_sublevel(key: Array, K0: Array, tasks: LQRTask, num_samples: int) -> Array:
    r"""Gains [num_samples, m, n] of the sub-level set :math:`J_i(K) - J_i^* \le J_i(K_0) - J_i^*` for every
    task.

    Along random directions from ``K0`` and from points between it and the optimum of the first task: half of the gains
    lie on the boundary (to a relative 1e-3), where costs and constants are largest, the others within.

    Arguments:
        key: random key.
        K0: gain [m, n] that stabilises every task.
        tasks: stack of tasks.
        num_samples: number of gains.

    Source: toso2024, Definition 2, with the factor 1, so that ``K0`` lies on the boundary of its set.
    """
    level = quantities(K0, tasks).gap * (1 + 1e-12)

    def inside(K: Array) -> Array:
        return jnp.all(quantities(K, tasks).gap <= level)  # a NaN is outside

    def walk(carry, keys: Array):
        K = carry
        direction = jax.random.normal(keys[0], K.shape, K.dtype)
        direction = direction / jnp.linalg.norm(direction)

        first, last = jnp.zeros((), K.dtype), jnp.asarray(jnp.inf, K.dtype)
        reach, _ = bisect(lambda length: inside(K + length * direction), first, last, num_steps=40, reach=1e-3)
        edge = K + reach * direction
        within = K + jax.random.uniform(keys[1], (), K.dtype) * reach * direction
        return jnp.where(inside(within), within, K), (edge, within)

    # Hit and run: the next direction starts within the chord.
    keys = jax.random.split(key, 2 * -(-num_samples // 2)).reshape(-1, 2)
    _, (edges, within) = lax.scan(walk, K0, keys)
    return jnp.concatenate([edges, within])[:num_samples]


class Suprema(NamedTuple):
    r"""The bounds at their worst over a set of gains.

    Attributes:
        constants: the largest constants, and the smallest ``h_Delta``; scalars.
        heterogeneity: the largest :math:`f_z(\bar\epsilon)` of (5), a scalar.
    """

    constants: Constants
    heterogeneity: Array


@compiled(static=("num_samples",), prepare=_check_sampling)
def sublevel_suprema(key: Array, K0: Array, tasks: LQRTask, *, num_samples: int = 200) -> Suprema:
    r""":class:`Suprema` over ``K0`` and gains that :func:`sample_sublevel` draws from its stabilising sub-level set.

    The suprema :math:`\bar h`, :math:`\bar f_z` and infima :math:`\underline h` of the theorems from within: they
    grow with ``num_samples``. All bounds have their corrected form. There are at least two tasks.

    >>> import jaxlqr
    >>> tasks = jaxlqr.families.scalar(a=[0.9, 0.91])
    >>> K0 = jnp.array([[0.8]])
    >>> bool(sublevel_suprema(jax.random.key(0), K0, tasks, num_samples=8).constants.h_G >= constants(K0, tasks).h_G)
    True
    """
    gains = jnp.concatenate([K0[None], sample_sublevel(key, K0, tasks, num_samples)])
    spread = jnp.max(lax.map(lambda K: gradient_heterogeneity_bound(K, tasks)[0], gains, batch_size=256))
    each = lax.map(lambda K: constants(K, tasks), gains, batch_size=256)
    worst = jax.tree.map(lambda leaf: jnp.max(leaf, axis=0), each)
    return Suprema(worst._replace(h_Delta=jnp.min(each.h_Delta, axis=0)), spread)
