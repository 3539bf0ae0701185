"""Attacks on the bounds of toso2024: random task sets, and gradient ascent on measured over bound from the worst.

The bounds, the tasks and the optima they contain are differentiable, so a bound is attacked with this library itself.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.compiled import compiled
from jaxlqr.papers.checks import Form
from jaxlqr.papers.toso2024.theory.instances import Parameters, draw
from jaxlqr.papers.toso2024.theory.instances import instance as instance
from jaxlqr.papers.toso2024.theory.margins import NAMES, margins

if TYPE_CHECKING:
    import optax


class Inequalities(NamedTuple):
    """The target of an attack; hashable, so that it can be a static argument.

    Attributes:
        names: of the inequalities.
        draw: (key, num_states, num_inputs) -> unconstrained numbers of two tasks, a dictionary of arrays.
        measure: (numbers, form) -> measured over bound by name, scalars; NaN where an inequality does not apply.
    """

    names: tuple[str, ...]
    draw: Callable[[Array, int, int], Parameters]
    measure: Callable[[Parameters, Form], dict[str, Array]]


def _at_one_gain(theta: Parameters, form: Form) -> dict[str, Array]:
    return margins(*instance(theta), form=form)


AT_ONE_GAIN = Inequalities(NAMES, draw, _at_one_gain)
"""Lemmas 3 to 6, and one step of Theorems 1 and 3."""


@compiled(static=("num_draws", "num_states", "num_inputs"))
def random_margins(key: Array, num_draws: int, form: Form, num_states: int, num_inputs: int) -> dict[str, Array]:
    """:func:`margins` of ``num_draws`` random pairs of tasks, each [num_draws]; NaN where the gain does not stabilise.

    >>> with jax.enable_x64(True):
    ...     ratios = random_margins(jax.random.key(0), 100, "printed", 1, 1)
    ...     largest = float(jnp.nanmax(ratios["h_G"]))
    >>> largest > 1.9  # the factor 2 that Lemma 5 lacks
    True
    """

    def one(k: Array) -> dict[str, Array]:
        return _at_one_gain(draw(k, num_states, num_inputs), form)

    return lax.map(one, jax.random.split(key, num_draws), batch_size=min(num_draws, 256))


class Attack(NamedTuple):
    """The results of an attack for each inequality, in the order of its names.

    Attributes:
        random: largest ratio of the random task sets [names].
        ascent: largest ratio reached by ascent from the worst of them [names]; infinite where a bound is not
        positive.
        worst: the parameters at which it is reached, leading axis of the names; see :func:`instance`.
    """

    random: Array
    ascent: Array
    worst: Parameters


@cache
def _optimizer() -> "optax.GradientTransformation":
    import optax

    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.02))


@compiled(static=("num_states", "num_inputs", "num_draws", "num_starts", "num_steps", "inequalities"))
def attack(
    key: Array,
    form: Form,
    num_states: int,
    num_inputs: int,
    *,
    num_draws: int = 512,
    num_starts: int = 8,
    num_steps: int = 200,
    inequalities: Inequalities = AT_ONE_GAIN,
) -> Attack:
    """Search for violations of every inequality: random task sets, then Adam on log(measured / bound).

    Arguments:
        key: random key.
        form: of the bounds.
        num_states, num_inputs: sizes of the two tasks.
        num_draws: random task sets.
        num_starts: how many of the worst, for each inequality, the ascent begins at.
        num_steps: of the ascent, in the unconstrained numbers, at a rate of 0.02.
        inequalities: which.

    Use float64: some instances are ill-conditioned, and what looks like a violation in float32 need not be one.
    """
    keys = jax.random.split(key, num_draws)

    def evaluate(theta: Parameters) -> Array:
        found = inequalities.measure(theta, form)
        return jnp.stack([found[name] for name in inequalities.names])

    def make(k: Array) -> Parameters:
        return inequalities.draw(k, num_states, num_inputs)

    table = lax.map(lambda k: evaluate(make(k)), keys, batch_size=min(num_draws, 256))  # [draws, names]
    table = jnp.where(jnp.isnan(table), -1.0, table)
    # An ascent needs a slope, which an infinite ratio has not.
    starts = lax.top_k(jnp.where(jnp.isinf(table), -1.0, table).T, num_starts)[1]  # [names, starts]
    optimizer = _optimizer()

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

    indices = jnp.broadcast_to(jnp.arange(len(inequalities.names))[:, None], starts.shape)
    best, worst = jax.vmap(jax.vmap(ascend))(indices, starts)
    top = jnp.argmax(best, axis=1)
    rows = jnp.arange(len(inequalities.names))
    return Attack(jnp.max(table, axis=0), best[rows, top], jax.tree.map(lambda leaf: leaf[rows, top], worst))
