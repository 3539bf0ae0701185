"""How many samples the zeroth-order estimates need, and at which radius, beside Lemmas 8 and 9."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.lqr import RolloutCost
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask
from jaxlqr.oracles import ZerothOrderOracle
from jaxlqr.papers.checks import Form
from jaxlqr.papers.toso2024.theory import constants, num_samples, quantities, smoothing_radius
from jaxlqr.papers.toso2024.theory.quantities import gradients, hessians

MOST_SAMPLES = 4096
RADII = np.geomspace(1e-9, 0.6, 18)
RADIUS_SAMPLES, ROLLOUT = 256, RolloutCost(horizon=60, num_rollouts=1)
ORACLES: dict[str, Any] = {"exact queries": cost, "rollouts": ROLLOUT}
ESTIMATES = ("gradient", "hessian")
TOLERANCE, DELTA = 0.1, 0.05  # relative to the norm of what is estimated; probability of a larger error
FORMS: tuple[Form, ...] = ("printed", "corrected")


class Samples(NamedTuple):
    """Errors of the estimates of gradient (first) and Hessian (second), relative to their norms.

    Attributes:
        counts: numbers of samples [counts].
        by_count: errors at the radius of the theory [2, repeats, counts].
        by_radius: errors with :data:`RADIUS_SAMPLES` samples, for each of :data:`ORACLES` [oracles, 2, radii, repeats].
        radius: that radius, of the gradient and of the Hessian, corrected [2].
        predicted: by form, tolerances [tolerances] and samples for them [2, tolerances].
    """

    counts: np.ndarray
    by_count: np.ndarray
    by_radius: np.ndarray
    radius: np.ndarray
    predicted: dict[str, tuple[np.ndarray, np.ndarray]]

    def summary(self) -> dict[str, Any]:
        """Slopes over the number of samples, samples needed and predicted for the tolerance, and good radii."""
        told: dict[str, Any] = {"tolerance": TOLERANCE, "delta": DELTA, "radius": self.radius}
        late = self.counts >= 64
        for i, name in enumerate(ESTIMATES):
            errors = np.quantile(self.by_count[i], 1 - DELTA, axis=0)
            slope, intercept = np.polyfit(np.log(self.counts[late]), np.log(errors[late]), 1)
            # Extrapolated along the measured line, where no number tried is enough.
            needed = float(np.exp((np.log(TOLERANCE) - intercept) / slope))
            told[name] = {
                "slope": float(slope),
                "samples_measured": needed,
                "samples_predicted": {
                    form: float(np.exp(np.interp(np.log(TOLERANCE), np.log(levels), np.log(samples[i]))))
                    for form, (levels, samples) in self.predicted.items()
                },
                "good_radii": {oracle: _good(self.by_radius[o, i]) for o, oracle in enumerate(ORACLES)},
                "least_error": {
                    oracle: float(np.min(np.median(self.by_radius[o, i], axis=1))) for o, oracle in enumerate(ORACLES)
                },
            }
        return told


def _good(errors: np.ndarray) -> list[float]:
    """Least and largest radius at which the median error [radii, repeats] is within a tenth of the least."""
    middle = np.median(errors, axis=1)
    good = RADII[middle <= 1.1 * np.min(middle)]
    return [float(good[0]), float(good[-1])]


def study(key: Array, task: LQRTask, num_repeats: int) -> Samples:
    """Errors of the zeroth-order estimates at 0.9 times the optimal gain of ``task``."""
    K = 0.9 * optimal_gain(task)
    tasks = jax.tree.map(lambda leaf: leaf[None], task)
    exact = gradients(K, tasks)[0], hessians(K, tasks)[0]
    norms = [float(jnp.linalg.norm(x)) for x in exact]
    shape = (K.shape[0], K.shape[1])
    predicted = {}
    for form in FORMS:
        h, J = constants(K, tasks, form=form), quantities(K, tasks).J_max
        levels = np.geomspace(3e-2, 3.0, 30)
        rows = []
        for i, norm in enumerate(norms):
            radius = [smoothing_radius(h, level * norm, shape, form=form)[i] for level in levels]
            rows.append(
                [
                    num_samples(h, J, shape, r, x * norm, DELTA, form=form)[i]
                    for r, x in zip(radius, levels, strict=True)
                ]
            )
        predicted[form] = (levels, np.asarray(rows))
    h = constants(K, tasks)
    radius = np.array([float(smoothing_radius(h, TOLERANCE * norm, shape)[i]) for i, norm in enumerate(norms)])
    counts = 2 ** np.arange(2, int(np.log2(MOST_SAMPLES)) + 1)
    keys = jax.random.split(key, 1 + len(ORACLES))
    by_count = _errors_by_count(keys[0], K, task, jnp.asarray(radius), exact, num_repeats, tuple(counts.tolist()))
    by_radius = [
        _errors_by_radius(k, K, task, jnp.asarray(RADII), exact, num_repeats, loss)
        for k, loss in zip(keys[1:], ORACLES.values(), strict=True)
    ]
    return Samples(counts, np.asarray(by_count), np.asarray(by_radius), radius, predicted)


def _estimate(oracle: ZerothOrderOracle, loss: Any, K: Array, task: LQRTask, key: Array) -> tuple[Array, Array]:
    """Gradient [m, n] and Hessian [d, d]."""
    expansion = oracle.expand(loss, K, task, key)
    product = expansion.hessian_vector_product
    assert product is not None
    basis = jnp.eye(K.size, dtype=K.dtype).reshape(K.size, *K.shape)
    return expansion.gradient, jax.vmap(lambda X: product(X).ravel())(basis)


@partial(jax.jit, static_argnames=("num_repeats", "counts"))
def _errors_by_count(
    key: Array,
    K: Array,
    task: LQRTask,
    radius: Array,
    exact: tuple[Array, Array],
    num_repeats: int,
    counts: tuple[int, ...],
) -> Array:
    """[2, repeats, counts]: means over the first so many of estimates from one sample each."""

    def of(index: int, repeat_key: Array) -> Array:
        oracle = ZerothOrderOracle(num_samples=1, radius=radius[index])
        keys = jax.random.split(repeat_key, max(counts))
        samples = jax.vmap(lambda k: _estimate(oracle, cost, K, task, k)[index])(keys)
        ends = jnp.asarray(counts) - 1
        means = jnp.cumsum(samples, axis=0)[ends] / jnp.asarray(counts, K.dtype)[:, None, None]
        off = means - exact[index][None]
        return jnp.linalg.norm(off, axis=(1, 2)) / jnp.linalg.norm(exact[index])

    keys = jax.random.split(key, num_repeats)
    return jnp.stack([jax.lax.map(partial(of, index), keys, batch_size=10) for index in range(2)])


@partial(jax.jit, static_argnames=("num_repeats", "loss"))
def _errors_by_radius(
    key: Array, K: Array, task: LQRTask, radii: Array, exact: tuple[Array, Array], num_repeats: int, loss: Any
) -> Array:
    """[2, radii, repeats]."""
    keys = jax.random.split(key, num_repeats)

    def of(radius: Array) -> Array:
        oracle = ZerothOrderOracle(num_samples=RADIUS_SAMPLES, radius=radius)
        found = jax.vmap(lambda k: _estimate(oracle, loss, K, task, k))(keys)
        off = [estimate - truth[None] for estimate, truth in zip(found, exact, strict=True)]
        sizes = [jnp.linalg.norm(truth) for truth in exact]
        return jnp.stack([jnp.linalg.norm(x, axis=(1, 2)) / size for x, size in zip(off, sizes, strict=True)])

    return jnp.moveaxis(jax.lax.map(of, radii), 0, 1)
