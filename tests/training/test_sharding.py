"""The same answer on one device, on eight, and in several processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxlqr
from jaxlqr.training.sharding import make_mesh, mesh_of, shard_tasks, to_host
from tests.training.setting import POINTS, TASKS, train
from tests.training.sharded import results

WORKER = Path(__file__).with_name("worker.py")
# Sums over tasks are taken in another order, and batches of other lengths are compiled otherwise. Differences of costs
# over the radius amplify that rounding: with costs of 1e4 and a radius of 1e-2 (Boeing) to 5e-11, here to below 1e-12.
TOLERANCE = 1e-12


def start_worker(*arguments, devices=1):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_job(out, run_shards, num_processes):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    workers = [start_worker(out, run_shards, coordinator, num_processes, i) for i in range(num_processes)]
    try:
        for worker in workers:
            told, _ = worker.communicate(timeout=300)
            assert worker.returncode == 0, told
    finally:
        for worker in workers:
            worker.kill()


def assert_same(path, expected):
    with np.load(path) as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            # A gap is a difference of costs.
            scale = expected[name.replace("gap", "cost")]
            assert np.max(np.abs(found[name] - value)) <= TOLERANCE * np.max(np.abs(scale)), name


def test_eight_devices_give_the_answer_of_one(tmp_path):
    worker = start_worker(tmp_path / "found.npz", 1, devices=8)
    told, _ = worker.communicate(timeout=300)
    assert worker.returncode == 0, told
    assert_same(tmp_path / "found.npz", results(sharded=False))


@pytest.mark.slow
def test_a_second_axis_of_runs_on_eight_devices(tmp_path):
    worker = start_worker(tmp_path / "found.npz", 2, devices=8)
    told, _ = worker.communicate(timeout=300)
    assert worker.returncode == 0, told
    assert_same(tmp_path / "found.npz", results(2, sharded=False, training_only=True))


@pytest.mark.slow
@pytest.mark.parametrize(("num_processes", "run_shards"), [(2, 1), (4, 1), (4, 2)])
def test_processes_over_the_network_give_the_answer_of_one(tmp_path, num_processes, run_shards):
    run_job(tmp_path / "found.npz", run_shards, num_processes)
    assert_same(tmp_path / "found.npz", results(run_shards, sharded=False, training_only=True))


def test_a_mesh_of_one_device_changes_nothing():
    plain = train(num_steps=3)
    sharded = train(num_steps=3, tasks=shard_tasks(TASKS, make_mesh()))
    np.testing.assert_allclose(sharded.params, plain.params, rtol=TOLERANCE)
    assert sharded.history.keys() == plain.history.keys()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_tasks_in_batches_give_the_same_answer(batch_size):
    at_once, in_batches = train(num_steps=3), train(num_steps=3, batch_size=batch_size)
    np.testing.assert_allclose(in_batches.params, at_once.params, rtol=TOLERANCE)
    np.testing.assert_allclose(in_batches.history["gap"], at_once.history["gap"], rtol=1e-9)


def test_batches_bound_the_memory():
    tasks = jax.tree.map(lambda leaf: np.concatenate([leaf] * 400), TASKS)

    def bytes_needed(batch_size):
        gradient = jax.jit(
            lambda K: jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-4, batch_size=batch_size)
        )
        return gradient.lower(np.array([[0.5, 0.5]])).compile().memory_analysis().temp_size_in_bytes

    assert bytes_needed(50) < bytes_needed(None) / 4


def test_sharded_tasks_are_found():
    assert mesh_of(POINTS) is None
    mesh = make_mesh()
    sharded = shard_tasks(POINTS, mesh)
    assert mesh_of(sharded) == mesh
    np.testing.assert_array_equal(to_host(sharded), POINTS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_mesh(2), r"num_run_shards must divide the number of devices, 1, got 2; use 1"),
        (lambda: train(batch_size=0), r"batch_size must be a positive integer"),
        (
            lambda: jaxlqr.maml_gradient(jaxlqr.cost, TASKS.B[0].T, TASKS, inner_step_size=1e-4, batch_size=2.5),
            r"got 2\.5",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tasks_that_cannot_be_divided_are_refused():
    class Eight:
        shape = {"tasks": 8}  # noqa: RUF012, a stand-in for a mesh of eight devices

    with pytest.raises(ValueError, match=r"the 3 tasks must divide evenly among the 8 devices .* use 8 of them"):
        shard_tasks(TASKS, Eight())
