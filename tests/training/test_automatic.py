"""Step sizes chosen by the curvature: against dense Hessians, and in the learners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import ZerothOrderOracle
from jaxlqr.training import automatic_steps
from tests.training.setting import ORIGIN, POINTS, START, TASKS, quartic


def largest_eigenvalue(params, tasks):
    hessians = jax.jit(jax.vmap(jax.hessian(jaxlqr.cost), (None, 0)))(params, tasks)
    size = params.size
    return np.abs(np.linalg.eigvalsh(hessians.reshape(-1, size, size))).max()


def test_steps_are_fractions_of_the_largest_eigenvalue():
    largest = largest_eigenvalue(START, TASKS)
    exact = automatic_steps(jaxlqr.cost, START, TASKS)
    sampled = automatic_steps(jaxlqr.cost, START, TASKS, oracle=ZerothOrderOracle(num_samples=5, radius=0.1))
    # A power iteration of a hundred steps, whose gap is not known.
    np.testing.assert_allclose([exact.inner, exact.outer], [0.1 / largest, 1 / largest], rtol=1e-3)
    np.testing.assert_allclose(sampled.outer, exact.outer / (1 + START.size / 5), rtol=1e-12)
    assert sampled.inner == exact.inner


def test_the_learners_take_them():
    steps = automatic_steps(quartic, ORIGIN, POINTS)
    chosen = jaxlqr.meta_train(
        quartic,
        ORIGIN,
        POINTS,
        num_steps=5,
        objective=jaxlqr.Maml(inner_step_size="auto"),
        outer_step_size="auto",
        output=jaxlqr.Output(progress=False),
    )
    given = jaxlqr.meta_train(
        quartic,
        ORIGIN,
        POINTS,
        num_steps=5,
        objective=jaxlqr.Maml(inner_step_size=steps.inner),
        outer_step_size=steps.outer,
        output=jaxlqr.Output(progress=False),
    )
    np.testing.assert_array_equal(chosen.params, given.params)
    assert jnp.sum(chosen.history["loss"][-1]) < jnp.sum(chosen.history["loss"][0])


def test_each_run_of_a_batch_has_its_own():
    tasks = jax.tree.map(lambda leaf: leaf[:2], TASKS)
    starts = jnp.stack([START, 1.02 * START])
    together = jaxlqr.policy_gradient(jaxlqr.cost, starts, tasks, num_steps=3, step_size="auto", batched=True)
    for run in range(2):
        task = jax.tree.map(lambda leaf, run=run: leaf[run], tasks)
        alone = jaxlqr.policy_gradient(jaxlqr.cost, starts[run], task, num_steps=3, step_size="auto")
        np.testing.assert_allclose(together.params[run], alone.params, rtol=1e-9)


def test_a_flat_loss_has_no_step():
    with pytest.raises(ValueError, match=r"no step size can be chosen.* give the inner and the outer step size"):
        jaxlqr.meta_train(
            flat,
            ORIGIN,
            POINTS,
            num_steps=2,
            objective=jaxlqr.Maml(inner_step_size="auto"),
            outer_step_size="auto",
            output=jaxlqr.Output(progress=False),
        )


def flat(params, _):
    return jnp.sum(params)
