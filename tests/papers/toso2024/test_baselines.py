"""Erratum T10: what a sceptic would run beside MAML-LQR."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxlqr
from jaxlqr.families import boeing, boeing_initial_gain, perturb
from jaxlqr.papers.toso2024 import fair


def test_policy_gradient_does_as_well_as_maml():
    """Exact derivatives, the published step and level: the same curve with an inner step of zero, run beside it."""
    tasks = perturb(jax.random.key(0), boeing(), 10, fair.LEVEL)
    result = jaxlqr.meta_train(
        jaxlqr.cost,
        jnp.broadcast_to(boeing_initial_gain(), (2, 2, 4)),
        jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, *leaf.shape)), tasks),
        num_steps=200,
        objective=jaxlqr.Maml(inner_step_size=jnp.array([fair.STEP, 0.0])),
        outer_step_size=fair.STEP,
        batched=True,
        output=jaxlqr.Output(metrics=fair.nothing, progress=False),
    )
    least = np.asarray(jax.vmap(jaxlqr.optimal_cost)(tasks))
    maml, plain = np.mean(np.asarray(result.history["loss"]) - least, axis=2)  # [iterations + 1] each
    assert maml[0] == plain[0] > 50
    for n in (50, 100, 200):
        assert plain[n] < 1.05 * maml[n], n
    # And both are far from what the average task gives to whoever has the models.
    average = jaxlqr.optimal_gain(jax.tree.map(lambda leaf: leaf.mean(0), tasks))
    untrained = np.mean(jax.vmap(jaxlqr.cost, (None, 0))(average, tasks) - least)
    assert 0 < untrained < 0.01 * min(maml[-1], plain[-1])
