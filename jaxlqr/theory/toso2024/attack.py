"""Attacks on the bounds of toso2024: random task sets, and gradient ascent on measured over bound from the worst.

The bounds, the tasks and the optima they contain are differentiable, so a bound is attacked with this library itself.
"""

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxlqr.lqr.optimal import optimal_gain
from jaxlqr.lqr.task import LQRTask
from jaxlqr.theory.toso2024.constants import Form
from jaxlqr.theory.toso2024.margins import NAMES, margins

if TYPE_CHECKING:
    import optax

Parameters = dict[str, Array]


class Instance(NamedTuple):
    """A stack of tasks, a gain, and a direction [m, n] for Lemma 6."""

    K: Array
    tasks: LQRTask
    direction: Array


def draw(key: Array, num_states: int, num_inputs: int, num_tasks: int = 2) -> Parameters:
    """Unconstrained numbers of which :func:`instance` makes a task set; the scale of each matrix varies by e^2."""
    n, m = num_states, num_inputs
    shapes = {"A": (n, n), "B": (n, m), "Q": (n, n), "R": (m, m), "S": (n, n), "K": (m, n), "direction": (m, n)}
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    # One draw for all: a compilation of a fraction of the length.
    numbers = jax.random.normal(key, (len(shapes) + (1 + num_tasks) * sum(sizes) + 1,))
    scales, rest, level = jnp.split(numbers, [len(shapes), numbers.size - 1])
    theta: Parameters = {"log_level": -7 * jax.scipy.stats.norm.cdf(level[0])}
    ends = np.cumsum([(1 + num_tasks) * size for size in sizes])[:-1]
    for (name, shape), part, scale in zip(shapes.items(), jnp.split(rest, ends), scales, strict=True):
        part = part.reshape(1 + num_tasks, *shape)
        theta[name], theta["d" + name] = jnp.exp(scale) * part[0], part[1:]
    return theta


def instance(theta: Parameters) -> Instance:
    """The task set: definite Q, R and Sigma0, a gain near the optimum of the nominal task, tasks at the drawn level."""
    level = jnp.exp(theta["log_level"])

    def definite(name: str) -> Array:
        roots = theta[name][None] + level * theta["d" + name]
        return roots @ roots.mT + 1e-2 * jnp.eye(roots.shape[-1])[None]

    A, B = (theta[name][None] + level * theta["d" + name] for name in ("A", "B"))
    Sigma0 = jnp.broadcast_to(definite("S")[:1], A.shape)
    tasks = LQRTask(A, B, definite("Q"), definite("R"), Sigma0)
    nominal = jax.tree.map(lambda leaf: leaf[0], tasks)
    K = lax.stop_gradient(optimal_gain(nominal, method="doubling")) + 0.1 * theta["K"]
    return Instance(K, tasks, theta["direction"])


@partial(jax.jit, static_argnames=("num_draws", "form", "num_states", "num_inputs", "num_tasks"))
def random_margins(
    key: Array, num_draws: int, form: Form, num_states: int, num_inputs: int, num_tasks: int = 2
) -> dict[str, Array]:
    """:func:`margins` of ``num_draws`` random task sets, each [num_draws]; NaN where the gain does not stabilise.

    >>> with jax.enable_x64(True):
    ...     ratios = random_margins(jax.random.key(0), 100, "printed", 1, 1)
    >>> bool(jnp.nanmax(ratios["h_G"]) > 1.9)  # the factor 2 that Lemma 5 lacks
    True
    """

    def one(k: Array) -> dict[str, Array]:
        return margins(*instance(draw(k, num_states, num_inputs, num_tasks)), form)

    return lax.map(one, jax.random.split(key, num_draws), batch_size=min(num_draws, 256))


class Attack(NamedTuple):
    """What an attack found for each inequality, in the order of :data:`NAMES`.

    Attributes:
        random: largest ratio of the random task sets [len(NAMES)].
        ascent: largest ratio reached by ascent from the worst of them [len(NAMES)]; infinite where a bound is not
        positive.
        worst: the parameters at which it is reached, leading axis len(NAMES); see :func:`instance`.
    """

    random: Array
    ascent: Array
    worst: Parameters


@lru_cache(maxsize=4)
def _optimizer(rate: float) -> "optax.GradientTransformation":
    import optax

    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


@partial(
    jax.jit,
    static_argnames=("form", "num_states", "num_inputs", "num_tasks", "num_draws", "num_starts", "num_steps", "rate"),
)
def attack(
    key: Array,
    form: Form,
    num_states: int,
    num_inputs: int,
    *,
    num_tasks: int = 2,
    num_draws: int = 512,
    num_starts: int = 8,
    num_steps: int = 200,
    rate: float = 0.02,
) -> Attack:
    """Search for violations of every inequality: random task sets, then Adam on log(measured / bound).

    Arguments:
        key: random key.
        form: of the bounds.
        num_states, num_inputs, num_tasks: sizes.
        num_draws: random task sets.
        num_starts: how many of the worst, for each inequality, the ascent begins at.
        num_steps, rate: of the ascent, in the unconstrained numbers of :func:`draw`.

    Use float64: some instances are ill-conditioned, and what looks like a violation in float32 need not be one.
    """
    keys = jax.random.split(key, num_draws)

    def evaluate(theta: Parameters) -> Array:
        found = margins(*instance(theta), form)
        return jnp.stack([found[name] for name in NAMES])

    def make(k: Array) -> Parameters:
        return draw(k, num_states, num_inputs, num_tasks)

    table = lax.map(lambda k: evaluate(make(k)), keys, batch_size=min(num_draws, 256))  # [draws, names]
    table = jnp.where(jnp.isnan(table), -1.0, table)
    # An ascent needs a slope, which an infinite ratio has not.
    starts = lax.top_k(jnp.where(jnp.isinf(table), -1.0, table).T, num_starts)[1]  # [names, starts]
    optimizer = _optimizer(rate)

    def ascend(index: Array, start: Array) -> tuple[Array, Parameters]:
        def objective(theta: Parameters) -> tuple[Array, Array]:
            ratio = evaluate(theta)[index]
            return jnp.log(ratio), ratio

        def step(carry, _):
            theta, state, best, worst = carry
            (value, ratio), slope = jax.value_and_grad(objective, has_aux=True)(theta)
            usable = jnp.isfinite(value)
            for leaf in jax.tree.leaves(slope):
                usable &= jnp.all(jnp.isfinite(leaf))
            better = ~jnp.isnan(ratio) & (ratio > best)
            worst = jax.tree.map(lambda new, old: jnp.where(better, new, old), theta, worst)
            slope = jax.tree.map(lambda leaf: jnp.where(usable, -leaf, 0), slope)
            updates, state = optimizer.update(slope, state, theta)
            theta = jax.tree.map(lambda x, u: x + jnp.where(usable, u, 0), theta, updates)
            return (theta, state, jnp.where(better, ratio, best), worst), None

        theta = make(keys[start])
        carry = (theta, optimizer.init(theta), jnp.asarray(-jnp.inf), theta)
        _, _, best, worst = lax.scan(step, carry, length=num_steps)[0]
        return best, worst

    indices = jnp.broadcast_to(jnp.arange(len(NAMES))[:, None], starts.shape)
    best, worst = jax.vmap(jax.vmap(ascend))(indices, starts)
    top = jnp.argmax(best, axis=1)
    rows = jnp.arange(len(NAMES))
    return Attack(jnp.max(table, axis=0), best[rows, top], jax.tree.map(lambda leaf: leaf[rows, top], worst))
