"""Checkpoints: what is resumed ends with the same bits, and what is damaged, another's or in use is not used."""

import json
import shutil
import signal

import jax
import numpy as np
import optax
import pytest
from filelock import FileLock

from jaxlqr import SolveStatus
from jaxlqr.training import CheckpointError, Checkpoints, loop
from jaxlqr.training.checkpoint import Keeper
from tests.training.setting import train_quartic

EVERY = 4


def run(folder=None, *, num_steps=12, every=EVERY, resume=False, **changes):
    checkpoints = None if folder is None else Checkpoints(folder=folder, every=every, resume=resume)
    changes = {"optimizer": optax.adam(0.01), "every": EVERY} | changes
    return train_quartic(num_steps=num_steps, checkpoints=checkpoints, **changes)


def assert_same_bits(first, second):
    jax.tree.map(np.testing.assert_array_equal, (first.params, first.history), (second.params, second.history))


def bits_of(result):
    return jax.tree.map(np.asarray, (result.params, result.history))


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Checkpoints after steps 7 and 8 of a run of 8 steps."""
    folder = tmp_path_factory.mktemp("stopped") / "checkpoints"
    run(folder, num_steps=8)
    return folder


@pytest.fixture
def copy(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "copy")


def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(copy, whole):
    assert sorted(path.name for path in copy.glob("checksums-*")) == ["checksums-7.json", "checksums-8.json"]
    assert_same_bits(run(copy, resume=True), whole)


def test_a_finished_run_is_resumed_without_a_step(copy, monkeypatch):
    monkeypatch.setattr(loop, "_chunk", None)
    assert run(copy, num_steps=8, resume=True).history["loss"].shape == (9, 3)


def test_resuming_nothing_begins(tmp_path, whole):
    assert_same_bits(run(tmp_path / "new", resume=True), whole)


def test_batched_runs_resume(tmp_path):
    start = np.array([[1.0, -1.0], [0.5, 0.2]])
    points = np.stack([np.asarray([[0.3, -0.2], [0.5, 0.4], [-0.1, 0.6]])] * 2)
    changes = {"params": start, "tasks": points, "batched": True}
    run(tmp_path / "runs", num_steps=8, **changes)
    assert_same_bits(run(tmp_path / "runs", resume=True, **changes), run(**changes))


def files_of(folder, step):
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(copy, whole, damage):
    files = files_of(copy, 8)
    assert files
    victim = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif damage == "truncate":
        victim.write_bytes(content[:-1])
    elif damage == "remove":
        victim.unlink()
    else:
        victim.with_name("stranger").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"after step 8 .* is damaged .* going on from step 7"):
        resumed = run(copy, resume=True)
    assert_same_bits(resumed, whole)


def test_any_flipped_byte_of_any_file_is_noticed(copy):
    keeper = Keeper(copy, keep=2)
    try:
        for path in files_of(copy, 8):
            content = path.read_bytes()
            for place in {0, len(content) // 2, len(content) - 1}:
                path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
                assert keeper._fault(8) is not None, (path, place)
            path.write_bytes(content)
        assert keeper._fault(8) is None
    finally:
        keeper.close()


def test_when_all_are_damaged_the_run_begins_anew(copy, whole):
    for step in (7, 8):
        files_of(copy, step)[0].write_bytes(b"nonsense")
    with pytest.warns(RuntimeWarning, match="damaged") as told:
        resumed = run(copy, resume=True)
    assert "beginning anew" in str(told[-1].message)
    assert_same_bits(resumed, whole)


def test_an_unfinished_checkpoint_is_none(copy, whole):
    (copy / "checksums-8.json").unlink()
    assert_same_bits(run(copy, resume=True), whole)


def test_nothing_is_overwritten_unasked(copy):
    with pytest.raises(CheckpointError, match=r"holds checkpoints of a run, the last after step 8; resume it"):
        run(copy)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"inner_step_size": 0.02}, "tasks and settings"),
        ({"params": np.array([0.9, -1.0])}, "start"),
        ({"first_order": True}, "objective"),
        ({"num_inner_steps": 2}, "objective"),
        ({"optimizer": optax.adam(0.02)}, "optimizer"),
        ({"optimizer": optax.sgd(0.01)}, "optimizer"),
    ],
)
def test_checkpoints_of_another_run_are_refused(copy, changes, what):
    before = sorted(copy.rglob("*"))
    with pytest.raises(
        CheckpointError, match=rf"checkpoints of a run, the last after step 8, which differs in {what};"
    ):
        run(copy, resume=True, **changes)
    assert sorted(copy.rglob("*")) == before


@pytest.mark.parametrize("codes", [None, {"COMPLETED": 0, "STALLED": 1, "DIVERGED": 2}])
def test_checkpoints_with_other_codes_of_the_status_are_refused(copy, codes):
    described = json.loads((copy / "run.json").read_text())
    assert described.pop("status codes")["STALLED"] == SolveStatus.STALLED
    (copy / "run.json").write_text(json.dumps(described if codes is None else described | {"status codes": codes}))
    with pytest.raises(CheckpointError, match="which differs in status codes;"):
        run(copy, resume=True)


def test_the_fingerprint_names_no_address(stopped):
    assert "0x" not in json.dumps(json.loads((stopped / "run.json").read_text()))


def test_two_runs_in_one_folder(copy):
    with FileLock(copy / ".lock"), pytest.raises(CheckpointError, match="another process works in"):
        run(copy, resume=True)


def test_a_full_disk_costs_the_newest_checkpoint_only(copy, whole, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("orbax.checkpoint.CheckpointManager.save", full)
        with pytest.raises(CheckpointError, match=r"No space left on device\. The checkpoint after step 8 is kept"):
            run(copy, resume=True)
    assert_same_bits(run(copy, resume=True), whole)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match="cannot be opened"):
        run(tmp_path / "taken" / "checkpoints")


def stop_in_the_first_chunk(monkeypatch, number, folder, **options):
    original, calls = loop.to_host, []

    def fetch(array):
        calls.append(array)
        if len(calls) == 1:
            signal.raise_signal(number)
        return original(array)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "to_host", fetch)
        with pytest.raises(KeyboardInterrupt, match=r"stopped after step 3 of 12"):
            run(folder, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_a_last_checkpoint(tmp_path, whole, monkeypatch, capsys, number):
    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    stop_in_the_first_chunk(monkeypatch, number, tmp_path / "stopped")
    assert "stopping after this chunk" in capsys.readouterr().err
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert_same_bits(run(tmp_path / "stopped", resume=True), whole)


def test_without_a_number_of_steps_only_a_signal_leaves_a_checkpoint(tmp_path, whole, monkeypatch):
    assert_same_bits(run(tmp_path / "kept", every=None), whole)
    assert not (tmp_path / "kept").exists()
    stop_in_the_first_chunk(monkeypatch, signal.SIGINT, tmp_path / "kept", every=None)
    with pytest.raises(CheckpointError, match="holds checkpoints of a run, the last after step 3"):
        run(tmp_path / "kept", every=None)
    assert_same_bits(run(tmp_path / "kept", every=None, resume=True), whole)


def test_only_the_metrics_leave_the_device_between_checkpoints(monkeypatch):
    fetched = []
    original = loop.to_host
    monkeypatch.setattr(loop, "to_host", lambda array: fetched.append(array.shape) or original(array))
    before = loop._chunk._cache_size()
    result = run()
    # Four chunks of a row for each name, in one program.
    assert len(fetched) == 4 * len(result.history)
    assert {shape[0] for shape in fetched} == {EVERY}
    assert loop._chunk._cache_size() <= before + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be a positive integer, the steps between two checkpoints, got 0"),
        ({"every": 1.5}, "got 1.5"),
        ({"every": 1, "keep": 0}, "keep must be a positive integer"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(folder="unused", **arguments)
