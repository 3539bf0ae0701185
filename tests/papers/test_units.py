"""Units of reproductions: kept, loaded, refused; and reproductions that are killed end as if they had not been."""

import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.papers.units import FOLDER, Units, decode, encode, units_in
from jaxlqr.training import Output, TrainingResult
from tests.training.setting import train_quartic


class Pair(NamedTuple):
    one: np.ndarray
    other: float


VALUE = {"pair": Pair(np.array([1.0, np.nan]), np.inf), 3: [jnp.arange(2), (None, True, "text")], 0.5: np.float64(2)}


def test_values_come_back_as_they_were():
    found = decode(encode(VALUE, (Pair,)), (Pair,))
    assert repr(found) == repr(VALUE)
    assert isinstance(found[3][0], jax.Array)
    assert isinstance(found["pair"].one, np.ndarray)


def test_only_known_classes_are_kept_and_made():
    with pytest.raises(TypeError, match="type Pair"):
        encode(VALUE, ())
    with pytest.raises(KeyError):
        decode(encode(VALUE, (Pair,)), ())


def counting():
    calls = []
    return lambda: calls.append(1) or len(calls)


def test_a_unit_is_computed_once_for_the_same_settings(tmp_path):
    work = counting()
    for _ in range(2):
        assert Units(tmp_path, {"seed": 0})("unit", work) == 1
    assert Units(tmp_path, {"seed": 1})("unit", work) == 2
    assert Units(tmp_path, {"seed": 0})("other unit", work) == 3
    assert Units()("unit", work) == 4


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:40] + b"x" + content[41:]])
def test_a_damaged_unit_is_computed_again(tmp_path, damage):
    work = counting()
    Units(tmp_path)("unit", work)
    (path,) = tmp_path.glob("*.unit")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert Units(tmp_path)("unit", work) == 2
    assert Units(tmp_path)("unit", work) == 2


def test_nothing_is_left_of_a_finished_run_and_all_of_an_interrupted_one(tmp_path):
    work = counting()

    def interrupted():
        with units_in(tmp_path, True, None, {}) as units:
            units("unit", work)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ValueError, match="holds an unfinished run"), units_in(tmp_path, False, 5, {}):
        pass
    with units_in(tmp_path, True, None, {}) as units:
        assert units("unit", work) == 1
    assert not (tmp_path / FOLDER).exists()
    with units_in(tmp_path, False, None, {}) as units:
        units("unit", work)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_units_without_being_asked_to(tmp_path):
    def stopped(out, work):
        with units_in(out, False, None, {}) as units:
            units("first", work)
            units("second", lambda: signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt, match="the finished units are kept"):
        stopped(tmp_path / "out", counting())
    assert len(list((tmp_path / "out" / FOLDER).glob("first-*.unit"))) == 1
    with pytest.raises(ValueError, match="holds an unfinished run"), units_in(tmp_path / "out", False, None, {}):
        pass


def test_a_run_that_fails_before_its_first_unit_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="wrong"), units_in(tmp_path / "out", False, None, {}):
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []


def test_a_training_goes_on_from_its_checkpoints(tmp_path):
    def stopped(output):
        train_quartic(num_steps=8, every=4, checkpoints=output.checkpoints)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Units(tmp_path, every=4).train("run", stopped, Output())
    assert list(tmp_path.glob("*.steps/checksums-*"))
    units = Units(tmp_path, every=4)
    found = units.train(
        "run", lambda output: train_quartic(num_steps=8, every=4, checkpoints=output.checkpoints), Output()
    )
    assert isinstance(found, TrainingResult)
    np.testing.assert_array_equal(found.params, train_quartic(num_steps=8, every=4).params)
    assert not list(tmp_path.glob("*.steps"))
    again = Units(tmp_path, every=4).train("run", stopped, Output())  # loaded, not run
    np.testing.assert_array_equal(again.history["loss"], found.history["loss"])


PAPERS = {
    "toso2024": ("curves.npz", ["--seeds", "2", "--checkpoint-every", "100"]),
    "musavi2023": ("histories.npz", ["--seeds", "1", "--checkpoint-every", "100"]),
    "molybog2021": ("landscapes.npz", ["--seeds", "20"]),
    "wang2020": ("curves.npz", ["--seeds", "2", "--checkpoint-every", "20"]),
    "nguyen2023": ("trajectories.npz", ["--part", "trajectories"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_a_reproduction_that_was_killed_ends_with_the_same_numbers(tmp_path, paper):
    arrays, options = PAPERS[paper]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}

    def start(out):
        code = "import sys; from jaxlqr.cli import main; sys.exit(main(sys.argv[1:]))"
        command = ["reproduce", paper, "--quick", "--resume", "--out", str(tmp_path / out), *options]
        return subprocess.Popen([sys.executable, "-c", code, *command], env=environment, stdout=subprocess.DEVNULL)

    whole = start("whole")
    assert whole.wait(timeout=600) == 0
    units = tmp_path / "killed" / FOLDER
    for number in (1, 2):  # once after each of the first two units
        process = start("killed")
        try:
            deadline = time.monotonic() + 600
            while len(list(units.glob("*.unit"))) < number and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert process.poll() is None, "it ended before it was struck"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    kept = {path: path.stat().st_mtime_ns for path in units.glob("*.unit")}
    assert len(kept) >= 2
    last = start("killed")
    assert last.wait(timeout=600) == 0
    assert not units.exists()
    with np.load(tmp_path / "whole" / arrays) as expected, np.load(tmp_path / "killed" / arrays) as found:
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
