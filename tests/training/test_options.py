"""What a run can be given beside its steps: minibatches, a callback, a budget of cost queries, recorded parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import ZerothOrderOracle, policy_gradient
from jaxlqr.training import CheckpointError, Checkpoints
from jaxlqr.training.sharding import make_mesh, shard_tasks
from tests.references import relative_error
from tests.training.setting import ORIGIN, POINTS, quartic, train_quartic

KEY = jax.random.key(9)
ORACLE = ZerothOrderOracle(num_samples=6, radius=0.01)
# One inner step with the Hessian: 2 * 6 + 1 queries, then 2 * 6 at the adapted parameters, for each of three tasks;
# and the loss of three tasks, by which the safeguard tests a candidate.
A_LOOK, A_TEST = 3 * (13 + 12), 3


def test_a_minibatch_is_drawn_anew_at_each_step_and_its_gradient_is_unbiased():
    weights = jnp.array([0.5, 0.2, 0.3])
    options = {"num_inner_steps": 0, "inner_step_size": 0.0, "weights": weights, "minibatch_size": 2, "key": KEY}
    result = train_quartic(**options, num_steps=40, outer_step_size=1e-9, record_params=True)
    # The steps are too small to move: each gradient is one of the three that pairs of tasks give.
    gradients = jax.vmap(jax.grad(quartic), (None, 0))(ORIGIN, POINTS)
    pairs = [weights[i] * gradients[i] * 1.5 + weights[j] * gradients[j] * 1.5 for i, j in ((0, 1), (0, 2), (1, 2))]
    norms = jnp.array([jnp.linalg.norm(pair) for pair in pairs])
    seen = jnp.argmin(jnp.abs(result.history["gradient_norm"][:, None] - norms[None]), axis=1)
    np.testing.assert_allclose(result.history["gradient_norm"], norms[seen], rtol=1e-6)  # it moves by 1e-8
    assert set(np.asarray(seen).tolist()) == {0, 1, 2}
    whole = jnp.einsum("i,id->d", weights, gradients)
    assert relative_error(sum(pairs) / 3, whole) < 1e-13  # rounding
    assert result.history["loss"].shape == (41, 3)  # of every task


def test_a_minibatch_of_all_tasks_is_the_whole_family():
    # 1e-12: the tasks are summed in another order.
    assert relative_error(train_quartic(minibatch_size=3).params, train_quartic().params) < 1e-12


def test_minibatches_repeat_with_the_key_and_resume_with_the_same_bits(tmp_path):
    options = {"minibatch_size": 1, "key": KEY, "every": 4, "num_steps": 12}
    whole = train_quartic(**options)
    stopped = Checkpoints(folder=tmp_path / "steps", every=4)
    train_quartic(**(options | {"num_steps": 7}), checkpoints=stopped)
    resumed = train_quartic(**options, checkpoints=Checkpoints(folder=tmp_path / "steps", every=4, resume=True))
    jax.tree.map(np.testing.assert_array_equal, (whole.params, whole.history), (resumed.params, resumed.history))
    other = train_quartic(**(options | {"key": jax.random.key(1)}))
    assert float(jnp.max(jnp.abs(whole.params - other.params))) > 1e-4


def test_fewer_steps_than_the_checkpoint_are_refused(tmp_path):
    train_quartic(num_steps=9, checkpoints=Checkpoints(folder=tmp_path / "steps", every=4))
    with pytest.raises(CheckpointError, match=r"num_steps must be at least 9, the steps .* has taken, got 6;"):
        train_quartic(num_steps=6, checkpoints=Checkpoints(folder=tmp_path / "steps", every=4, resume=True))


@pytest.mark.parametrize("batched", [False, True], ids=["one", "batched"])
def test_the_callback_sees_each_chunk_and_may_stop_the_run(batched):
    calls = []

    def callback(step, params, rows):
        calls.append((step, params, rows))
        return step >= 9

    options = {"params": jnp.stack([ORIGIN] * 2), "tasks": jnp.stack([POINTS] * 2)} if batched else {}
    result = train_quartic(**options, num_steps=1000, batched=batched, record_params=True, callback=callback)
    axis = 1 if batched else 0
    assert [step for step, *_ in calls] == [4, 9]
    assert result.history["loss"].shape[axis] == result.history["params"].shape[axis] == 10
    for step, params, rows in calls:
        np.testing.assert_array_equal(params, result.history["params"].take(step, axis))
        np.testing.assert_array_equal(rows["loss"], result.history["loss"].take(np.arange(step - 4, step + 1), axis))
        assert isinstance(params, np.ndarray)
    np.testing.assert_array_equal(calls[-1][1], result.params)
    result.check()


def test_cost_queries_are_counted():
    history = train_quartic(oracle=ORACLE, key=KEY).history
    np.testing.assert_array_equal(history["queries"], A_LOOK + A_TEST)
    plain = {"oracle": ORACLE, "key": KEY, "num_inner_steps": 0}  # 12 queries for each task
    unguarded = train_quartic(**plain, safeguard=False).history
    np.testing.assert_array_equal(unguarded["queries"], 3 * 12)
    np.testing.assert_array_equal(train_quartic().history["queries"], 0)
    minibatch = train_quartic(**plain, minibatch_size=1, feasible=everywhere).history
    np.testing.assert_array_equal(minibatch["queries"], 12)


def everywhere(params, task):
    return jnp.asarray(True)


def test_refused_steps_are_counted_too():
    # The unit disc is feasible, and the first steps are far too long: they are halved, each trial at three queries.
    history = train_quartic(
        loss=disc, params=jnp.array([0.3, 0.2]), oracle=ORACLE, key=KEY, outer_step_size=4.0, num_inner_steps=0
    ).history
    tested = 1 - np.log2(history["accepted_step"][1:])  # 1, 1/2, 1/4, ... of the step: 1, 2, 3, ... candidates
    assert np.max(tested) > 1
    np.testing.assert_array_equal(history["queries"][1:], 3 * 12 + A_TEST * tested)


def disc(params, task):
    return jnp.where(jnp.sum(params**2) < 1, jnp.sum((params - task) ** 2), jnp.inf)


@pytest.mark.parametrize("budget", [78, 155, 156, 500])
def test_no_step_begins_that_the_budget_does_not_hold(budget):
    result = train_quartic(oracle=ORACLE, key=KEY, num_steps=100, max_queries=budget)
    rows = budget // (A_LOOK + A_TEST)
    assert result.history["queries"].shape == (rows,)
    assert int(result.history["queries"].sum()) == rows * (A_LOOK + A_TEST)
    whole = train_quartic(oracle=ORACLE, key=KEY, num_steps=rows - 1) if rows > 1 else None
    if whole is not None:
        assert relative_error(result.params, whole.params) < 1e-12  # another program: rounding


def test_a_budget_holds_for_each_of_batched_runs_and_across_a_resume(tmp_path):
    options = {"oracle": ORACLE, "key": jax.random.split(KEY, 2), "num_steps": 60, "batched": True}
    options |= {"params": jnp.stack([ORIGIN] * 2), "tasks": jnp.stack([POINTS] * 2)}
    kept = {"folder": tmp_path / "steps", "every": 3}
    first = train_quartic(**options, max_queries=400, checkpoints=Checkpoints(**kept))
    assert first.history["queries"].shape == (2, 5)
    more = train_quartic(**options, max_queries=800, checkpoints=Checkpoints(**kept, resume=True))
    assert more.history["queries"].shape == (2, 10)
    np.testing.assert_array_equal(more.history["loss"][:, :5], first.history["loss"])


def test_policy_gradient_takes_the_same_options():
    result = policy_gradient(
        quartic, ORIGIN, POINTS[0], num_steps=100, step_size=0.02, oracle=ORACLE, key=KEY,
        limits=jaxlqr.Limits(max_queries=50), output=jaxlqr.Output(record_params=True, progress=False),
    )  # fmt: skip
    assert result.history["queries"].tolist() == [13, 13, 13]
    assert result.history["params"].shape == (3, 2)
    np.testing.assert_array_equal(result.history["params"][-1], result.params)


def test_recorded_parameters_of_a_tree_and_as_a_data_set():
    def loss(params, task):
        return quartic(params["point"], task) + params["height"] ** 2

    result = train_quartic(
        loss=loss, params={"point": ORIGIN, "height": jnp.array(1.0)}, num_steps=4, record_params=True
    )
    assert result.history["params['point']"].shape == (5, 2)
    assert result.history["params['height']"].shape == (5,)
    np.testing.assert_array_equal(result.history["params['height']"][-1], result.params["height"])
    data = result.to_xarray()
    assert data["params['point']"].dims == ("step", "params['point']_0")
    assert data["params['height']"].dims == ("step",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minibatch_size": 0}, "minibatch_size must be an integer of at least 1, got 0"),
        ({"minibatch_size": 4}, "minibatch_size must be at most the number of tasks, 3, got 4"),
        ({"max_queries": 0, "oracle": ORACLE}, "max_queries must be an integer of at least 1, got 0"),
        ({"max_queries": 9}, "max_queries must be None with the exact oracle"),
        ({"max_queries": 77, "oracle": ORACLE}, "max_queries must be at least 78, the cost queries at the first"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        train_quartic(**options)


def test_minibatches_and_a_mesh_exclude_each_other():
    stack = jaxlqr.stack_tasks([jaxlqr.make_task([[0.5]], [[1.0]])] * 2)
    tasks = shard_tasks(stack, make_mesh(devices=jax.devices()[:1]))
    with pytest.raises(ValueError, match="minibatch_size must be None for tasks that lie on a mesh"):
        jaxlqr.meta_train(
            jaxlqr.cost, jnp.zeros((1, 1)), tasks, num_steps=1, objective=jaxlqr.Maml(inner_step_size=0.1),
            outer_step_size=0.1, limits=jaxlqr.Limits(minibatch_size=1),
        )  # fmt: skip
