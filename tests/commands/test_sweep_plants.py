"""Sweeps over the plants of a file: every run trains on the same tasks."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxlqr.cli import main
from jaxlqr.commands.sweep import parse_spec

SPEC = """
[tasks]
files = ["plants/*.npz"]

[settings]
steps = 3
inner_step = 1e-4
minibatch = 1

[grid]
outer_step = [1e-3, 2e-3]
seed = [0, 1]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plants").mkdir()
    A = np.array([[1.05, 0.2], [0.0, 0.9]]) + 0.02 * np.random.default_rng(0).normal(size=(3, 2, 2))
    B = np.broadcast_to([[0.3], [1.0]], (3, 2, 1))
    np.savez(tmp_path / "plants" / "a.npz", A=A[:2], B=B[:2], K0=np.array([[0.5, 0.5]]))
    np.savez(tmp_path / "plants" / "b.npz", A=A[2:], B=B[2:])
    (tmp_path / "sweep.toml").write_text(SPEC)
    return tmp_path


def test_every_run_trains_on_the_plants_of_the_files(folder, capsys):
    arguments = [str(folder / "sweep.toml"), "--out", str(folder / "swept")]
    assert main(["sweep", *arguments]) == 0
    rows = pq.read_table(folder / "swept" / "results.parquet").to_pylist()
    assert [(row["outer_step"], row["seed"]) for row in rows] == [(1e-3, 0), (1e-3, 1), (2e-3, 0), (2e-3, 1)]
    assert "level" not in rows[0]
    best = min(rows, key=lambda row: row["gap_last"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("best run"))
    assert line.startswith(f"best run: {best['run']} (outer_step {best['outer_step']}, seed {best['seed']}); cost ")
    # Other plants are another sweep.
    np.savez(folder / "plants" / "b.npz", A=np.full((1, 2, 2), 0.1), B=np.ones((1, 2, 1)))
    assert main(["sweep", *arguments, "--resume"]) == 2
    assert "holds a sweep, which differs in sha256; resume" in capsys.readouterr().err


@pytest.mark.slow
def test_the_train_command_on_the_same_files_gives_the_same_gain(folder):
    assert main(["sweep", str(folder / "sweep.toml"), "--out", str(folder / "swept")]) == 0
    rows = pq.read_table(folder / "swept" / "results.parquet").to_pylist()
    options = ["--steps", "3", "--inner-step", "1e-4", "--outer-step", "2e-3", "--minibatch", "1", "--seed", "1"]
    assert main(["train", "--tasks", str(folder / "plants" / "*"), "--out", str(folder / "run"), *options]) == 0
    gain = np.load(folder / "run" / "gain.npz")["K"]
    np.testing.assert_allclose(np.reshape(rows[3]["gain"], (1, 2)), gain, rtol=1e-9)  # a batch: rounding, three steps


PLANTS = {"files": "plants/a.npz"}
SYSTEM = {"A": [[0.9]], "B": [[1.0]]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"tasks": "plants.npz"}, r"tasks must be a table, written \[tasks\], got 'plants.npz'"),
        ({"tasks": {}}, r"files in \[tasks\] must be the name of a file, or a list of names, got None"),
        ({"tasks": {"files": [1]}}, r"list of names, got \[1\]"),
        ({"tasks": {"file": "x"}}, "unknown key 'file' in .tasks.; did you mean 'files'"),
        ({"tasks": {"files": "none*"}}, "the pattern .*none. of tasks files must match"),
        ({"tasks": PLANTS, "nominal": SYSTEM}, r"\[nominal\] must not stand beside \[tasks\]"),
        ({"tasks": PLANTS, "initial": {"K0": [[0.1]]}}, r"\[initial\] must not stand beside \[tasks\]; save K0"),
        ({"tasks": PLANTS, "grid": {"level": [0.1]}}, r"level must not be an axis beside \[tasks\]"),
    ],
)
def test_bad_plants(folder, document, message):
    with pytest.raises(ValueError, match=message):
        parse_spec({"grid": {"seed": [0]}} | document, folder=folder)
