"""A live table of a sweep: runs done, rate, remaining time, failures."""

import sys
import time
from collections import Counter
from datetime import timedelta
from typing import Any

from jaxlqr.io.progress import LogLines


class Watch:
    """Counts runs, and shows the counts while the block lasts; outside a terminal at most one line a minute."""

    def __init__(self, total: int, progress: bool | None = None) -> None:
        self._total = total
        self._shown = sys.stderr.isatty() if progress is None else progress
        self._statuses = Counter[str]()
        self._fresh, self._began = 0, time.perf_counter()
        self._live: Any = None
        self._lines = LogLines(total, "run") if progress is None and not self._shown else None

    @property
    def done(self) -> int:
        """Runs done, in this process and before."""
        return self._statuses.total()

    def __enter__(self) -> "Watch":
        if self._shown:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self.table(), console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def add(self, statuses: list[str], *, fresh: bool) -> None:
        """Count runs; ``fresh`` runs were computed now and define the rate."""
        self._statuses.update(statuses)
        self._fresh += len(statuses) if fresh else 0
        if self._lines is not None:
            self._lines.update(len(statuses))
        if self._live is not None:
            self._live.update(self.table(), refresh=True)

    def table(self) -> Any:
        """What is shown."""
        from rich.table import Table

        seconds = time.perf_counter() - self._began
        rate = self._fresh / seconds if seconds > 0 else 0.0
        left = timedelta(seconds=round((self._total - self.done) / rate)) if rate else "unknown"
        table = Table("runs done", "completed", "stalled", "diverged", "runs a second", "remaining")
        counts = (str(self._statuses[name]) for name in ("COMPLETED", "STALLED", "DIVERGED"))
        table.add_row(f"{self.done} of {self._total}", *counts, f"{rate:.3g}", str(left))
        return table
