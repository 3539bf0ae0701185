"""Folders of work in progress: jaxlqr uses and removes only folders that it made, and in them only its own files.

A folder that jaxlqr makes holds a mark, the file ``.jaxlqr-KIND``. A folder without the mark is used only while it
is empty. Removal passes over every file whose name jaxlqr does not write in a folder of that kind, and every link.
"""

import json
import re
import secrets
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jaxlqr.io.disk import read_json, write_whole

LOCK = ".lock"
_PARTIAL = r"\..+\.part"  # of jaxlqr.io.disk.write_aside
#: Names that jaxlqr writes in a folder of each kind. Names with 16 digits are hashes of the content or the settings.
_WRITTEN = {
    "checkpoints": rf"\d+|\d+\.orbax-checkpoint-tmp.*|run\.json|checksums-\d+\.json|{re.escape(LOCK)}|{_PARTIAL}",
    "units": rf".+-[0-9a-f]{{16}}\.(unit|steps)|run\.json|{re.escape(LOCK)}|{_PARTIAL}",
}


class WorkspaceError(ValueError):
    """A folder that jaxlqr must not use, because it is not jaxlqr's."""


class _Mark(NamedTuple):
    kind: str
    run: str  # an identifier of the run that made the folder
    made: bool  # whether jaxlqr made the folder, or found it empty


def check_workspace(folder: Path, kind: str) -> None:
    """Check that the folder can become, or is, a workspace of a kind; changes nothing.

    Raises:
        WorkspaceError: when the folder is a link, or holds something and has no mark of this kind.
    """
    if folder.is_symlink():
        raise WorkspaceError(f"{folder} must be a folder that jaxlqr made, got a link; choose another output folder.")
    mark = _read_mark(folder)
    if mark is not None and mark.kind == kind:
        return
    if folder.is_dir() and (mark is not None or any(folder.iterdir())):
        raise WorkspaceError(
            f"{folder} must be a folder that jaxlqr made for its {kind}, got one that holds other files; move it away, "
            "or choose another output folder."
        )


def claim_workspace(folder: Path, kind: str) -> str:
    """Make the folder, or take the one that is there, and return the identifier of the run that made it.

    Raises:
        WorkspaceError: as :func:`check_workspace`.
        OSError: when the folder cannot be made.
    """
    check_workspace(folder, kind)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
        made = True
    except FileExistsError:
        made = False
    mark = _read_mark(folder)
    if mark is None:
        mark = _Mark(kind, secrets.token_hex(8), made)
        write_whole(mark_path(folder, kind), json.dumps({"run": mark.run, "made": made}).encode())
    return mark.run


def clear_workspace(folder: Path) -> None:
    """Remove what jaxlqr wrote in its folder, and the folder if jaxlqr made it and nothing else is in it.

    A folder without a mark is left as it is. Other files are left, and a warning names one of them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as base:
    ...     run = claim_workspace(Path(base) / "checkpoints", "checkpoints")
    ...     clear_workspace(Path(base) / "checkpoints")
    ...     (Path(base) / "checkpoints").exists()
    False
    """
    mark = _read_mark(folder)
    if mark is None or folder.is_symlink():
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not re.fullmatch(_WRITTEN[mark.kind], path.name):
            continue
        if not path.is_dir():
            path.unlink(missing_ok=True)
        elif _read_mark(path) is None:
            shutil.rmtree(path)
        else:
            clear_workspace(path)
    others = sorted(path.name for path in folder.iterdir() if path != mark_path(folder, mark.kind))
    if others:
        # The mark stays, so that the next run can use the folder again.
        warnings.warn(
            f"{folder} is left, because it holds {others[0]}, which no run wrote.", RuntimeWarning, stacklevel=2
        )
        return
    mark_path(folder, mark.kind).unlink(missing_ok=True)
    if mark.made:
        with suppress(OSError):
            folder.rmdir()


def written_names(folder: Path, kind: str) -> list[Path]:
    """Paths in a folder that have names which jaxlqr writes in a workspace of this kind, sorted; links are left out."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if not path.is_symlink() and re.fullmatch(_WRITTEN[kind], path.name)
    )


def mark_path(folder: Path, kind: str) -> Path:
    """The file that marks the folder as made by jaxlqr."""
    return folder / f".jaxlqr-{kind}"


def _read_mark(folder: Path) -> _Mark | None:
    for kind in _WRITTEN:
        path = mark_path(folder, kind)
        if path.is_symlink() or not path.is_file():
            continue
        try:
            found = read_json(path)
        except ValueError:
            found = {}  # a damaged mark still counts: its name is enough
        return _Mark(kind, str(found.get("run")), found.get("made") is True)
    return None
