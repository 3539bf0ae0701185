"""What a computation that may be interrupted keeps in a folder: what it computes, and its parts, each with a checksum.

Everything here is written whole or not at all, so that a process may be killed at any time. Who may use the folder, and
what may be removed in it, :mod:`jaxlqr.io.workspace` decides; :mod:`jaxlqr.io.locking` keeps other processes out.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jaxlqr.io.disk import read_json, write_whole
from jaxlqr.io.locking import CheckpointError

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Description:
    """What a folder's run computes, in a JSON file of the folder: a run that goes on must compute the same.

    Attributes:
        path: the file.
        what: that the folder holds, such as "an unfinished run", for the error messages.
        entries: what is computed, as JSON values by name.
    """

    path: Path
    what: str
    entries: Mapping[str, Any]

    def check(self, *, begun: bool, resume: bool = True, read: Callable[[Path], dict[str, Any]] = read_json) -> None:
        """Return None where the run may begin, or go on; changes nothing.

        Arguments:
            begun: whether the folder holds something that an earlier run finished.
            resume: whether this run may go on from it.
            read: reads the file, and raises ValueError where it is not what a run writes.

        Raises:
            CheckpointError: where the folder holds a run that is not resumed, or another one, or no readable file.
        """
        if not begun:
            return
        folder = self.path.parent
        if not resume:
            raise CheckpointError(f"{folder} holds {self.what}; resume it, or choose another folder.")
        try:
            known = read(self.path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CheckpointError(
                f"{self.path} must describe {self.what}, but {reason}; choose another folder."
            ) from None
        if differing := sorted(k for k in {*known, *self.entries} if _text(known, k) != _text(self.entries, k)):
            raise CheckpointError(
                f"{folder} holds {self.what}, which differs in {', '.join(differing)}; resume with the settings of "
                "that run, or choose another folder."
            )

    def write(self) -> None:
        """Write the file."""
        write_whole(self.path, json.dumps(dict(self.entries), indent=2, default=str).encode())


def _text(entries: Mapping[str, Any], name: str) -> str | None:
    # As text, since NaN does not equal itself.
    return json.dumps(entries[name], sort_keys=True, default=str) if name in entries else None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain an OSError of the block, which writes this file, by a CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror}. What was finished before is kept; resume the run."
        ) from error


@dataclass(frozen=True)
class Parts:
    """Finished parts of a computation: files ``KEY-HASH.SUFFIX``, whose hash vouches for key, content and computation.

    Attributes:
        folder: where they are; it is made when the first part is written.
        suffix: of the files, with its dot.
        fingerprint: of the computation: parts of another one, in the same folder, count as damaged.
        then: what becomes of a damaged part, for the warning.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = Parts(Path(folder), ".txt")
    ...     parts.put("first", b"content")
    ...     [path.name for path in Path(folder).iterdir()], parts.get("first", bytes.decode), parts.get("other", bytes)
    (['first-510708768a833d8f.txt'], 'content', None)
    """

    folder: Path
    suffix: str
    fingerprint: str = ""
    then: str = "it is computed again"

    def get(self, key: str, read: Callable[[bytes], Kept]) -> Kept | None:
        """The part of this key as ``read`` makes it of the content; None if it is absent, or damaged, with a warning.

        A part is damaged where the hash in its name is not that of its content, or where ``read`` raises OSError,
        ValueError, KeyError or TypeError.
        """
        for path in self._files(key):
            try:
                content = path.read_bytes()
                if path != self._path(key, content):
                    raise ValueError("its content is not what was written")
                return read(content)
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0]
                warnings.warn(f"{path} is damaged: {reason}; {self.then}.", RuntimeWarning, stacklevel=2)
        return None

    def put(self, key: str, content: bytes) -> None:
        """Write a part, and then remove older ones of this key.

        Raises:
            CheckpointError: when it cannot be written.
        """
        path = self._path(key, content)
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
            for old in self._files(key):
                if old != path:
                    old.unlink()

    def stored_keys(self) -> list[str]:
        """Keys of all files that may be parts, sorted."""
        return sorted({match[1] for match in self._matches(r".+")})

    def _path(self, key: str, content: bytes) -> Path:
        mark = hashlib.sha256(f"{self.fingerprint} {key} ".encode() + content).hexdigest()[:16]
        return self.folder / f"{key}-{mark}{self.suffix}"

    def _files(self, key: str) -> list[Path]:
        return sorted(self.folder / match[0] for match in self._matches(re.escape(key)))

    def _matches(self, key: str) -> Iterator[re.Match[str]]:
        """Names that a part of a key, a pattern, may have; no other file in the folder is read or removed."""
        pattern = re.compile(rf"({key})-[0-9a-f]{{16}}{re.escape(self.suffix)}")
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            match = pattern.fullmatch(path.name)
            if match is not None and not path.is_symlink():
                yield match
