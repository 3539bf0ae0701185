"""Files of others in folders of jaxlqr: refused before any work, or left as they are."""

import numpy as np
import pytest
from filelock import FileLock

from jaxlqr.cli import main
from jaxlqr.io.workspace import claim_workspace, clear_workspace, mark_path
from jaxlqr.papers.units import FOLDER, units_in
from jaxlqr.training import CheckpointError, Checkpoints
from tests.commands.test_sweep import SPEC
from tests.test_cli_bad_input import assert_one_sentence, tree
from tests.training.setting import train_quartic

A, B = 0.5 * np.ones((2, 1, 1)), np.ones((2, 1, 1))


def put(path, content="mine"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def gain_named(name):
    """The tasks in another file, and the gain in the output folder under the name of a result."""
    return lambda folder: put(folder / "out" / name, "0.1\n")


def tasks_named(name):
    def write(folder):
        (folder / "out").mkdir()
        np.savez(folder / "out" / name, A=A, B=B)

    return write


def linked(name):
    def write(folder):
        put(folder / "others" / "model.ckpt")
        (folder / "out").mkdir()
        (folder / "out" / name).symlink_to(folder / "others")

    return write


TRAIN, OUT = ["train", "--tasks", "{}/t.npz"], ["--out", "{}/out"]
REPRODUCE, SWEEP = ["reproduce", "molybog2021", "--quick", *OUT], ["sweep", "{}/sweep.toml", *OUT]
OTHERS = "must be a folder that jaxlqr made for its .*, got one that holds other files; move it away"
REPLACED = "would be replaced by a result; choose another output folder"
# By name: what is prepared, the command, what it answers.
OF_OTHERS = {
    "checkpoints": (lambda f: put(f / "out/checkpoints/model.ckpt"), [*TRAIN, *OUT], OTHERS),
    "checkpoints, resumed": (lambda f: put(f / "out/checkpoints/100/a"), [*TRAIN, *OUT, "--resume"], OTHERS),
    "checkpoints, checked": (
        lambda f: put(f / "out/checkpoints/checksums-3.json"),
        [*TRAIN, *OUT, "--checkpoint-every", "5", "--resume"],
        OTHERS,
    ),
    "checkpoints are a link": (linked("checkpoints"), [*TRAIN, *OUT, "--checkpoint-every", "5"], "got a link"),
    "unfinished": (lambda f: put(f / "out/unfinished/thesis.tex"), REPRODUCE, OTHERS),
    "unfinished, resumed": (lambda f: put(f / "out/unfinished/a-b.unit"), [*REPRODUCE, "--resume"], OTHERS),
    "unfinished is a link": (linked("unfinished"), REPRODUCE, "got a link"),
    "mistyped part": (lambda f: put(f / "out/unfinished/a"), [*REPRODUCE, "--part", "phse"], OTHERS),
    "a lock of others": (lambda f: put(f / "out/.lock"), SWEEP, "must be an empty file, the lock of jaxlqr"),
    "parts": (lambda f: put(f / "out/parts/00000-mine.parquet"), SWEEP, "parts must not exist where no sweep wrote"),
    "results": (lambda f: put(f / "out/results.parquet"), SWEEP, "results.parquet must not exist where no sweep"),
    "the sweep itself": (lambda f: put(f / "out/sweep.json", SPEC), ["sweep", "{}/out/sweep.json", *OUT], REPLACED),
    "gain of train": (gain_named("training.png"), [*TRAIN, *OUT, "--k0", "{}/out/training.png"], REPLACED),
    "tasks of certified": (tasks_named("runs.npz"), ["certified", "--tasks", "{}/out/runs.npz", *OUT], REPLACED),
    "gain of certified": (
        gain_named("certified.json"),
        ["certified", "--tasks", "{}/t.npz", *OUT, "--k0", "{}/out/certified.json"],
        REPLACED,
    ),
    "gain of landscape": (
        gain_named("landscape.gif"),
        ["landscape", "--tasks", "{}/t.npz", *OUT, "--k0", "{}/out/../out/landscape.gif"],
        REPLACED,
    ),
    "gain of bounds": (
        gain_named("bounds.json"),
        ["bounds", "--tasks", "{}/t.npz", *OUT, "--k0", "{}/out/bounds.json"],
        REPLACED,
    ),
}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_what_others_made_is_refused_before_work_and_left(name, tmp_path, capsys):
    prepare, command, message = OF_OTHERS[name]
    np.savez(tmp_path / "t.npz", A=A, B=B)
    (tmp_path / "sweep.toml").write_text(SPEC)
    prepare(tmp_path)
    before = tree(tmp_path)
    assert main([word.format(tmp_path) for word in command]) == 2
    assert tree(tmp_path) == before
    assert_one_sentence(capsys.readouterr(), message)


def test_only_what_was_written_is_removed(tmp_path):
    folder = tmp_path / "run"
    checkpoints = Checkpoints(folder=folder, every=4)
    train_quartic(num_steps=8, every=4, checkpoints=checkpoints)
    (folder / "notes.txt").write_text("mine")
    Checkpoints(folder=folder, every=4).clear()  # by a run that never opened the folder
    assert (folder / "8").is_dir()
    with pytest.warns(RuntimeWarning, match=r"is left, because it holds notes\.txt, which no run wrote"):
        checkpoints.clear()
    assert sorted(folder.iterdir()) == [mark_path(folder, "checkpoints"), folder / "notes.txt"]
    claim_workspace(folder, "checkpoints")  # which can be used again
    (folder / "notes.txt").unlink()
    clear_workspace(folder)
    assert not folder.exists()


def test_a_folder_that_was_there_stays(tmp_path):
    claim_workspace(tmp_path, "units")
    clear_workspace(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_that_is_refused_removes_nothing(tmp_path):
    with units_in(tmp_path, False, None, {}):
        before = tree(tmp_path)
        with pytest.raises(CheckpointError, match="another process works in"), units_in(tmp_path, False, None, {}):
            pass
        assert tree(tmp_path) == before
        assert (tmp_path / FOLDER / ".lock").exists()


def test_a_mistyped_part_removes_no_unit(tmp_path, capsys):
    out, command = tmp_path / "out", ["reproduce", "molybog2021", "--resume", "--out", str(tmp_path / "out")]
    settings = {"paper": "molybog2021", "quick": False, "seeds": None}
    with pytest.raises(KeyboardInterrupt), units_in(out, True, None, settings) as units:  # noqa: PT012
        units("unit", lambda: 1)
        raise KeyboardInterrupt
    before = tree(out)
    assert main([*command, "--part", "phse"]) == 2
    assert_one_sentence(capsys.readouterr(), "holds an unfinished run, which differs in part; resume with the settings")
    assert tree(out) == before


def test_a_lock_is_respected(tmp_path):
    claim_workspace(tmp_path / "c", "checkpoints")
    before = tree(tmp_path)
    with FileLock(tmp_path / "c" / ".lock"), pytest.raises(CheckpointError, match="another process works in"):
        train_quartic(num_steps=8, checkpoints=Checkpoints(folder=tmp_path / "c", every=4))
    assert {name for name in tree(tmp_path) if not name.endswith(".lock")} == set(before)
