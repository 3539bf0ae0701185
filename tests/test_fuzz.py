"""Mutated files: each is read, or refused by the documented error; nothing else happens.

The default run takes a few hundred mutants of each kind of file, the slow one 100,000 in all.
"""

import io
import json
import shutil
import warnings
import zipfile

import numpy as np
import pytest

import jaxlqr
from jaxlqr.commands.sweep import load_spec
from jaxlqr.commands.sweep.store import read_description
from jaxlqr.families import files
from jaxlqr.families.files import load_gain, load_tasks
from jaxlqr.papers.nguyen2023.omniglot import omniglot
from jaxlqr.training import Checkpoints
from tests.commands.test_sweep import SPEC
from tests.papers.nguyen2023.fake_omniglot import drawings, write_zip
from tests.training.setting import train_quartic

FEW, MANY = 200, 15_000
TASKS = """
[nominal]
A = [[1.0, 0.1], [0.0, 1.0]]
B = [[0.0], [0.1]]
Q = [[1.0, 0.0], [0.0, 1.0]]
[perturbation]
num_tasks = 3
level = [0.01, 0.02, 0.0, 0.0]
seed = 5
masks.A = [[1.0, 0.0], [0.0, 0.0]]
[initial]
K0 = [[1.0, 1.0]]
"""


def mutants(content, count, seed=0):
    """``content`` with bytes flipped, changed, cut out, doubled, inserted or moved, or cut off."""
    generator = np.random.default_rng(seed)
    interesting = [
        b"\x00",
        b"\xff",
        b"9",
        b"-",
        b"e9",
        b"nan",
        b"[",
        b"]",
        b'"',
        b"\xff\xff\xff\x7f",
        b"../",
        b"\n",
        b"=",
    ]
    for _ in range(count):
        data = bytearray(content)
        for _ in range(int(generator.integers(1, 5))):
            if not data:
                break
            i, j = sorted(int(k) for k in generator.integers(0, len(data) + 1, size=2))
            j = min(j, i + int(generator.integers(1, 64)))
            kind = int(generator.integers(7))
            if kind == 0:
                data[min(i, len(data) - 1)] ^= 1 << int(generator.integers(8))
            elif kind == 1:
                data[min(i, len(data) - 1)] = int(generator.integers(256))
            elif kind == 2:
                del data[i:j]
            elif kind == 3:
                data[i:i] = data[i:j]
            elif kind == 4:
                data[i:i] = interesting[int(generator.integers(len(interesting)))]
            elif kind == 5:
                piece = data[i:j]
                del data[i:j]
                place = int(generator.integers(len(data) + 1))
                data[place:place] = piece
            else:
                del data[i:]
        yield bytes(data)


def npz(compressed):
    buffer = io.BytesIO()
    A, B = 0.5 * np.ones((3, 2, 2)), np.ones((3, 2, 1))
    (np.savez_compressed if compressed else np.savez)(buffer, A=A, B=B, R=np.ones((3, 1, 1)), K0=np.zeros((1, 2)))
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.ones((1, 2)))
    return buffer.getvalue()


def archive(tmp_path):
    return write_zip(tmp_path / "good.zip", drawings({"Latin": 2}, count=2), inside="images_background").read_bytes()


def read_omniglot(path):
    return omniglot(path.parent, cache=None)


CASES = {
    "tasks.npz": (lambda _: npz(False), load_tasks),
    "compressed.npz": (lambda _: npz(True), load_tasks),
    "gain.npy": (lambda _: npy(), load_gain),
    "gain.csv": (lambda _: b"1.0, 2.0\n3.0, 4.0\n", load_gain),
    "tasks.toml": (lambda _: TASKS.encode(), load_tasks),
    "sweep.toml": (lambda _: SPEC.encode(), load_spec),
    "omniglot/images_background_small1.zip": (archive, read_omniglot),
}


def refusal(read, path):
    """What a refused file is told, None for one that is read; any error but the documented one is raised."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return None


def check_reader(name, tmp_path, monkeypatch, count):
    # What is asked of the random numbers is valid by then, but may be millions of tasks, or a shape to compile.
    monkeypatch.setattr(files, "perturb", lambda _key, task, *_args, **_options: jaxlqr.stack_tasks([task]))
    make, read = CASES[name]
    content = make(tmp_path)
    (tmp_path / "good.zip").unlink(missing_ok=True)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    read(path)
    refused = 0
    before = {other for other in tmp_path.rglob("*") if other != path}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's and zipfile's own
        for mutant in mutants(content, count):
            path.write_bytes(mutant)
            message = refusal(read, path)
            assert message != "", mutant
            refused += message is not None
    assert refused > count / 10  # the mutants are no duplicates of what is good
    assert {other for other in tmp_path.rglob("*") if other != path} == before  # nothing was written


@pytest.mark.parametrize("name", CASES)
def test_mutated_files_are_read_or_refused(name, tmp_path, monkeypatch):
    check_reader(name, tmp_path, monkeypatch, FEW // 4 if "toml" in name else FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_mutated_files_are_read_or_refused(name, tmp_path, monkeypatch):
    check_reader(name, tmp_path, monkeypatch, MANY)


@pytest.mark.parametrize("count", [5, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_checkpoints_are_used_whole_or_not_at_all(tmp_path, count):
    def run(folder, num_steps, *, resume):
        checkpoints = Checkpoints(folder=folder, every=4, resume=resume)
        return train_quartic(num_steps=num_steps, every=4, checkpoints=checkpoints)

    run(tmp_path / "good", 8, resume=False)
    expected = np.asarray(train_quartic(num_steps=8, every=4).params)

    def resume_to_the_same_bits(folder):
        np.testing.assert_array_equal(run(folder, 8, resume=True).params, expected)

    names = sorted(path.relative_to(tmp_path / "good") for path in (tmp_path / "good").rglob("*") if path.is_file())
    generator = np.random.default_rng(1)
    for number in range(count):
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        victim = tmp_path / "bad" / names[int(generator.integers(len(names)))]
        victim.write_bytes(next(mutants(victim.read_bytes(), 1, seed=number)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # damaged checkpoints are told so
            message = refusal(resume_to_the_same_bits, tmp_path / "bad")
        # Refused only where the description of the run itself is damaged.
        assert message is None or "which differs in" in message or "must describe checkpoints" in message
        shutil.rmtree(tmp_path / "bad")


def test_mutated_descriptions_of_sweeps_are_refused(tmp_path):
    good = json.dumps({"sha256": "0", "axes": ["level"], "runs": 2, "batches": 1}).encode()
    for mutant in mutants(good, FEW):
        (tmp_path / "sweep.json").write_bytes(mutant)
        assert "sweep.json" in (refusal(read_description, tmp_path) or "sweep.json is read")


def header(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (2**62, 2**62), (3, 2, 3)])
def test_nothing_is_allocated_by_a_header(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "tasks.npz", "w") as file:
        file.writestr("A.npy", header(shape) + np.ones((3, 2, 2)).tobytes())
    (tmp_path / "gain.npy").write_bytes(header(shape) + np.ones((1, 2)).tobytes())
    for read, name in ((load_tasks, "tasks.npz"), (load_gain, "gain.npy")):
        with pytest.raises(ValueError, match="declares an array of shape"):
            read(tmp_path / name)


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path):
    with zipfile.ZipFile(tmp_path / "tasks.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("A.npy", b"x")
    content = bytearray((tmp_path / "tasks.npz").read_bytes())
    place = content.index(b"PK\x01\x02") + 24  # the size before compression, in the central directory
    content[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "tasks.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read as a NumPy file|declares"):
        load_tasks(tmp_path / "tasks.npz")
