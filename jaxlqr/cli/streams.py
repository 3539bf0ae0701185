"""Standard streams that are closed or full, or whose encoding lacks some letters."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class _Guarded:
    """A stream that never raises: it escapes letters that the encoding lacks, and stores the reason of a failed
    write."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or store the reason of the failure."""
        if self.failure is None:
            try:
                self._write(text)
            except OSError as error:
                self.failure = error
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or store the reason of the failure."""
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self.failure = error

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


@contextmanager
def guarded_streams() -> Iterator[None]:
    """A block whose prints never raise. If stdout fails, the block prints a warning on stderr: the results are in files
    anyway."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    # Python sets a stream to None whose descriptor was closed at the start.
    opened = [Path(os.devnull).open("w") if stream is None else None for stream in before]  # noqa: SIM115
    out, err = (_Guarded(stream or null) for stream, null in zip(before, opened, strict=True))
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        for stream in (out, err):
            stream.flush()
        if out.failure is not None and not isinstance(out.failure, BrokenPipeError):
            reason = out.failure.strerror or out.failure
            print(f"warning: stdout cannot be written: {reason}; what was printed is lost.", file=err)
            err.flush()
        sys.stdout, sys.stderr = before
        for stream, number in ((out, 1), (err, 2)):
            if stream.failure is not None:
                _silence(number)
        for null in opened:
            if null is not None:
                null.close()


def _fill_descriptors() -> None:
    """Open the closed ones of the descriptors 0 to 2: otherwise the next file gets one of them, and prints go into that
    file."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the smallest free number


def _silence(number: int) -> None:
    """Discard the last flush of Python at exit, which could change the exit code."""
    null = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):
        os.dup2(null, number)
    os.close(null)
