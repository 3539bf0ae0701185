"""What needs an extra names it in one sentence; ``.ci/base_install.py`` uses the rest where no extra is installed."""

import importlib
import sys

import pytest

from jaxlqr import __main__, commands, plots
from jaxlqr.core.optional import MissingExtraError, is_installed
from jaxlqr.io import console
from jaxlqr.io.locking import locked
from jaxlqr.io.progress import LogLines, Silent, open_progress
from jaxlqr.matrix_equations import register_in_pytensor
from jaxlqr.training import Checkpoints


def lock(folder):
    with locked(folder):
        pass


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("matplotlib.figure", "plots", lambda _: plots.new_figure()),
        ("matplotlib", "plots", lambda _: plots.plot_weights([[0.5, 0.5]])),
        ("matplotlib.colors", "plots", lambda _: plots.plot_landscape([0, 1], [0, 1], [[0, 1], [1, 2]])),
        ("PIL.Image", "plots", lambda _: plots.animation([])),
        ("orbax.checkpoint", "checkpoints", lambda folder: Checkpoints(folder=folder)),
        ("filelock", "checkpoints", lambda folder: Checkpoints(folder=folder)),
        ("filelock", "checkpoints", lock),
        ("tqdm.auto", "cli", lambda _: open_progress(3, "step", progress=True)),
        ("rich.console", "cli", lambda _: console.open_console()),
        ("pytensor.link.jax.dispatch.basic", "pytensor", lambda _: register_in_pytensor()),
        ("matplotlib", "cli", lambda _: importlib.reload(commands)),  # before a run whose end would draw
    ],
)
def test_what_is_missing_is_named_with_its_extra(monkeypatch, tmp_path, module, extra, call):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    with pytest.raises(MissingExtraError, match=rf"needs {package}; .*pip install 'jaxlqr\[{extra}\]'$"):
        call(tmp_path)


@pytest.mark.parametrize("package", ["typer", "rich", "tqdm", "matplotlib"])
def test_the_command_line_without_its_extra_ends_with_one_sentence(monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert __main__.main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: the command line needs {package}; install it with: pip install 'jaxlqr[cli]'\n"


def test_a_bar_is_no_condition_of_training(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert not isinstance(open_progress(3, "step", progress=None), LogLines)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert type(open_progress(3, "step", progress=None)) is LogLines
    assert type(open_progress(3, "step", progress=False)) is Silent


def test_a_module_is_found_without_its_import():
    assert is_installed("json.tool")
    assert not is_installed("json.no_such_part")
    assert not is_installed("no_such_package.part")
