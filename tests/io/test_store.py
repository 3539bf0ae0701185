"""What a run keeps: parts with checksums, and descriptions, whatever else lies there and whenever it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxlqr.io.locking import CheckpointError
from jaxlqr.io.store import Description, Parts


def test_a_part_is_found_by_its_key_and_its_computation(tmp_path):
    parts, others = Parts(tmp_path, ".bin", "run 1"), Parts(tmp_path / "other", ".bin", "run 2")
    parts.put("a", b"1")
    parts.put("a-b", b"2")
    others.put("a", b"3")
    assert [parts.get(key, bytes) for key in ("a", "a-b", "b")] == [b"1", b"2", None]
    assert parts.stored_keys() == ["a", "a-b"]
    # A part of another computation, or under another name, is none of this one.
    for path, name in ((next((tmp_path / "other").iterdir()), None), (next(tmp_path.glob("a-b-*")), "c-" + "0" * 16)):
        (tmp_path / (f"{name}.bin" if name else path.name)).write_bytes(path.read_bytes())
    (next(p for p in tmp_path.glob("a-*") if not p.name.startswith("a-b") and p.read_bytes() == b"1")).unlink()
    for key in ("a", "c"):
        with pytest.warns(RuntimeWarning, match="is damaged: its content is not what was written; it is computed"):
            assert parts.get(key, bytes) is None


def test_a_new_part_replaces_its_own_files_only(tmp_path):
    parts = Parts(tmp_path, ".bin")
    mine = ["a.bin", "a-0123.bin", "a-0123456789abcdef.txt", "b-0123456789abcdef.bin", "notes.txt"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / "a-00000000000000ff.bin").symlink_to(tmp_path / "notes.txt")
    for content in (b"1", b"2"):
        parts.put("a", content)
    assert parts.get("a", bytes) == b"2"
    left = {path.name for path in tmp_path.iterdir()}
    assert left >= {*mine, "a-00000000000000ff.bin"}
    assert len(left) == len(mine) + 2
    assert all((tmp_path / name).read_text() == "mine" for name in mine)


def test_what_cannot_be_decoded_is_damaged_and_what_cannot_be_written_is_explained(tmp_path):
    parts = Parts(tmp_path, ".bin")
    parts.put("a", b"1")
    with pytest.warns(RuntimeWarning, match="is damaged: 'missing'"):
        assert parts.get("a", lambda content: {}["missing"]) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written: .*\. What was finished before is kept; resume"):
        Parts(tmp_path / "file", ".bin").put("a", b"1")


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_parts(tmp_path):
    code = (
        "import sys; from pathlib import Path; from jaxlqr.io.store import Parts\n"
        "parts = Parts(Path(sys.argv[1]), '.bin')\n"
        "print('ready', flush=True)\n"
        "for number in range(10**9): parts.put('a', bytes([number % 256]) * 10**6)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for delay in (0.2, 0.31, 0.43):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = Parts(tmp_path, ".bin").get("a", bytes)  # without a warning
        assert content is not None
        assert len(set(content)) == 1
        assert len(content) == 10**6


ENTRIES = {"seed": 0, "step": float("nan"), "names": ["a"]}


@pytest.mark.parametrize(
    ("begun", "resume", "changes", "message"),
    [
        (False, False, {"seed": 1}, None),
        (True, True, {}, None),
        (True, False, {}, "holds a run; resume it, or choose another folder"),
        (
            True,
            True,
            {"seed": 1, "names": []},
            "holds a run, which differs in names, seed; resume with",
        ),
        (True, True, {"more": None}, "which differs in more;"),
    ],
)
def test_a_run_goes_on_only_where_it_is_the_same(tmp_path, begun, resume, changes, message):
    path = tmp_path / "run.json"
    Description(path, "a run", ENTRIES).write()
    before = path.read_bytes()
    mine = Description(path, "a run", ENTRIES | changes)
    if message is None:
        mine.check(begun=begun, resume=resume)
    else:
        with pytest.raises(CheckpointError, match=message):
            mine.check(begun=begun, resume=resume)
    assert path.read_bytes() == before


def test_a_description_that_cannot_be_read_is_refused(tmp_path):
    mine = Description(tmp_path / "run.json", "a run", ENTRIES)
    with pytest.raises(CheckpointError, match=r"run\.json must describe a run, but No such file"):
        mine.check(begun=True)
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="but it must hold a JSON object, got list; choose another folder"):
        mine.check(begun=True)
