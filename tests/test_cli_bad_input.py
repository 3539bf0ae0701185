"""What a user can get wrong: one sentence, exit code 2, no traceback, and nothing written."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.commands.train import load_start

A = np.stack([np.array([[1.1, 0.2], [0.0, 0.9]])] * 2)
B = np.stack([np.array([[0.0], [1.0]])] * 2)
GOOD: dict[str, Any] = {"A": A, "B": B}
TOML = "[nominal]\nA = [[1.1, 0.2], [0.0, 0.9]]\nB = [[0.0], [1.0]]\n"


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@dataclass(frozen=True, kw_only=True)
class Case:
    """Arrays of tasks.npz, or the text of another tasks file, with options; and the message they lead to."""

    message: str
    arrays: dict[str, Any] = field(default_factory=lambda: GOOD)
    file: str = "tasks.npz"
    content: str | bytes | None = None
    options: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    out: str = "out"


def truncated(folder):
    path = folder / "tasks.npz"
    path.write_bytes(path.read_bytes()[:200])


def one_array(folder):
    with (folder / "tasks.npz").open("wb") as file:
        np.save(file, A)


def words(folder):
    (folder / "k.csv").write_text("one,two\n")


def blocked(name):
    return lambda folder: (folder / name).write_text("not a folder")


CASES = {
    # The tasks.
    "A not square": Case(
        arrays={**GOOD, "A": A[:, :1]}, message=r"task 0: A must be a square matrix .* shape \(1, 2\)"
    ),
    "A one matrix": Case(arrays={**GOOD, "A": A[0]}, message=r"A and B must have shapes \[M, n, n\] and \[M, n, m\]"),
    "B rows": Case(arrays={**GOOD, "B": B[:, :1]}, message=r"task 0: B must have shape \[2, m\]"),
    "B count": Case(arrays={**GOOD, "B": B[:1]}, message="one matrix for each of M tasks"),
    "no B": Case(arrays={"A": A}, message="must have B, got A"),
    "Q shape": Case(arrays={**GOOD, "Q": np.eye(3)}, message=r"task 0: Q must have shape \(2, 2\), got \(3, 3\)"),
    "Q vector": Case(arrays={**GOOD, "Q": np.ones(2)}, message=r"Q must be one matrix .*\(2,\)"),
    "R count": Case(arrays={**GOOD, "R": np.ones((5, 1, 1))}, message=r"R must be one matrix for all tasks or one"),
    "Q asymmetric": Case(arrays={**GOOD, "Q": np.array([[1.0, 1], [0, 1]])}, message="task 0: Q must be symmetric"),
    "Q indefinite": Case(
        arrays={**GOOD, "Q": np.stack([np.eye(2), np.diag([1.0, -1.0])])},
        message="task 1: Q must be positive semidefinite, got a smallest eigenvalue of -1",
    ),
    "R singular": Case(arrays={**GOOD, "R": np.zeros((1, 1))}, message="task 0: R must be positive definite"),
    "Sigma0 indefinite": Case(arrays={**GOOD, "Sigma0": -np.eye(2)}, message="task 0: Sigma0 must be positive semi"),
    "A NaN": Case(
        arrays={**GOOD, "A": changed(A, (1, 0, 1), np.nan)}, message=r"task 1: A must be finite, .* \(0, 1\)"
    ),
    "B infinite": Case(
        arrays={**GOOD, "B": changed(B, (0, 1, 0), np.inf)}, message="task 0: B must be finite, got inf"
    ),
    "complex": Case(arrays={**GOOD, "A": A + 1j}, message="A in the file must be real numbers"),
    "unstabilizable": Case(arrays={**GOOD, "B": changed(B, 1, 0.0)}, message=r"task 1: \(A, B\) must be stabilizable"),
    "zero tasks": Case(arrays={"A": A[:0], "B": B[:0]}, message="must hold at least one task"),
    "array name": Case(arrays={**GOOD, "sigma": A}, message="unknown key 'sigma' in the file; did you mean 'Sigma0'"),
    # The files.
    "missing file": Case(file="absent.npz", message=r"the tasks file .*absent.npz does not exist"),
    "folder as file": Case(file="folder.npz", prepare=lambda f: (f / "folder.npz").mkdir(), message="is a folder"),
    "truncated": Case(prepare=truncated, message="cannot be read as a NumPy file"),
    "corrupt": Case(content=b"\x00\x01 not an archive", message="cannot be read as a NumPy file"),
    "empty file": Case(content=b"", message="cannot be read as a NumPy file"),
    "pickled": Case(
        arrays={**GOOD, "Q": np.array([{"a": 1}, None], dtype=object)},
        message="arrays of Python objects, .* a pickle can",
    ),
    "one array": Case(
        prepare=one_array,
        message="not an .npz archive; write it with",
    ),
    "kind of file": Case(file="tasks.csv", content="x", message=r"must end in .npz, .mat or .toml"),
    "invalid TOML": Case(file="t.toml", content="[nominal\n", message=r"not valid TOML: .*line 1"),
    "not text": Case(file="t.toml", content=b"\xff\xfe\x00", message="not valid TOML"),
    "TOML key": Case(
        file="t.toml",
        content=TOML + "[perturbation]\nnum_tasks = 3\nlevels = 0.1\n",
        message="unknown key 'levels' in .perturbation.; did you mean 'level'",
    ),
    "TOML zero tasks": Case(
        file="t.toml", content=TOML + "[perturbation]\nnum_tasks = 0\nlevel = 0.1\n", message="num_tasks .* at least 1"
    ),
    "TOML family": Case(file="t.toml", content='[nominal]\nfamily = "bowing"\n', message="unknown family 'bowing'"),
    # The initial gain.
    "K0 unstable": Case(
        arrays={**GOOD, "K0": np.zeros((1, 2))},
        message=r"K0 must stabilise every task.*2 of 2 .*task 0: 1\.1000, task 1: 1\.1000",
    ),
    "K0 unstable for one": Case(
        arrays={"A": changed(A, (1, 0, 0), 3.0), "B": B, "K0": np.array([[2.0, 1.0]])},
        message=r"does not stabilise 1 of 2 .*task 1: \d\.\d{4}\)",
    ),
    "average optimum unstable": Case(
        arrays={"A": np.array([[[2.0]], [[2.0]]]), "B": np.array([[[1.0]], [[0.2]]])},
        message=r"the optimum of the average task, .* does not stabilise 1 of 2 .*task 1: \d",
    ),
    "no average optimum": Case(
        arrays={"A": np.array([[[2.0]], [[2.0]]]), "B": np.array([[[1.0]], [[-1.0]]])},
        message="the average task has no stabilising optimum to start from; give a K0",
    ),
    "K0 shape": Case(arrays={**GOOD, "K0": np.zeros((2, 2))}, message=r"K0 must have shape \(1, 2\).*\(2, 2\)"),
    "K0 NaN": Case(arrays={**GOOD, "K0": np.full((1, 2), np.nan)}, message="K0 must be a finite matrix"),
    "K0 vector": Case(arrays={**GOOD, "K0": np.zeros(2)}, message=r"K0 must be a finite matrix \[m, n\]"),
    "k0 file missing": Case(options=("--k0", "absent.csv"), message="the gain file absent.csv does not exist"),
    "k0 file is words": Case(
        file="tasks.npz",
        prepare=words,
        options=("--k0", "{folder}/k.csv"),
        message="is not a comma-separated matrix",
    ),
    # The options.
    "steps not a number": Case(options=("--steps", "abc"), message=r"'--steps': .* integer.*, got 'abc'; see: jaxlqr"),
    "dt not a number": Case(options=("--dt=zehn",), message=r"'--dt': .* number.*, got 'zehn'; see: jaxlqr train"),
    "minibatch": Case(options=("--minibatch", "3"), message="minibatch_size must be at most the number of tasks, 2"),
    "queries of an exact oracle": Case(
        options=("--max-queries", "9"), message="max_queries must be None with the exact"
    ),
    "no such pattern": Case(options=("--tasks", "none*.npz"), message=r"the pattern none\*\.npz of tasks files must"),
    "continuous": Case(
        arrays={"A": 30 * (A - 2 * np.eye(2)), "B": B, "K0": np.zeros((1, 2))},
        message=r"does not stabilise 2 of 2 .* real part is below -1, here -33, give the .*\(--dt\)",
    ),
    "no steps": Case(options=("--steps", "0"), message="number of steps must be at least 1, got 0"),
    "steps word": Case(options=("--steps", "many"), message="'--steps'"),
    "negative outer step": Case(options=("--outer-step", "-1"), message="outer step size must be positive .*-1"),
    "zero inner step": Case(options=("--inner-step", "0"), message="inner step size must be positive .*0"),
    "NaN step": Case(options=("--outer-step", "nan"), message="outer step size must be positive and finite, got nan"),
    "infinite step": Case(options=("--outer-step", "inf"), message="must be positive and finite, got inf"),
    "radius 0": Case(options=("--oracle", "zeroth-order", "--radius", "0"), message="radius must be positive"),
    "no samples": Case(options=("--oracle", "zeroth-order", "--samples", "0"), message="samples must be at least 1"),
    "negative inner steps": Case(options=("--inner-steps", "-1"), message="inner steps must be at least 0"),
    "negative seed": Case(options=("--seed", "-1"), message="the seed must lie between"),
    "oracle": Case(
        options=("--oracle", "zeroth_order"), message="unknown oracle 'zeroth_order'; did you .*'zeroth-order'"
    ),
    "optimizer": Case(options=("--optimizer", "adm"), message="unknown optimizer 'adm'; did you mean 'adam'"),
    "option": Case(options=("--outer-stp", "1"), message="No such option: --outer-stp .*--outer-step"),
    # The output folder.
    "out is a file": Case(
        prepare=blocked("out"), message="cannot be created, because .*out exists and is not a folder"
    ),
    "out below a file": Case(prepare=blocked("file"), out="file/a/out", message="file exists and is not a folder"),
    "out name too long": Case(out="x" * 300, message="cannot be written: File name too long"),
    "result is a folder": Case(
        arrays={**GOOD, "K0": np.array([[2.0, 1.0]])},
        prepare=lambda folder: (folder / "out" / "summary.json").mkdir(parents=True),
        message="summary.json cannot be written, because a folder has its name",
    ),
    "tasks in the way": Case(file="gain.npz", out=".", message="would be replaced by a result"),
}


def tree(folder):
    """Everything below a folder, with the content of files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_and_nothing_written(name, tmp_path, capsys):
    case = CASES[name]
    path = tmp_path / case.file
    if isinstance(case.content, str):
        path.write_text(case.content)
    elif case.content is not None:
        path.write_bytes(case.content)
    elif case.file.endswith(".npz") and case.file not in ("absent.npz", "folder.npz"):
        np.savez(path, **case.arrays)
    case.prepare(tmp_path)
    before = tree(tmp_path)
    options = [option.format(folder=tmp_path) for option in case.options]
    assert main(["train", "--tasks", str(path), "--out", str(tmp_path / case.out), *options]) == 2
    assert tree(tmp_path) == before
    assert_one_sentence(capsys.readouterr(), case.message)


def assert_one_sentence(printed, message):
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert re.search(message, printed.err), printed.err
    # One sentence: no full stop, question or exclamation mark that another sentence follows.
    assert not re.search(r"[a-z)\]][.?!] [A-Z][a-z]+ ", printed.err), printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "toso2042"], "unknown paper 'toso2042'; did you mean 'toso2024'"),
        (["reproduce", "x"], "unknown paper 'x'; known are toso2024"),
        (["reproduce", "toso2024", "--seeds", "0"], "number of seeds must be at least 1, got 0"),
        (["reproduce", "toso2024", "--out", "{file}/out"], "exists and is not a folder"),
        (["reproduce", "molybog2021", "--data", "."], "molybog2021 has no option --data; leave it out"),
        (["reproduce", "nguyen2023", "--part", "x"], "unknown part 'x' of nguyen2023; known are trajectories, lqr"),
        (["reproduce", "nguyen2023", "--part", "lqr", "--data", "."], "no data are read by lqr of nguyen2023"),
        (["reproduce"], "Missing argument 'PAPER'"),
        (["train"], "Missing option '--tasks'"),
        (["train", "--tasks", "x.npz"], "Missing option '--out'"),
    ],
)
def test_commands(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main([argument.format(file=tmp_path / "file") for argument in arguments]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert_one_sentence(capsys.readouterr(), message)


def test_unknown_command_names_the_near_one(capsys):
    assert main(["trian"]) == 2
    printed = capsys.readouterr()
    assert printed.err == "error: No such command 'trian'. Did you mean 'train'?\n"


def test_more_inputs_than_states_are_allowed(tmp_path):
    np.savez(tmp_path / "t.npz", A=np.array([[[1.2]], [[1.1]]]), B=np.array([[[1.0, 0.5, 0.2]]] * 2))
    assert load_start(tmp_path / "t.npz").K0.shape == (3, 1)  # test_cli.py trains on these
