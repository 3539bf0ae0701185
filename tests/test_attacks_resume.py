"""Resumes that must not go on: other settings, changed files, malformed descriptions."""

import json
import shutil
import warnings

import pyarrow.parquet as pq
import pytest

from jaxlqr.cli import main
from jaxlqr.training import Checkpoints
from tests.commands.test_sweep import SPEC
from tests.test_cli_bad_input import assert_one_sentence, tree
from tests.training.setting import train_quartic

TOML = "[nominal]\nA = [[0.5]]\nB = [[1.0]]\n"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A training that was stopped after 10 steps, in a folder with its tasks."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "t.toml").write_text(TOML)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("jaxlqr.commands.train._summary", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt("x")))
        command = ["train", "--tasks", f"{folder}/t.toml", "--out", f"{folder}/out", "--steps", "10", "--quiet"]
        assert main([*command, "--checkpoint-every", "10"]) == 130
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    (folder / "sweep.toml").write_text(SPEC)
    assert main(["sweep", f"{folder}/sweep.toml", "--out", f"{folder}/out", "--quiet"]) == 0
    return folder


def test_fewer_steps_than_the_checkpoint_are_refused(stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped, tmp_path / "copy")
    before = tree(folder)
    command = ["train", "--tasks", f"{folder}/t.toml", "--out", f"{folder}/out", "--resume", "--steps", "9"]
    assert main(command) == 2
    assert tree(folder) == before
    assert_one_sentence(capsys.readouterr(), r"num_steps must be at least 10, the steps .* has taken, got 9; resume")


def test_a_step_folder_that_is_a_link_is_refused(stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped, tmp_path / "copy")
    step = folder / "out" / "checkpoints" / "10"
    step.rename(folder / "elsewhere")
    step.symlink_to(folder / "elsewhere")
    before = tree(folder)
    command = ["train", "--tasks", f"{folder}/t.toml", "--out", f"{folder}/out", "--resume", "--steps", "20"]
    assert main(command) == 2
    assert tree(folder) == before
    assert_one_sentence(capsys.readouterr(), "checkpoints/10 must be a file or folder that the run wrote, got a link")


MALFORMED = {
    "list": "[1, 2]",
    "number": "3",
    "huge number": "9" * 5000,
    "null": "null",
    "text": '"text"',
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "empty": "",
    "binary": b"\xff\xfe\x00",
    "repeated": '{"sha256": "0", "sha256": "1"}',
    "NaN": "NaN",
}


def spoil(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_description_of_a_training(name, stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped, tmp_path / "copy")
    spoil(folder / "out" / "checkpoints" / "run.json", MALFORMED[name])
    command = ["train", "--tasks", f"{folder}/t.toml", "--out", f"{folder}/out", "--resume", "--steps", "10"]
    assert main(command) == 2
    assert_one_sentence(capsys.readouterr(), r"run\.json must describe checkpoints of a run, the last after .*, but ")


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_checksums_are_a_damaged_checkpoint(name, tmp_path):
    def run(**options):
        return train_quartic(num_steps=8, every=4, checkpoints=Checkpoints(folder=tmp_path / "c", **options))

    run(every=4)
    spoil(tmp_path / "c" / "checksums-8.json", MALFORMED[name])
    with pytest.warns(RuntimeWarning, match=r"after step 8 .* is damaged .* going on from step 7"):
        run(every=4, resume=True)


DESCRIPTIONS = MALFORMED | {
    "axes a number": json.dumps({"sha256": "0", "axes": 3, "runs": 8, "batches": 2}),
    "axes unknown": json.dumps({"sha256": "0", "axes": ["colour"], "runs": 8, "batches": 2}),
    "axes nested": json.dumps({"sha256": "0", "axes": [["level"]], "runs": 8, "batches": 2}),
    "no axes": json.dumps({"sha256": "0", "axes": [], "runs": 8, "batches": 2}),
    "runs negative": json.dumps({"sha256": "0", "axes": ["level"], "runs": -8, "batches": 2}),
    "runs huge": '{"sha256": "0", "axes": ["level"], "runs": 1' + 400 * "0" + ', "batches": 2}',
    "runs a float": json.dumps({"sha256": "0", "axes": ["level"], "runs": 1e23, "batches": 2}),
    "hash null": json.dumps({"sha256": None, "axes": ["level"], "runs": 8, "batches": 2}),
}


@pytest.mark.parametrize("command", ["--resume", "--status", "--plot"])
def test_a_malformed_description_of_a_sweep(command, swept, tmp_path, capsys):
    folder = shutil.copytree(swept, tmp_path / "copy")
    words = ["sweep", f"{folder}/sweep.toml", "--out", f"{folder}/out"] if command == "--resume" else ["sweep"]
    words += [command] if command == "--resume" else [command, f"{folder}/out"]
    for content in DESCRIPTIONS.values():
        spoil(folder / "out" / "sweep.json", content)
        before = tree(folder)
        assert main(words) == 2
        assert tree(folder) == before
        assert_one_sentence(capsys.readouterr(), r"sweep\.json must describe a sweep, but ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_tasks = 3", "num_tasks = 3\ninclude_nominal = false"),
        ("num_tasks = 3", "num_tasks = 4"),
        ("num_tasks = 3", "num_tasks = 3\nmasks.A = [[1.0, 0.0], [0.0, 0.0]]"),
        ("samples = 4", "samples = 5"),
        ("[[0.3], [1.0]]", "[[0.3], [1.1]]"),
        ("[[0.5, 0.5]]", "[[0.5, 0.6]]"),
        ("[0, 7]", "[7, 0]"),
    ],
)
def test_another_sweep_does_not_go_on(swept, tmp_path, capsys, old, new):
    folder = shutil.copytree(swept, tmp_path / "copy")
    spec = (folder / "sweep.toml").read_text()
    assert old in spec
    (folder / "sweep.toml").write_text(spec.replace(old, new))
    before = tree(folder)
    assert main(["sweep", f"{folder}/sweep.toml", "--out", f"{folder}/out", "--resume"]) == 2
    assert tree(folder) == before
    assert_one_sentence(capsys.readouterr(), r"holds a sweep, which differs in .*sha256.*; resume with")


@pytest.mark.parametrize("renamed", [False, True])
def test_a_part_whose_values_changed_is_computed_again(swept, tmp_path, renamed):
    folder = shutil.copytree(swept, tmp_path / "copy")
    part = sorted((folder / "out" / "parts").glob("00000-*.parquet"))[0]
    table = pq.read_table(part)
    number = table.column_names.index("gap_last")
    pq.write_table(table.set_column(number, "gap_last", [[0.0] * len(table)]), part)
    if renamed:  # as the part of another sweep that is put here
        part = part.rename(part.with_name("00000-0123456789abcdef.parquet"))
    expected = pq.read_table(folder / "out" / "results.parquet").column("gap_last").to_pylist()
    (folder / "out" / "results.parquet").unlink()
    with pytest.warns(RuntimeWarning, match="its content is not what was written; it is left out"):
        assert main(["sweep", "--status", f"{folder}/out"]) == 0
    with pytest.warns(RuntimeWarning, match="is damaged: its content is not what was written; its runs are done again"):
        assert main(["sweep", f"{folder}/sweep.toml", "--out", f"{folder}/out", "--resume", "--quiet"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["sweep", "--status", f"{folder}/out"]) == 0
    assert repr(pq.read_table(folder / "out" / "results.parquet").column("gap_last").to_pylist()) == repr(expected)
