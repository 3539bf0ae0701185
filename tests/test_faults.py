"""Processes that are killed at random moments, disks that are full: nothing is lost, and the end is the same bits."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from jaxlqr.cli import main
from tests.commands.test_sweep import SPEC, columns_of

TASKS = "[nominal]\nA = [[1.05, 0.2], [0.0, 0.9]]\nB = [[0.3], [1.0]]\n[perturbation]\nnum_tasks = 3\nlevel = 0.01\n"
KILLS = 20


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    # Each process compiles the same programs: the second one finds them.
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }


def start(environment, *arguments):
    code = "import sys; from jaxlqr.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments), "--quiet"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def catches(pid, number):
    """Whether a process of Linux has a handler of its own for a signal."""
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def run_whole(environment, *arguments):
    process = start(environment, *arguments)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told


def kill_often(environment, folder, *arguments):
    """Kill the command at random moments until 20 have struck a process at work, then let it end."""
    generator = np.random.default_rng(0)
    began = time.perf_counter()
    run_whole(environment, *arguments)  # how long it takes, with all programs compiled
    longest = time.perf_counter() - began
    shutil.rmtree(folder)
    struck = 0
    while struck < KILLS:
        process = start(environment, *arguments)
        try:
            process.wait(timeout=generator.uniform(0.3, 1) * longest)
            shutil.rmtree(folder)  # it ended before the blow: from the beginning
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            struck += 1
        process.communicate()
    run_whole(environment, *arguments)


@pytest.mark.slow
def test_training_killed_at_random_moments_ends_with_the_same_bits(environment, tmp_path):
    (tmp_path / "tasks.toml").write_text(TASKS)
    options = ["--steps", 400, "--oracle", "zeroth-order", "--checkpoint-every", 20, "--resume"]
    command = ["train", "--tasks", tmp_path / "tasks.toml", *options]
    run_whole(environment, *command, "--out", tmp_path / "whole")
    kill_often(environment, tmp_path / "killed", *command, "--out", tmp_path / "killed")
    for name in ("gain.npz", "history.npz"):
        with np.load(tmp_path / "whole" / name) as whole, np.load(tmp_path / "killed" / name) as killed:
            for key in whole:
                np.testing.assert_array_equal(killed[key], whole[key])
    assert not (tmp_path / "killed" / "checkpoints").exists()


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_with_the_same_bits(environment, tmp_path):
    spec = SPEC.replace("seed = [0, 7]", f"seed = {list(range(12))}").replace("steps = 3", "steps = 30")
    (tmp_path / "sweep.toml").write_text(spec)
    command = ["sweep", tmp_path / "sweep.toml", "--resume"]
    run_whole(environment, *command, "--out", tmp_path / "whole")
    kill_often(environment, tmp_path / "killed", *command, "--out", tmp_path / "killed")
    assert repr(columns_of(tmp_path / "killed")) == repr(columns_of(tmp_path / "whole"))  # all bits, and NaN is NaN


@pytest.mark.slow
def test_ctrl_c_leaves_a_state_without_being_asked_for_one(environment, tmp_path):
    (tmp_path / "tasks.toml").write_text(TASKS)
    command = ["train", "--tasks", tmp_path / "tasks.toml", "--steps", 100_000, "--out", tmp_path / "out"]
    process = start(environment, *command)
    deadline = time.monotonic() + 120
    while not catches(process.pid, signal.SIGTERM):  # from then on it notes signals
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert f"Go on with: jaxlqr {shlex.join(map(str, command))} --quiet --resume" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoints"]
    told = start(environment, *command).communicate(timeout=120)[1]
    assert "holds checkpoints of a run that was stopped; resume it, or remove that folder" in told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_what_resume_goes_on_from(environment, tmp_path, number):
    (tmp_path / "tasks.toml").write_text(TASKS)
    command = ["train", "--tasks", tmp_path / "tasks.toml", "--checkpoint-every", 50, "--steps", 100_000, "--resume"]
    process = start(environment, *command, "--out", tmp_path / "out")
    checkpoints = tmp_path / "out" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("checksums-*")):
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: stopped after step" in told
    assert f"Go on with: jaxlqr {shlex.join(map(str, command))}" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoints"]


@contextmanager
def small_disk(folder):
    """A file system of half a megabyte, where this user may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs the rights of root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
# Orbax leaves coroutines behind when its writes fail; what we promise is the sentence and the checkpoint.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, capsys):
    (tmp_path / "tasks.toml").write_text(TASKS)
    command = ["train", "--tasks", str(tmp_path / "tasks.toml"), "--quiet", "--checkpoint-every", "100", "--resume"]
    command += ["--oracle", "zeroth-order"]  # whose history does not compress: a converged one would fit for ever
    with small_disk(tmp_path / "disk"):
        out = ["--out", str(tmp_path / "disk" / "out")]
        assert main([*command, "--steps", "100000", *out]) == 2
        told = capsys.readouterr().err
        assert "cannot be written" in told
        assert "is kept" in told
        kept = sorted((tmp_path / "disk" / "out" / "checkpoints").glob("checksums-*"))
        assert kept
        step = kept[0].stem.removeprefix("checksums-")
        assert f"step {step} is kept" in told or len(kept) > 1
        # With room again the run goes on: from a copy, as this disk stays small.
        shutil.copytree(tmp_path / "disk" / "out", tmp_path / "out")
    assert main([*command, "--steps", str(int(step) + 100), "--out", str(tmp_path / "out")]) == 0


def test_a_read_only_folder_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "tasks.toml").write_text(TASKS)
    (tmp_path / "sweep.toml").write_text(SPEC)
    train = ["train", "--tasks", str(tmp_path / "tasks.toml"), "--quiet"]
    sweep = ["sweep", str(tmp_path / "sweep.toml"), "--quiet"]
    with small_disk(tmp_path / "disk"):  # to root, who may mount, the permissions of a folder say nothing
        (tmp_path / "disk" / "kept").write_text("kept")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        for command in (train, [*train, "--checkpoint-every", "10"], sweep, ["reproduce", "molybog2021", "--resume"]):
            assert main([*command, "--out", str(tmp_path / "disk" / "out")]) == 2
            told = capsys.readouterr().err
            assert "cannot be written" in told
            assert "Read-only" in told
        assert [path.name for path in (tmp_path / "disk").iterdir()] == ["kept"]


@pytest.mark.slow
def test_two_processes_share_a_sweep_and_a_lost_one_is_made_up_for(environment, tmp_path):
    (tmp_path / "sweep.toml").write_text(SPEC)
    run_whole(environment, "sweep", tmp_path / "sweep.toml", "--out", tmp_path / "whole")
    out = tmp_path / "shared"
    job = ["sweep", tmp_path / "sweep.toml", "--out", out, "--coordinator", "127.0.0.1:28471", "--num-processes", 2]
    workers = [start(environment, *job, "--process-id", number) for number in range(2)]
    told = [worker.communicate(timeout=300)[1] for worker in workers]
    codes = [worker.returncode for worker in workers]
    assert set(codes) <= {0, 1}, told
    assert 0 in codes, told  # the last to finish sees all and writes the table
    expected = repr(columns_of(tmp_path / "whole"))
    assert repr(columns_of(out)) == expected
    # As if the second process had been lost: its batch is missing, and one process alone makes up for it.
    (out / "results.parquet").unlink()
    next((out / "parts").glob("00001-*")).unlink()
    run_whole(environment, "sweep", tmp_path / "sweep.toml", "--out", out, "--resume")
    assert repr(columns_of(out)) == expected
