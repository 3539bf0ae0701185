"""What the benchmarks share: timing in turns, and tables that are written into the documentation."""

import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

DOCS = Path(__file__).resolve().parent.parent / "docs"
_LEAST_TURN = 40.0  # milliseconds


def medians(candidates: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of a call of each candidate, timed in turns after one warming call.

    A turn lasts at least 40 ms, so that a short call is not timed on memory and caches that the candidate before it
    left behind: in a loop it finds its own.
    """
    for run in candidates.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            times[name].append(float(np.median(_one_turn(run))))
    return {name: float(np.median(values)) for name, values in times.items()}


def _one_turn(run: Callable[[], object]) -> list[float]:
    calls: list[float] = []
    while sum(calls) < _LEAST_TURN:
        start = time.perf_counter()
        jax.block_until_ready(run())
        calls.append(1e3 * (time.perf_counter() - start))
    return calls


def markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows])


def replace_between(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the two markers ``name`` of a document."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    content = path.read_text()
    before, rest = content.split(begin)
    path.write_text(before + begin + "\n" + text + "\n" + end + rest.split(end)[1])
