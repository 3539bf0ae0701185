"""The page docs/ecosystem.md, block by block, and what it says of optax, equinox and flax."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlqr
from tests.training.setting import ORIGIN, POINTS, quartic, train, train_quartic

PAGE = Path(__file__).parents[1] / "docs" / "ecosystem.md"


@pytest.fixture(scope="module")
def page():
    """The names that the blocks of the page leave behind."""
    for package in ("control", "equinox", "flax", "pandas"):
        pytest.importorskip(package, reason=f"docs/ecosystem.md needs {package}; pip install 'jaxlqr[test]'")
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(block, names)
    return names


def test_the_loop_of_control_is_ours(page):
    radius = float(jaxlqr.spectral_radius(page["K"], page["task"]))
    assert abs(page["closed"].poles()).max() == pytest.approx(radius, rel=1e-9)


def test_the_gradient_through_the_hold_is_that_of_differences(page):
    cost, step = jax.jit(page["cost_of"]), 1e-6
    for index, exact in enumerate(jax.grad(page["cost_of"], argnums=(0, 1))(1.0, 0.05)):
        move = step * np.eye(2)[index]
        slope = (cost(1.0 + move[0], 0.05 + move[1]) - cost(1.0 - move[0], 0.05 - move[1])) / (2 * step)
        assert float(exact) == pytest.approx(float(slope), rel=1e-6)  # step^2, and rounding over step


def test_a_network_of_equinox_learns_through_the_cost(page):
    values = page["values"]
    start = float(jnp.mean(jax.vmap(jaxlqr.cost, (None, 0))(1.2 * page["K"], page["tasks"])))
    best = float(jnp.mean(jax.vmap(jaxlqr.optimal_cost)(page["tasks"])))
    assert values[0] == pytest.approx(start, rel=1e-6)  # float32 in the network
    assert values[-1] - best < 0.2 * (values[0] - best)
    assert np.all(np.asarray(page["trained"].status) == jaxlqr.SolveStatus.COMPLETED)
    assert "gap" not in page["trained"].history  # the parameters are no gain
    losses = np.mean(page["trained"].history["loss"], axis=1)
    assert losses[-1] < losses[0]


def test_a_policy_of_flax_learns_through_the_cost(page):
    costs = page["costs"]
    best = float(jnp.mean(jax.vmap(jaxlqr.optimal_cost)(page["tasks"])))
    assert costs[-1] - best < 0.2 * (costs[0] - best)
    np.testing.assert_allclose(page["policy"](jnp.ones(2)), -page["policy"].gain[...] @ jnp.ones(2))


def test_public_functions_under_filter_jit():
    eqx = pytest.importorskip("equinox", reason="pip install 'jaxlqr[test]'")
    task = jaxlqr.make_task([[1.05, 0.2], [0.0, 0.9]], [[0.3], [1.0]])
    K = jnp.array([[0.5, 0.5]])
    oracle = jaxlqr.ZerothOrderOracle(num_samples=4, radius=1e-2)
    tasks = jaxlqr.stack_tasks([task, task])

    def everything(K, task, tasks, oracle):
        return (
            jaxlqr.cost(K, task),
            jax.grad(jaxlqr.cost)(K, task),
            jaxlqr.optimal_gain(task),
            jaxlqr.spectral_radius(K, task),
            jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-3),
            jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-3, oracle=oracle, key=jax.random.key(0)),
            jaxlqr.discrete_are_result(task.A, task.B, task.Q, task.R),
        )

    compiled, plain = eqx.filter_jit(everything)(K, task, tasks, oracle), everything(K, task, tasks, oracle)
    for left, right in zip(jax.tree.leaves(compiled), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-14)  # fused otherwise, two-point differences of 1e-2


SCHEDULE = optax.warmup_cosine_decay_schedule(0.0, 0.05, 3, 12)
OPTIMISERS = {
    "sgd": optax.sgd(0.02),
    "sgd with momentum": optax.sgd(0.02, momentum=0.9),
    "nesterov": optax.sgd(0.02, momentum=0.5, nesterov=True),
    "adam": optax.adam(0.05),
    "adamw": optax.adamw(0.05, weight_decay=1e-3),
    "rmsprop": optax.rmsprop(0.02),
    "lion": optax.lion(0.02),
    "schedule": optax.sgd(SCHEDULE),
    "piecewise": optax.adam(optax.piecewise_constant_schedule(0.1, {6: 0.1})),
    "joined": optax.sgd(
        optax.join_schedules([optax.constant_schedule(0.01), optax.cosine_decay_schedule(0.03, 6)], [5])
    ),
    "clip": optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)),
    "chain": optax.chain(optax.clip(1.0), optax.scale_by_adam(), optax.scale_by_schedule(lambda n: -0.1 / (1 + n))),
    "accumulation": optax.MultiSteps(optax.sgd(0.05), every_k_schedule=2).gradient_transformation(),
    "injected": optax.inject_hyperparams(optax.adam)(learning_rate=SCHEDULE),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_any_optimiser_of_optax_descends_and_is_its_own_loop(name):
    optimizer = OPTIMISERS[name]
    result = train_quartic(optimizer=optimizer)
    result.check()
    loss = np.mean(result.history["loss"], axis=1)
    assert loss[-1] < loss[0]
    assert np.all(np.asarray(result.history["accepted_step"][1:]) == 1)  # so that the loop below is the same
    np.testing.assert_allclose(result.params, written_out(optimizer), rtol=1e-12)  # rounding, in twelve steps


def written_out(optimizer):
    gradient = jax.jit(lambda p: jaxlqr.maml_gradient(quartic, p, POINTS, inner_step_size=0.01))
    params, state = ORIGIN, optimizer.init(ORIGIN)
    for _ in range(12):
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_an_optimiser_on_a_gain_stays_stabilising():
    result = train(
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.exponential_decay(0.3, 3, 0.5)))
    )
    result.check()
    assert np.all(np.asarray(result.history["spectral_radius"]) < 1)
    assert np.mean(result.history["gap"][-1]) < 0.5 * np.mean(result.history["gap"][0])
