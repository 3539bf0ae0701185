"""Files and options that ask for more memory or time than there is: refused by what they declare, before any work."""

import gzip
import io
import os
import resource
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.commands.sweep import parse_spec
from jaxlqr.families.files import load_gain, load_tasks
from jaxlqr.papers.nguyen2023.omniglot import omniglot
from tests.test_cli_bad_input import TOML, assert_one_sentence
from tests.test_fuzz import header

BIG = 10 * 2**30  # bytes that a bomb unpacks to


def member(archive, name, shape, size):
    """A member that declares ``size`` bytes and holds few: the sizes are read before the content."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as file:
        file.write(header(shape))
        for _ in range(size // 2**20):
            file.write(bytes(2**20))


def bomb(path, name, **arrays):
    """An archive of the arrays, and of a member that unpacks to more than the limit of 256 MiB."""
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        member(archive, name, (1, 2**10, 2**15 + 1), 2**28 + 2**20)
    return path


def zeros_gz(path):
    path.write_bytes(gzip.compress(bytes(2**26)))
    return path


def sparse_mat(path):
    """A of 5700 x 5700 with one entry, B a column: 30 kB."""

    def element(kind, data):
        return np.array([kind, len(data)], "<u4").tobytes() + data + bytes(-len(data) % 8)

    def matrix(name, kind, shape, *parts):
        flags = element(6, np.array([kind, 1], "<u4").tobytes())
        return element(14, flags + element(5, np.array(shape, "<i4").tobytes()) + element(1, name) + b"".join(parts))

    n = 5700
    starts = np.append(0, np.ones(n, "<i4")).astype("<i4")
    sparse = [element(5, bytes(4)), element(5, starts.tobytes()), element(9, np.array([0.5]).tobytes())]
    packed = zlib.compress(matrix(b"A", 5, (n, n), *sparse))
    column = zlib.compress(matrix(b"B", 6, (n, 1), element(9, np.ones(n).tobytes())))
    pieces = [np.array([15, len(data)], "<u4").tobytes() + data for data in (packed, column)]
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"".join(pieces))
    return path


def long_text(path):
    path.write_text("1," * 2**23 + "1")
    return path


def fifo(path):
    os.mkfifo(path)
    return path


def link(path, target):
    path.symlink_to(target)
    return path


ONE = np.ones((1, 1, 1))
FILES = {
    "npz": (
        lambda f: bomb(f / "t.npz", "A.npy", B=np.ones((1, 1, 1))),
        load_tasks,
        "declares arrays of .* more than 268435456; split it",
    ),
    "npz, unknown": (
        lambda f: bomb(f / "t.npz", "sigma.npy", A=ONE, B=ONE),
        load_tasks,
        "unknown key 'sigma'",
    ),
    "npz, gain": (lambda f: bomb(f / "k.npz", "K.npy"), load_gain, "declares arrays of"),
    "csv.gz": (lambda f: zeros_gz(f / "k.csv.gz"), load_gain, "must unpack to at most 16777216 bytes; save the matrix"),
    "sparse mat": (lambda f: sparse_mat(f / "t.mat"), lambda p: load_tasks(p, dt=0.1), "at most 2048 rows and columns"),
    "device, npz": (lambda f: link(f / "t.npz", "/dev/zero"), load_tasks, "must be a regular file, got a device"),
    "device, mat": (lambda f: link(f / "t.mat", "/dev/zero"), load_tasks, "must be a regular file, got a device"),
    "device, toml": (lambda f: link(f / "t.toml", "/dev/zero"), load_tasks, "must be a regular file, got a device"),
    "device, gain": (lambda f: link(f / "k.csv", "/dev/zero"), load_gain, "must be a regular file, got a device"),
    "pipe, npz": (lambda f: fifo(f / "t.npz"), load_tasks, "must be a regular file, got a pipe; save its content"),
    "pipe, mat": (lambda f: fifo(f / "t.mat"), load_tasks, "got a pipe"),
    "pipe, toml": (lambda f: fifo(f / "t.toml"), load_tasks, "got a pipe"),
    "pipe, gain": (lambda f: fifo(f / "k.csv"), load_gain, "got a pipe"),
    "pipe, npy": (lambda f: fifo(f / "k.npy"), load_gain, "got a pipe"),
    "a loop of links": (lambda f: link(f / "t.npz", f / "t.npz"), load_tasks, "does not exist"),
    "a loop, gain": (lambda f: link(f / "k.csv", f / "k.csv"), load_gain, "does not exist"),
    "long text": (
        lambda f: (f / "k.csv").write_text("1," * 2**23 + "1") and f / "k.csv",
        load_gain,
        "larger than 16777216",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_refused_by_their_size_or_kind(name, tmp_path):
    make, read, message = FILES[name]
    path = make(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    # In kB; the peak of the process so far may lie above, never below, and 64 MiB are far less than any bomb here.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16


def test_an_unknown_member_beside_a_gain_is_not_read(tmp_path):
    path = bomb(tmp_path / "k.npz", "history.npy", K=np.ones((1, 1)))
    assert load_gain(path).shape == (1, 1)


def png(side):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(path, count, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(f"images/Latin/character{number // 20:02d}/0001_{number % 20:02d}.png", content)
    return path


def test_archives_of_many_members_and_of_large_pictures(tmp_path):
    padded = png(8) + bytes(2**20 - 1000)  # a megabyte of zeros, which the archive holds in a thousandth
    pictures(tmp_path / "many.zip", 257, padded)
    with pytest.raises(ValueError, match=r"must hold drawings of at most 268435456 bytes, got 26\d+; split it"):
        omniglot(tmp_path / "many.zip", cache=None)
    pictures(tmp_path / "large.zip", 520, png(1024))  # a gigabyte would be 1024 of them
    with pytest.raises(
        ValueError, match="must hold drawings of at most 536870912 pixels in all, and exceeds them with"
    ):
        omniglot(tmp_path / "large.zip", cache=None)


HUGE = ["2000000000000", "9" * 400]
OPTIONS = {
    "train --steps": "steps must be at most",
    "train --samples": "(number of )?samples must be at most",
    "train --inner-steps": "number of inner steps must be at most 1000",
    "train --seed": "the seed must lie between 0 and 2.32 - 1",
    "landscape --starts": "number of starts must be at most 100000",
    "landscape --resolution": "resolution must be at most 2048",
    "landscape --frames": "number of frames must be at most 1000",
    "landscape --steps": "number of steps must be at most",
    "landscape --seed": "the seed must lie between",
    "certified --max-steps": "max_steps must be at most",
    "certified --max-queries": "max_queries must lie between 0 and 1e.12",
    "certified --seed": "the seed must lie between",
    "bounds --seed": "the seed must lie between",
    "reproduce --seeds": "number of seeds must be at most 1000",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_counts_that_no_machine_can_serve(name, tmp_path, capsys):
    command, option = name.split()
    (tmp_path / "t.toml").write_text(TOML)
    words = [command, "toso2024"] if command == "reproduce" else [command, "--tasks", f"{tmp_path}/t.toml"]
    words += ["--out", f"{tmp_path}/out"] + (["--oracle", "zeroth-order"] if option == "--samples" else [])
    for value in HUGE + ["1e30"] * (option == "--max-queries"):
        assert main([*words, option, value]) == 2
        assert_one_sentence(capsys.readouterr(), OPTIONS[name])
        assert not (tmp_path / "out").exists()


def test_more_steps_than_the_history_of_many_tasks_can_have(tmp_path, capsys):
    (tmp_path / "t.toml").write_text(TOML + "[perturbation]\nnum_tasks = 50\nlevel = 0\n")
    assert main(["train", "--tasks", f"{tmp_path}/t.toml", "--out", f"{tmp_path}/out", "--steps", "10000000"]) == 2
    assert_one_sentence(capsys.readouterr(), r"steps must be at most \d+, so that the history takes at most 1024 MiB")


NOMINAL = {"A": [[1.05, 0.2], [0.0, 0.9]], "B": [[0.3], [1.0]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"perturbation": {"num_tasks": 4_000_000_000}},
            "tasks must take at most 256 MiB, which are .* tasks of 2 states",
        ),
        ({"perturbation": {"num_tasks": 4_000_000}}, "the tasks must take at most 256 MiB"),
        (
            {
                "perturbation": {"num_tasks": 300},
                "batch": 8192,
                "grid": {"seed": list(range(128)), "task_seed": list(range(64))},
            },
            "tasks of a batch",
        ),
        ({"settings": {"steps": 10**9}}, "steps must be at most"),
        ({"settings": {"steps": 2**62}}, "steps must be at most"),
        ({"settings": {"oracle": "zeroth-order", "samples": 10**9}}, "number of samples must be at most"),
        ({"grid": {"steps": [3, 10**9]}}, "steps must be at most"),
        ({"grid": {"seed": list(range(1001)), "task_seed": list(range(1001))}}, "combinations, more than 1000000"),
        ({"grid": None, "random": {"num_runs": 10**9, "ranges": {"seed": {"low": 0, "high": 1}}}}, "from 1 to 1000000"),
        (
            {"grid": None, "random": {"num_runs": 2, "ranges": {"level": {"low": 0.0, "high": float("inf")}}}},
            "low and high must be finite",
        ),
        (
            {"grid": None, "random": {"num_runs": 2, "ranges": {"level": {"low": -1e308, "high": 1e308}}}},
            "low and high must be finite",
        ),
        ({"grid": None, "random": {"num_runs": 2, "seed": -1, "ranges": {"seed": {"low": 0, "high": 1}}}}, "the seed"),
    ],
)
def test_sweeps_that_no_machine_can_serve(changes, message):
    document = {"nominal": NOMINAL, "perturbation": {"num_tasks": 3}, "grid": {"seed": [0]}} | changes
    with pytest.raises(ValueError, match=message):
        parse_spec({name: table for name, table in document.items() if table is not None})


@pytest.mark.slow
def test_a_bomb_of_ten_gigabytes_takes_no_memory_and_no_time(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        member(archive, "A.npy", (1, 2**15, 2**15), BIG)
        member(archive, "B.npy", (1, 2**15, 1), 2**18)
    code = (
        "import resource, sys; from jaxlqr.cli import main; code = main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "train", "--tasks", str(tmp_path / "t.npz"), "--out", str(tmp_path / "o")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 2
    assert "declares arrays of" in finished.stderr
    assert int(finished.stdout) < 2**20  # kB: less than a gigabyte with all libraries
