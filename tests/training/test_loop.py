"""The compiled loop: determinism, chunks, batches, optimisers, history, tracing, the progress bar."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlqr
from jaxlqr import SolveStatus, ZerothOrderOracle, maml_gradient, policy_gradient
from jaxlqr.io import progress as progress_module
from jaxlqr.training import Recording, loop, record_for
from tests.references import relative_error
from tests.training.setting import ORIGIN, POINTS, START, STEP, TASKS, quartic, train, train_quartic

ORACLE = ZerothOrderOracle(num_samples=6, radius=0.01)
KEY = jax.random.key(9)


def assert_same(left, right):
    np.testing.assert_array_equal(left.params, right.params)
    assert left.history.keys() == right.history.keys()
    for name in left.history:
        np.testing.assert_array_equal(left.history[name], right.history[name], err_msg=name)


def test_loop_is_gradient_descent_written_out():
    result = train()
    params = START
    gradient = jax.jit(lambda p: maml_gradient(jaxlqr.cost, p, TASKS, inner_step_size=1e-4))
    costs = jax.jit(jax.vmap(jaxlqr.cost, (None, 0)))
    best = jax.jit(jax.vmap(jaxlqr.optimal_cost))(TASKS)
    radii = jax.jit(jax.vmap(jaxlqr.spectral_radius, (None, 0)))
    for step in range(13):
        direction = gradient(params)
        rows = {name: rows[step] for name, rows in result.history.items()}
        # Twelve contracting steps amplify no rounding.
        assert relative_error(rows["cost"], costs(params, TASKS)) < 1e-11
        assert relative_error(rows["loss"], costs(params, TASKS)) < 1e-11
        np.testing.assert_allclose(rows["gap"], costs(params, TASKS) - best, rtol=1e-9, atol=1e-12)
        assert relative_error(rows["spectral_radius"], radii(params, TASKS)) < 1e-11
        assert relative_error(rows["gradient_norm"], jnp.linalg.norm(direction)) < 1e-10
        if step < 12:
            params = params - STEP * direction
    assert relative_error(result.params, params) < 1e-11
    assert result.status == SolveStatus.COMPLETED
    assert result.check() is result


def test_history_has_one_row_for_each_iterate_and_one_column_for_each_task():
    history = train().history
    for name in ("loss", "cost", "gap", "spectral_radius"):
        assert history[name].shape == (13, 3), name
    for name in ("gradient_norm", "accepted_step", "failed_queries"):
        assert history[name].shape == (13,), name
    assert np.isnan(history["accepted_step"][0])
    np.testing.assert_array_equal(history["accepted_step"][1:], 1)
    assert bool(jnp.all(history["gap"][-1] < history["gap"][0]))


def test_same_key_same_result_another_key_another():
    first, again, other = (train_quartic(oracle=ORACLE, key=key) for key in (KEY, KEY, jax.random.key(10)))
    assert_same(first, again)
    assert float(jnp.max(jnp.abs(first.params - other.params))) > 1e-6


@pytest.mark.parametrize("every", [1, 100])
def test_result_does_not_depend_on_the_chunk_size(every):
    # 1e-12: XLA may unroll a loop of another length differently.
    expected, found = (train_quartic(oracle=ORACLE, key=KEY, every=size) for size in (5, every))
    assert relative_error(found.params, expected.params) < 1e-12
    for name, rows in expected.history.items():
        assert found.history[name].shape == rows.shape
        np.testing.assert_allclose(found.history[name], rows, rtol=1e-10, atol=1e-12, err_msg=name)


def test_batched_runs_equal_single_runs():
    keys = jax.random.split(KEY, 2)
    starts = jnp.stack([ORIGIN, ORIGIN + 0.05])
    tasks = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), POINTS)
    together = train_quartic(params=starts, tasks=tasks, key=keys, oracle=ORACLE, batched=True)
    assert together.history["loss"].shape == (2, 13, 3)
    assert together.status.shape == (2,)
    for run in range(2):
        lane = jax.tree.map(lambda leaf, run=run: leaf[run], tasks)
        alone = train_quartic(params=starts[run], tasks=lane, key=keys[run], oracle=ORACLE)
        # Other kernels for batches: rounding, times 1 / radius in the oracle, over 12 steps.
        assert relative_error(together.params[run], alone.params) < 1e-9
        for name, rows in alone.history.items():
            np.testing.assert_allclose(together.history[name][run], rows, rtol=1e-8, atol=1e-9, err_msg=name)


def test_batched_runs_may_have_their_own_step_sizes():
    tasks = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), POINTS)
    steps = jnp.array([0.02, 0.005])
    together = train_quartic(params=jnp.stack([ORIGIN] * 2), tasks=tasks, outer_step_size=steps, batched=True)
    for run in range(2):
        assert relative_error(together.params[run], train_quartic(outer_step_size=float(steps[run])).params) < 1e-10


@pytest.mark.parametrize("optimizer", [optax.adam(1e-2), optax.sgd(1e-3, momentum=0.9)], ids=["adam", "momentum"])
def test_any_optax_optimizer(optimizer):
    result = train_quartic(optimizer=optimizer, num_steps=6)
    state, params = optimizer.init(ORIGIN), ORIGIN
    gradient = jax.jit(lambda p: maml_gradient(quartic, p, POINTS, inner_step_size=0.01))
    for _ in range(6):
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    assert relative_error(result.params, params) < 1e-10
    assert jnp.sum(result.history["loss"][-1]) < jnp.sum(result.history["loss"][0])


def test_a_step_size_beside_an_optimizer_is_a_traced_factor():
    adam = optax.adam(1.0)
    loss = Counted()
    arguments = {"loss": loss, "params": ORIGIN, "tasks": POINTS, "num_steps": 6}
    found = train(**arguments, optimizer=adam, outer_step_size=0.05)
    expected = train(**arguments, optimizer=optax.adam(0.05))
    assert relative_error(found.params, expected.params) < 1e-13  # rounding
    before = loss.traces
    train(**arguments, optimizer=adam, outer_step_size=0.02)
    assert loss.traces == before


class Counted:
    """A loss that counts how often Python traces it; hashable by identity."""

    def __init__(self):
        self.traces = 0

    def __call__(self, params, task):
        self.traces += 1
        return jnp.sum((params - task) ** 2) + jnp.sum(params**4)


def test_no_retrace_in_the_loop_or_on_a_second_call_with_other_numbers():
    loss = Counted()
    arguments = {"loss": loss, "params": jnp.zeros(2), "tasks": jnp.ones((3, 2)), "every": 4}
    train(**arguments, num_steps=3, oracle=ZerothOrderOracle(num_samples=4, radius=0.1))
    first = loss.traces
    assert first > 0
    # More steps in more chunks with a remainder, other step sizes, key and radius: nothing new.
    oracle = ZerothOrderOracle(num_samples=4, radius=0.2)
    options = {"outer_step_size": 1e-3, "inner_step_size": 3e-4, "key": jax.random.key(3), "oracle": oracle}
    train(**arguments, num_steps=30, **options)
    assert loss.traces == first


def test_policy_gradient_is_compiled_once_and_only_metrics_leave_the_device(monkeypatch):
    loss, fetched = Counted(), []
    original = loop.to_host
    monkeypatch.setattr(loop, "to_host", lambda array: fetched.append(array.shape) or original(array))
    arguments = {"loss": loss, "params": jnp.zeros(2), "task": jnp.ones(2)}
    arguments["output"] = jaxlqr.Output(every=4, progress=False)
    policy_gradient(**arguments, num_steps=3, step_size=1e-2)
    traces, before = loss.traces, loop._chunk._cache_size()
    fetched.clear()
    result = policy_gradient(**arguments, num_steps=15, step_size=2e-3)
    assert loss.traces == traces
    assert loop._chunk._cache_size() == before
    assert len(fetched) == 4 * len(result.history)  # four chunks of a row for each name
    assert {shape[0] for shape in fetched} == {4}


def test_pytree_parameters_and_a_task_without_metrics():
    def loss(params, task):
        return jnp.sum((params["a"] - task) ** 2) + (params["b"] - 1) ** 2

    start = {"a": jnp.zeros(2), "b": jnp.array(0.0)}
    tasks = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    result = train(loss=loss, params=start, tasks=tasks, num_steps=200, outer_step_size=0.1)
    np.testing.assert_allclose(result.params["a"], [2.0, 3.0], rtol=1e-9)  # the mean, reached at 0.8^200
    np.testing.assert_allclose(result.params["b"], 1.0, rtol=1e-9)
    assert "cost" not in result.history
    assert result.history["loss"].shape == (201, 2)


def test_own_metrics():
    def size(params, task):
        return {"size": jnp.sum(params**2)}

    result = train_quartic(metrics=size, num_steps=3)
    assert result.history["size"].shape == (4, 3)
    assert relative_error(result.history["size"][-1, 0], jnp.sum(result.params**2)) < 1e-14  # rounding


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Place:
    """A task of a class of its own."""

    point: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FarPlace(Place):
    """A task whose class inherits the recording."""


def loss_at_place(params, task):
    return quartic(params, task.point)


def distance(params, task, loss, value):
    assert loss is loss_at_place
    return {"distance": jnp.sum((params - task.point) ** 2), "doubled": 2 * value}


def test_what_is_registered_for_a_class_is_recorded_and_compared():
    recording = Recording(
        distance,
        reference=lambda task: {"size": jnp.sum(task.point**2)},
        compare=lambda history, reference: {"ratio": history["distance"] / reference["size"]},
    )
    record_for(Place, recording)
    record_for(Place, recording)  # the same again changes nothing
    with pytest.raises(ValueError, match="kind must be a class without a registered recording, got Place"):
        record_for(Place, Recording(distance))
    expected = np.sum((np.asarray(ORIGIN) - np.asarray(POINTS)) ** 2, axis=1)
    sizes = np.sum(np.asarray(POINTS) ** 2, axis=1)
    for tasks in (Place(POINTS), FarPlace(POINTS)):
        history = train_quartic(loss=loss_at_place, tasks=tasks, num_steps=3).history
        np.testing.assert_allclose(history["distance"][0], expected, rtol=1e-14)  # rounding
        np.testing.assert_allclose(history["ratio"][0], expected / sizes, rtol=1e-14)  # rounding
        np.testing.assert_array_equal(history["doubled"], 2 * history["loss"])
    # The same recording may be passed, and a function in its place.
    passed = train_quartic(loss=loss_at_place, tasks=Place(POINTS), num_steps=3, metrics=recording).history
    np.testing.assert_array_equal(passed["ratio"], history["ratio"])
    assert (
        "ratio"
        not in train_quartic(
            loss=loss_at_place, tasks=Place(POINTS), num_steps=3, metrics=lambda params, task: {}
        ).history
    )


@pytest.mark.parametrize("name", ["loss", "queries"])
def test_a_metric_never_replaces_a_row_of_the_loop(name):
    with pytest.raises(ValueError, match=f"metrics must have names .*got .'{name}'.; rename them"):
        train_quartic(metrics=lambda params, task: {name: jnp.sum(params)}, num_steps=3)


def test_a_reference_needs_a_comparison():
    with pytest.raises(ValueError, match="compare must be given"):
        Recording(distance, reference=lambda task: {})


def test_policy_gradient_reaches_the_optimum():
    task = jax.tree.map(lambda leaf: leaf[0], TASKS)
    result = policy_gradient(
        jaxlqr.cost, START, task, num_steps=3000, step_size=5e-3, output=jaxlqr.Output(progress=False)
    )
    assert result.history["gap"].shape == (3001,)
    # The gap is the square of the distance: at 1e-10 the gain is good to 1e-5 of its size.
    assert result.history["gap"][-1] < 1e-10
    assert relative_error(result.params, jaxlqr.optimal_gain(task)) < 1e-4


def test_policy_gradient_of_a_batch():
    tasks = jax.tree.map(lambda leaf: leaf[:2], POINTS)
    options = {"num_steps": 5, "step_size": 1e-3, "output": jaxlqr.Output(progress=False)}
    together = policy_gradient(quartic, jnp.stack([ORIGIN] * 2), tasks, batched=True, **options)
    assert together.history["loss"].shape == (2, 6)
    alone = policy_gradient(quartic, ORIGIN, jax.tree.map(lambda leaf: leaf[1], tasks), **options)
    assert relative_error(together.params[1], alone.params) < 1e-11  # rounding


@pytest.mark.parametrize("num_inner_steps", [0, 2])
def test_other_numbers_of_inner_steps(num_inner_steps):
    result = train_quartic(num_inner_steps=num_inner_steps, num_steps=1, safeguard=False)
    gradient = jax.jit(
        lambda p: maml_gradient(quartic, p, POINTS, inner_step_size=0.01, num_inner_steps=num_inner_steps)
    )
    direction = gradient(ORIGIN)
    assert relative_error(ORIGIN - result.params, 0.02 * direction) < 1e-10


def test_weights_are_used():
    weights = jnp.array([1.0, 0.0, 0.0])
    result = train_quartic(weights=weights, num_steps=1)
    direction = jax.jit(lambda p: maml_gradient(quartic, p, POINTS, inner_step_size=0.01, weights=weights))(ORIGIN)
    assert relative_error(ORIGIN - result.params, 0.02 * direction) < 1e-10


@pytest.mark.parametrize("progress", [True, False, None])
def test_progress_bar_is_written_to_stderr_when_asked_for(progress, capfd):
    train(progress=progress)
    captured = capfd.readouterr()
    assert captured.out == ""
    if progress:
        assert "12/12" in captured.err
        assert "step/s" in captured.err
    else:  # None: not a terminal
        assert captured.err == ""


def test_a_log_gets_lines_from_time_to_time(monkeypatch, capfd):
    monkeypatch.setattr(progress_module, "INTERVAL", 0.0)
    train(progress=None)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("step")] == [
        "step 0 of 12",
        "step 4 of 12",
        "step 9 of 12",
        "step 12 of 12",
    ]
