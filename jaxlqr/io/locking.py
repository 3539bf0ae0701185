"""Folders that one process locks against all others, and the errors for folders that cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxlqr.core.optional import optional
from jaxlqr.io.workspace import LOCK, WorkspaceError, claim_workspace


class CheckpointError(ValueError):
    """Checkpoints that cannot be used: another run's, in use, or not writable."""


@contextmanager
def explained(folder: Path, done: str, steps: list[int] | None = None) -> Iterator[None]:
    try:
        yield
    except (CheckpointError, WorkspaceError):
        raise
    except Exception as error:  # orbax wraps errors of the system in its own types
        kept = f" The checkpoint after step {steps[-1]} is kept." if steps else ""
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().splitlines()[0]
        raise CheckpointError(f"the checkpoints in {folder} cannot be {done}: {reason}.{kept}") from error


@contextmanager
def locked(folder: Path, kind: str | None = None) -> Iterator[str]:
    """Hold the folder, which is made if need be, against every other process; yields the identifier of a workspace.

    Arguments:
        folder: the folder.
        kind: of the workspace (:mod:`jaxlqr.io.workspace`) that the folder is; None for an output folder, which
            may hold anything and has no identifier.

    Raises:
        CheckpointError: when another process holds it, or it cannot be made.
        WorkspaceError: when it is not a workspace of that kind.
    """
    filelock = optional("filelock", "checkpoints", "a folder that one process holds")
    with explained(folder, "opened"):
        if kind is None:
            folder.mkdir(parents=True, exist_ok=True)
        run = "" if kind is None else claim_workspace(folder, kind)
        path = folder / LOCK
        # Locking empties the file. A lock of jaxlqr is always empty.
        if path.is_symlink() or (path.exists() and not (path.is_file() and path.stat().st_size == 0)):
            raise CheckpointError(f"{path} must be an empty file, the lock of jaxlqr; move away what is there.")
        lock = filelock.FileLock(path, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise CheckpointError(
                f"another process works in {folder}; wait for it, stop it, or choose another folder."
            ) from None
    try:
        yield run
    finally:
        lock.release()
