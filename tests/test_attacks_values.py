"""Values that no document should hold, in every place of one, and files that say two things: one sentence for each."""

import copy
import datetime
import struct
import zipfile
import zlib

import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.commands.sweep import load_spec, parse_spec
from jaxlqr.families.files import load_gain, load_tasks, parse_tasks
from tests.test_cli_bad_input import assert_one_sentence
from tests.test_fuzz import refusal

TASKS = {
    "nominal": {"A": [[1.0, 0.1], [0.0, 1.0]], "B": [[0.0], [0.1]], "Q": [[1.0, 0.0], [0.0, 1.0]], "dt": 0.1},
    "perturbation": {
        "num_tasks": 1,
        "level": 0.0,
        "seed": 5,
        "include_nominal": True,
        "masks": {"A": [[1.0, 0.0]] * 2},
    },
    "initial": {"K0": [[1.0, 1.0]]},
}
BOEING = {"nominal": {"family": "boeing", "variant": "released"}}
SWEEP = {
    "nominal": {"A": [[0.9]], "B": [[1.0]]},
    "perturbation": {"num_tasks": 1},
    "initial": {"K0": [[0.5]]},
    "settings": {
        "steps": 3, "inner_step": 0.1, "outer_step": 0.1, "samples": 4, "radius": 0.1,
        "oracle": "exact", "inner_steps": 1, "first_order": False, "optimizer": "sgd", "safeguard": True,
    },
    "batch": 1,
}  # fmt: skip
GRID = SWEEP | {"grid": {"seed": [0, 1], "level": [0.1]}}
RANDOM = SWEEP | {
    "random": {"num_runs": 2, "seed": 0, "ranges": {"seed": {"low": 0, "high": 3}, "level": {"low": 0.1, "high": 0.2}}}
}
DATE = datetime.date(2020, 1, 1)
STRANGE = ["x", "", True, [], [[]], ["x"], {}, {"a": 1}, -1, 0, 2**62, 1e23, 1e-320, float("inf"), float("nan"), DATE]
DOCUMENTS = {
    "tasks": (TASKS, parse_tasks),
    "boeing": (BOEING, parse_tasks),
    "grid": (GRID, parse_spec),
    "random": (RANDOM, parse_spec),
}


def places(value, path=()):
    """Paths to everything in a document but the entries of matrices."""
    for key, entry in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(entry, (*path, key))


def replaced(document, path, value):
    document = copy.deepcopy(document)
    table = document
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_strange_value_anywhere_is_used_or_refused(name):
    document, parse = DOCUMENTS[name]
    parse(document)
    refused = total = 0
    for path in places(document):
        for value in STRANGE:
            total += 1
            message = refusal(parse, replaced(document, path, value))
            assert message != "", (path, value)
            assert message is None or "\n" not in message, (path, value)
            refused += message is not None
    assert refused > total / 2


TEXTS = {
    "400 digits": ("[nominal]\nA = [[1" + "0" * 400 + "]]\nB = [[1]]\n", "integers must have at most 64 bits"),
    "400 digits, count": ("[perturbation]\nnum_tasks = 1" + "0" * 400 + "\n", "integers must have at most 64 bits"),
    "400 digits, negative": ("batch = -1" + "0" * 400 + "\n", "integers must have at most 64 bits"),
    "5000 digits": ("batch = " + "9" * 5000 + "\n", "toml: "),
    "deep list": ("a = " + "[" * 2000 + "]" * 2000 + "\n", "nested at most 20 deep"),
    "deep table": ("a = " + "{a=" * 2000 + "1" + "}" * 2000 + "\n", "nested at most 20 deep"),
    "deep key": (".".join(["a"] * 2000) + " = 1\n", "nested at most 20 deep"),
    "deep header": ("[" + ".".join(["a"] * 2000) + "]\n", "nested at most 20 deep"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_documents_that_are_too_deep_or_too_long(name, tmp_path):
    text, message = TEXTS[name]
    (tmp_path / "t.toml").write_text(text)
    for read in (load_tasks, load_spec):
        with pytest.raises(ValueError, match=message) as caught:
            read(tmp_path / "t.toml")
        assert len(str(caught.value)) < 500
        assert "\n" not in str(caught.value)


def npz_twice(path, name, other):
    np.savez(path, A=0.5 * np.ones((1, 1, 1)), B=np.ones((1, 1, 1)), K=np.ones((1, 1)))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate") if other else no_warning():
        archive.writestr(name, archive.read("A.npy"))
    return path


def no_warning():
    from contextlib import nullcontext

    return nullcontext()


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(name, value):
    """A compressed variable of one number."""
    parts = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, name)
    data = zlib.compress(element(14, parts + element(9, struct.pack("<d", value))))
    return struct.pack("<II", 15, len(data)) + data


def mat(path, *variables, cut=0):
    """A file of the variables; of the last one, the last ``cut`` bytes are missing, and its tag says so."""
    *first, last = (variable(*each) for each in variables)
    last = struct.pack("<II", 15, len(last) - 8 - cut) + last[8 : len(last) - cut]
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"".join(first) + last)
    return path


def test_two_members_of_one_name_are_refused(tmp_path):
    for name, duplicate in (("A.npy", True), ("A", False)):
        path = npz_twice(tmp_path / f"{name}.npz", name, duplicate)
        with pytest.raises(ValueError, match="must hold one array 'A', got two"):
            load_tasks(path)
        with pytest.raises(ValueError, match="must hold one array 'A', got two"):
            load_gain(path)
    good = mat(tmp_path / "t.mat", (b"A", 0.5), (b"B", 1.0), (b"Ts", 1.0))
    assert float(load_tasks(good).tasks.A[0, 0, 0]) == 0.5
    twice = mat(tmp_path / "t.mat", (b"A", 0.5), (b"B", 1.0), (b"A", 0.7), (b"Ts", 1.0))
    with pytest.raises(ValueError, match="must hold one variable A, got two"):
        load_tasks(twice)
    passed_over = mat(tmp_path / "t.mat", (b"A", 0.5), (b"B", 1.0), (b"C", 1.0), (b"C", 1.0), (b"Ts", 1.0))
    assert load_tasks(passed_over).tasks.A.shape == (1, 1, 1)  # nothing depends on C


@pytest.mark.parametrize("cut", [1, 4, 5, 8])
def test_a_mat_file_whose_checksum_is_cut_off_is_refused(tmp_path, cut):
    path = mat(tmp_path / "t.mat", (b"Ts", 1.0), (b"B", 1.0), (b"A", 0.5), cut=cut)
    with pytest.raises(ValueError, match="it is of another kind, truncated or corrupt"):
        load_tasks(path)


COORDINATORS = {
    "": "must be HOST:PORT",
    "host": "must be HOST:PORT",
    "host:": "must be HOST:PORT",
    ":": "must be HOST:PORT",
    "127.0.0.1:port": "must be HOST:PORT",
    "127.0.0.1:0": "port from 1 to 65535",
    "127.0.0.1:65536": "port from 1 to 65535",
    "127.0.0.1:-1": "must be HOST:PORT",
    "127.0.0.1:" + "9" * 400: "port from 1 to 65535",
    "http://127.0.0.1:80": "must be HOST:PORT",
    "127.0.0.1:80:80": "must be HOST:PORT",
    "a b:80": "must be HOST:PORT",
    "ho\nst:80": "must be HOST:PORT",
    "no-such-host.invalid:8000": "cannot be found",
    "x" * 300 + ":80": "must be HOST:PORT",
    "%s%n:80": "must be HOST:PORT",
    "999.999.999.999:80": "cannot be found",
}


@pytest.mark.parametrize("coordinator", COORDINATORS)
def test_coordinators_are_checked_before_jax_sees_them(coordinator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jax.distributed.initialize", lambda *_args, **_options: pytest.fail("it was given to JAX"))
    words = ["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o"), "--coordinator", coordinator]
    assert main([*words, "--num-processes", "2", "--process-id", "0"]) == 2
    assert_one_sentence(capsys.readouterr(), COORDINATORS[coordinator])


@pytest.mark.parametrize(
    ("count", "number"), [("0", "0"), ("-1", "0"), ("2", "2"), ("2", "-1"), ("9" * 400, "0"), ("100001", "0")]
)
def test_numbers_of_processes(count, number, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jax.distributed.initialize", lambda *_args, **_options: pytest.fail("it was given to JAX"))
    words = ["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o"), "--coordinator", "127.0.0.1:8000"]
    assert main([*words, "--num-processes", count, "--process-id", number]) == 2
    assert_one_sentence(capsys.readouterr(), "process_id must lie below num_processes|num_processes must be at most")


def test_a_folder_that_is_a_loop_of_links(tmp_path, capsys):
    (tmp_path / "t.toml").write_text("[nominal]\nA = [[0.5]]\nB = [[1.0]]\n")
    for name, target in (("one", "two"), ("two", "one")):
        (tmp_path / name).symlink_to(tmp_path / target)
    for command in (["train", "--tasks", "{}/t.toml"], ["bounds", "--tasks", "{}/t.toml"], ["reproduce", "toso2024"]):
        for out in ("one", "one/below"):
            words = [word.format(tmp_path) for word in command]
            assert main([*words, "--out", f"{tmp_path}/{out}"]) == 2
            assert_one_sentence(capsys.readouterr(), "exists and is not a folder")
    assert main(["sweep", "--status", f"{tmp_path}/one"]) == 2
    assert_one_sentence(capsys.readouterr(), "holds no sweep")
