"""Output folders: complete or untouched."""

import enum
import json
import stat
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.io.output import OutputError, OutputFolder, check_folder, to_plain
from jaxlqr.plots import new_figure


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_together_at_the_end(tmp_path):
    out = tmp_path / "deep" / "run"
    with OutputFolder(out) as folder:
        folder.write_json("summary.json", {"a": 1})
        folder.write_arrays("gain.npz", {"K": jnp.ones((1, 2))})
        folder.write_figure("figure.png", new_figure()[0])
        assert not out.exists()
    assert names(out) == ["figure.png", "gain.npz", "summary.json"]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    with np.load(out / "gain.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["K"], np.ones((1, 2)))


def test_files_are_as_readable_as_any_other(tmp_path):
    with OutputFolder(tmp_path / "run") as folder:
        folder.write_json("summary.json", {})
    (tmp_path / "plain").write_text("")
    mode = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "plain", tmp_path / "run" / "summary.json")]
    assert mode[0] == mode[1]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_failed_block_keeps_the_earlier_result_and_creates_nothing(tmp_path, error):
    old, new = tmp_path / "old", tmp_path / "new"
    with OutputFolder(old) as folder:
        folder.write_json("summary.json", {"run": 1})
    for out in (old, new):
        with pytest.raises(type(error)), OutputFolder(out) as folder:  # noqa: PT012
            folder.write_json("summary.json", {"run": 2})
            raise error
    assert names(tmp_path) == ["old"]
    assert names(old) == ["summary.json"]
    assert json.loads((old / "summary.json").read_text()) == {"run": 1}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("existed", [True, False])
def test_failure_while_writing_leaves_nothing_half_written(tmp_path, monkeypatch, error, existed):
    out = tmp_path / "a" / "run"
    if existed:
        out.mkdir(parents=True)
        (out / "one.json").write_text("old")
    folder = OutputFolder(out)
    calls = []

    def fail(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise error

    monkeypatch.setattr("jaxlqr.io.disk.os.fsync", fail)
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), folder:  # noqa: PT012
        folder.write_json("one.json", {"value": "new"})
        folder.write_json("two.json", {})
    if existed:
        assert names(out) == ["one.json"]
        assert (out / "one.json").read_text() == "old"
    else:
        assert names(tmp_path) == []


def test_check_leaves_no_trace(tmp_path):
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert names(tmp_path) == []


def test_folder_at_or_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(OutputError, match="exists and is not a folder"):
            OutputFolder(path)


def test_folder_that_does_not_take_files_is_refused(tmp_path):
    # For root no folder is read-only, but this name is too long for every file system.
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        OutputFolder(tmp_path / ("x" * 300))
    if Path("/proc/self").is_dir():
        with pytest.raises(OutputError, match="cannot be written"):
            OutputFolder("/proc/results")


def test_names_that_leave_the_folder_or_are_folders_are_refused(tmp_path):
    folder = OutputFolder(tmp_path)
    for name in ("../a.json", "a/b.json", "", ".."):
        with pytest.raises(OutputError, match="must be plain, without folders"):
            folder.write_json(name, {})
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(OutputError, match="a folder has its name"):
        folder.write_json("taken.json", {})


def test_object_arrays_are_refused(tmp_path):
    with pytest.raises(OutputError, match="must be numeric"):
        OutputFolder(tmp_path).write_arrays("a.npz", {"x": np.array([{}], dtype=object)})


class Color(enum.IntEnum):
    RED = 3


def test_plain_values():
    value = {
        "a": np.float32(0.5),
        "b": jnp.array([1.0, jnp.nan]),
        "c": Color.RED,
        "d": (True, np.int64(2)),
        "e": -np.inf,
    }
    plain = to_plain(value)
    assert plain == {"a": 0.5, "b": [1.0, None], "c": "RED", "d": [True, 2], "e": None}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    with pytest.raises(OutputError, match="cannot be written as JSON"):
        to_plain(object())
