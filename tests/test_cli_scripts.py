"""The command line in scripts: JSON, quiet, pipes, completion, what to type next, and the page that documents it."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.io
import typer.main
from rich.table import Table

import jaxlqr
from jaxlqr.cli import PAPERS, app, main
from jaxlqr.cli import info as info_command
from jaxlqr.commands import train as experiment
from jaxlqr.io.console import open_console
from jaxlqr.papers.driver import Outcome, Paper, Part, unchecked

DOCS = Path(__file__).parents[1] / "docs"
COMMANDS: dict = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group


@pytest.fixture
def tasks(tmp_path):
    A = np.array([[1.1, 0.2], [0.0, 0.9]]) + 0.02 * np.random.default_rng(0).normal(size=(3, 2, 2))
    np.savez(tmp_path / "plants.npz", A=A, B=np.broadcast_to([[0.0], [1.0]], (3, 2, 1)), K0=np.array([[2.0, 1.0]]))
    return tmp_path / "plants.npz"


def test_train_gives_one_json_document(tasks, tmp_path, capsys):
    assert main(["train", "--tasks", str(tasks), "--out", str(tmp_path / "out"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert printed.err == ""


def test_json_of_a_diverged_run_has_null_and_exit_code_1(tasks, tmp_path, capsys):
    options = ["--no-safeguard", "--outer-step", "10", "--inner-step", "1e-6", "--inner-steps", "0", "--steps", "5"]
    assert main(["train", "--tasks", str(tasks), "--out", str(tmp_path / "out"), "--json", *options]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["cost_median"]["last"] is None
    assert printed.err.startswith("warning: ")


def test_json_of_bad_input_is_empty(tmp_path, capsys):
    assert main(["train", "--tasks", str(tmp_path / "no.npz"), "--out", str(tmp_path / "out"), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_reproduce_prints_what_was_asked_for(tmp_path, monkeypatch, capsys, option):
    fake, calls = types.ModuleType("jaxlqr.papers.toso2024.reproduction"), []

    def found(request):
        calls.append(request)
        return Outcome({"gap": np.array([0.5, np.inf]), "folder": request.out}, {}, {}, [Table("a table")])

    vars(fake)["PAPER"] = Paper("toso2024", {"all": Part(unchecked(found))})
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    assert main(["reproduce", "toso2024", "--out", str(tmp_path / "o"), option]) == 0
    out = capsys.readouterr().out
    assert calls[0].progress is (None if option == "--json" else False)
    if option == "--quiet":
        assert out == ""
    else:
        told = json.loads(out)
        assert (told["paper"], told["gap"], told["folder"]) == ("toso2024", [0.5, None], str(tmp_path / "o"))


def test_every_command_takes_json_and_has_an_example():
    assert list(COMMANDS) == ["train", "sweep", "landscape", "bounds", "certified", "reproduce", "info"]
    for name, command in COMMANDS.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options
        assert ("--quiet" in options) == (name != "info")
        assert f"  jaxlqr {name}" in command.epilog


def test_a_table_in_a_pipe_is_whole(capsys):
    caption = "a caption that is longer than the table is wide: " + "word " * 200 + "its end"
    table = Table("name", "value", title="a title", caption=caption)
    table.add_row("long " * 60 + "end", "1 | 2")
    open_console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a title"
    assert lines[-1] == caption
    assert [line for line in lines if "long long" in line and "end" in line and "…" not in line]
    assert sum(line.startswith("|") for line in lines) == 3


def test_a_table_in_a_terminal_has_its_width(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    table = Table("name")
    table.add_row("long " * 60)
    open_console().print(table)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()  # without colours
    assert max(map(len, lines)) <= 60
    assert "┃" in lines[1]


def test_info_tells_what_a_report_needs(capsys):
    assert main(["info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["jaxlqr"] == jaxlqr.__version__
    assert told["packages"]["jax"] == jax.__version__
    assert [one["platform"] for one in told["devices"]] == [one.platform for one in jax.devices()]
    assert told["precision"]["commands"] == "float64"
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"\| jax +\| {re.escape(jax.__version__)} +\|", printed)
    assert "float64 in commands" in printed


def test_extras_are_read_from_the_installation(monkeypatch):
    class Installed:
        requires = (
            "jax>=0.1",
            'absent-package>=1; extra == "one"',
            'numpy>=2; extra == "one"',
            'numpy>=99; extra == "two"',
            'jaxlqr[one]; extra == "all"',
            'numpy>=1; extra == "three"',
        )
        metadata = types.SimpleNamespace(get_all=lambda _: ["one", "two", "three", "all"])

    module = sys.modules[info_command.__module__]
    monkeypatch.setattr(module.metadata, "distribution", lambda _: Installed)  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_version", {"numpy": "2.1", "jax": "0.9"}.get)
    extras = module._extras()  # type: ignore[attr-defined]
    assert {name: one["missing"] for name, one in extras.items()} == {
        "one": ["absent-package"], "two": ["numpy"], "three": [], "all": ["absent-package"],
    }  # fmt: skip
    assert extras["three"]["installed"]
    assert extras["one"]["install"] == "pip install 'jaxlqr[one]'"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "--task", "x"], "--tasks"),
        (["train"], "Missing option '--tasks'; see: jaxlqr train --help"),
        (["reproduce", "toso2042"], "did you mean 'toso2024'?"),
        (["train", "--tasks", "plnts.npz", "--out", "o"], "plnts.npz does not exist; did you mean plants.npz?"),
        (["train", "--tasks", "plants.npz", "--k0", "gian.npz", "--out", "o"], "did you mean gain.npz?"),
        (["train", "--tasks", "no/plants.npz", "--out", "o"], "the tasks file no/plants.npz does not exist."),
        (["sweep", "swep.toml", "--out", "o"], "did you mean sweep.toml?"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(tasks, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tasks.parent)
    Path("gain.npz").write_bytes(b"")
    Path("sweep.toml").write_text("")
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "s.toml").write_text((DOCS / "examples" / "sweep.toml").read_text())
    assert main(["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o")]) == 2
    assert "pip install 'jaxlqr[sweep]'" in capsys.readouterr().err


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_ctrl_c_says_which_line_goes_on(tasks, tmp_path, monkeypatch, capsys, resume):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("stopped after step 3 of 9, of which a checkpoint is kept.")

    monkeypatch.setattr(experiment, "meta_train", interrupted)
    words = ["train", "--tasks", str(tasks), "--out", str(tmp_path / "a folder"), "--checkpoint-every", "3", *resume]
    assert main(words) == 130
    said = capsys.readouterr().err
    line = said.split("Go on with: ")[1].strip()
    expected = words if resume else [*words, "--resume"]
    assert shlex.split(line) == ["jaxlqr", *expected]
    assert said.startswith("interrupted: stopped after step 3 of 9")


def test_the_shell_completes_commands_and_papers():
    def completed(line):
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_JAXLQR_COMPLETE": "complete_bash"}
        run = subprocess.run(
            [sys.executable, "-m", "jaxlqr"], env=os.environ | words, capture_output=True, text=True, check=False
        )
        return run.stdout.split()

    assert completed("jaxlqr lan") == ["landscape"]
    assert set(completed("jaxlqr reproduce ")) == set(PAPERS)
    assert completed("jaxlqr train --oracle z") == ["zeroth-order"]


def script():
    spec = importlib.util.spec_from_file_location("command_line_page", DOCS / "command_line.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_help_of_this_version():
    page = (DOCS / "command_line.md").read_text(encoding="utf-8")
    for name, command in COMMANDS.items():
        assert f"$ jaxlqr {name} --help" in page
        for parameter in command.params:
            assert all(option in page for option in parameter.opts if option.startswith("--"))
    text = script().help_text("train")
    assert max(map(len, text.splitlines())) <= 100
    if f"--steps {'<int>'}" not in text:
        pytest.skip("another version of typer formats its help differently")
    assert script().refreshed(page) == page, "run: python docs/command_line.py"


def test_help_does_not_load_what_computes():
    code = (
        "import sys; from jaxlqr.cli import main; main(['--help']);"
        "heavy = ('matplotlib', 'optax', 'orbax', 'pyarrow', 'jaxlqr.commands', 'jaxlqr.papers');"
        "print([n for n in heavy if n in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"
    assert "Exit codes:" in run.stdout


def test_a_system_in_continuous_time_is_held(tmp_path, capsys):
    """A COMPleib-style file: without a sampling time the error says what to give, with --dt it is trained on."""
    scipy.io.savemat(tmp_path / "plant.mat", {"A": [[0.0, 1.0], [0.0, 0.0]], "B2": [[0.0], [1.0]], "C": np.eye(2)})
    words = ["train", "--tasks", str(tmp_path / "plant.mat"), "--out", str(tmp_path / "out"), "--steps", "3", "--json"]
    assert main(words) == 2
    assert "give the sampling time dt of a zero-order hold, such as 0.1" in capsys.readouterr().err
    assert main([*words, "--dt", "-0.1"]) == 2
    assert "dt must be" in capsys.readouterr().err
    assert main([*words, "--dt", "0.1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["dt"], told["num_tasks"]) == (0.1, 1)
    # The optimum of the held system, where training starts, is that of make_task with the same dt.
    with np.load(tmp_path / "out" / "gain.npz") as gain:
        held = jaxlqr.make_task([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], dt=0.1)
        np.testing.assert_allclose(gain["K0"], jaxlqr.optimal_gain(held), rtol=1e-12)
