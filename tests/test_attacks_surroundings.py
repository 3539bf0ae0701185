"""Surroundings that are wrong: closed and full streams, encodings, variables of the environment, ignored signals."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxlqr.cli import main
from jaxlqr.cli.streams import guarded_streams
from jaxlqr.papers.units import FOLDER, units_in
from jaxlqr.training.interrupt import stop_requests

FULL = Path("/dev/full")


class Broken(io.TextIOWrapper):
    """A stream that fails with the given error when it is flushed or written."""

    def __init__(self, error):
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.error = error

    def write(self, _text):
        raise self.error

    def flush(self):
        raise self.error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(32, "Broken pipe")])
def test_a_stream_that_fails_changes_no_exit_code(monkeypatch, capsys, error):
    monkeypatch.setattr("jaxlqr.cli.streams._silence", lambda _: None)
    monkeypatch.setattr(sys, "stdout", Broken(error))
    assert main(["--version"]) == 0
    said = capsys.readouterr().err
    if isinstance(error, BrokenPipeError):
        assert said == ""  # the reader has had enough
    else:
        assert said == "warning: stdout cannot be written: No space left on device; what was printed is lost.\n"


def test_letters_that_the_encoding_lacks_are_escaped(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    with guarded_streams():
        print("plants-\xe9\udcff", flush=True)
    assert content.getvalue() == b"plants-\\xe9\\udcff\n"


def test_streams_that_are_none(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["--version"]) == 0
    assert main(["trian"]) == 2
    assert sys.stdout is None


def test_an_ignored_sigint_stays_ignored_and_sigterm_is_noted(capsys):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests() as stop_requested:
            signal.raise_signal(signal.SIGINT)
            assert not stop_requested()
            signal.raise_signal(signal.SIGTERM)
            assert stop_requested()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert "stopping after this chunk" in capsys.readouterr().err


def test_sigterm_keeps_units_also_where_sigint_is_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt, match="kept"), units_in(tmp_path, False, None, {}) as units:  # noqa: PT012
            units("first", lambda: 1)
            units("second", lambda: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(list((tmp_path / FOLDER).glob("first-*.unit"))) == 1


def start(tmp_path, words, *, shell="", **environment):
    """The exit code of ``python -m jaxlqr``, started by a shell that may close or replace its streams; and stderr."""
    (tmp_path / "t.toml").write_text("[nominal]\nA = [[0.5]]\nB = [[1.0]]\n")
    command = f'"{sys.executable}" -m jaxlqr {words} {shell}'
    finished = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in finished.stderr
    return finished.returncode, finished.stderr


TRAIN = "train --tasks t.toml --out out --steps 2"
VARIABLES = {
    "precision": ({"JAX_ENABLE_X64": "perhaps"}, "error: a variable of the environment must have a value that JAX can"),
    "a check": ({"JAX_DEBUG_NANS": "2"}, "'JAX_DEBUG_NANS'; change or unset it"),
    "platforms": (
        {"JAX_PLATFORMS": "quantum"},
        "JAX_PLATFORMS must name platforms of this machine, got 'quantum'",
    ),
    "figures": ({"MATPLOTLIBRC": "rc"}, "error: matplotlib cannot read its settings: "),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIABLES)
def test_wrong_variables_get_one_sentence_before_the_work(name, tmp_path):
    environment, message = VARIABLES[name]
    (tmp_path / "rc").write_bytes(b"\xff\xfe")
    code, said = start(tmp_path, TRAIN, **environment)
    assert code == 2
    assert message in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true"])
def test_results_are_written_whatever_becomes_of_the_streams(tmp_path, shell):
    code, said = start(tmp_path, TRAIN, shell=shell, MPLBACKEND="nonsense")
    assert code == 0, said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "gain.npz", "history.npz", "summary.json", "training.png",
    ]  # fmt: skip
    assert ("stdout cannot be written" in said) == (shell == ">/dev/full")
