"""How far a loop is: a bar in a terminal or a notebook, a line from time to time in a log."""

import sys
import time
from types import TracebackType
from typing import Any

from jaxlqr.core.optional import is_installed, optional

INTERVAL = 60.0  # seconds between two lines of a log, without a terminal


class LogLines:
    """Counts finished steps of ``total`` and prints at most one line on stderr in :data:`INTERVAL` seconds."""

    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit = total, unit
        self._done, self._before = 0, 0
        self._last = time.monotonic()

    def __enter__(self) -> "LogLines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        pass

    def update(self, count: int) -> None:
        """Count ``count`` more."""
        self._done += count
        seconds = time.monotonic() - self._last
        if seconds < INTERVAL:
            return
        rate = (self._done - self._before) / seconds if seconds > 0 else float("inf")
        print(f"{self._unit} {self._done} of {self._total}, {rate:.3g} a second", file=sys.stderr, flush=True)
        self._last, self._before = time.monotonic(), self._done


class Silent(LogLines):
    """Prints nothing."""

    def update(self, count: int) -> None:
        """Ignore ``count``."""


def open_progress(total: int, unit: str, progress: bool | None) -> Any:
    """A bar of tqdm or the lines of a log, as a context with ``update(count)``.

    ``progress`` None shows the bar in a terminal or a notebook if tqdm is installed, and the lines elsewhere; False
    shows neither.

    Raises:
        MissingExtraError: where ``progress`` is True and tqdm is not installed.
    """
    if progress is False:
        return Silent(total, unit)
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    if progress is None and not (watched and is_installed("tqdm")):
        return LogLines(total, unit)
    return optional("tqdm.auto", "cli", "a progress bar").tqdm(total=total, unit=unit, dynamic_ncols=True)
