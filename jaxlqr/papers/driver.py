"""Interfaces of ``jaxlqr reproduce``: a paper, its parts, the request of a part, and its outcome."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxlqr.io.output import OutputFolder
from jaxlqr.papers.units import Units

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


class Request(NamedTuple):
    """The choices of a run.

    Attributes:
        quick: fewer seeds and steps.
        num_seeds: overrides the number of ``quick``, unless None.
        seed: of all random numbers.
        data: folder of the files that a part reads, or None.
        progress: show progress bars; None shows them in a terminal or a notebook.
        out: the output folder, for parts that save their finished work as they go, or None.
        units: where finished units are kept until all is done.
    """

    quick: bool
    num_seeds: int | None
    seed: int
    data: Path | None
    progress: bool | None
    out: Path | None = None
    units: Units = Units()

    def seeds(self, quick: int, full: int) -> int:
        """The number of seeds: the given one, else the default of a quick or of a full run."""
        if self.num_seeds is not None:
            return self.num_seeds
        return quick if self.quick else full


class Outcome(NamedTuple):
    """The results of a part; file names are relative to the output folder.

    Attributes:
        summary: entries of the summary; no two parts of a run have an entry of the same name.
        figures: by file name.
        arrays: by file name, a dict of arrays for each ``.npz``.
        tables: printed in this order.
    """

    summary: dict[str, Any]
    figures: "dict[str, Figure]"
    arrays: dict[str, dict[str, np.ndarray]]
    tables: "list[Table]"


class Part(NamedTuple):
    """One part of a reproduction.

    Attributes:
        prepare: checks a request before any part begins (ValueError), and returns the work.
        reads_data: whether it reads files from the folder ``data``.
        in_all: whether a run without a part's name has it.
        in_quick: whether such a run has it, too, when it is quick.
        files: names of files that it always writes; they are checked before the work begins.
        summary_file: where the summary goes when this part runs alone.
    """

    prepare: Callable[[Request], Callable[[], Outcome]]
    reads_data: bool = False
    in_all: bool = True
    in_quick: bool = True
    files: tuple[str, ...] = ()
    summary_file: str = "summary.json"


def unchecked(run: Callable[[Request], Outcome]) -> Callable[[Request], Callable[[], Outcome]]:
    """``prepare`` of a part that accepts every request."""
    return lambda request: partial(run, request)


@dataclass(frozen=True)
class Paper:
    """A paper that can be reproduced.

    Attributes:
        name: of its package and of its output folder.
        parts: by name, in the order of their runs.
        trains: whether a unit trains long enough to keep checkpoints on the way.
    """

    name: str
    parts: Mapping[str, Part]
    trains: bool = True

    @property
    def reads_data(self) -> bool:
        """Whether a part reads a folder of data."""
        return any(part.reads_data for part in self.parts.values())

    def reproduce(
        self,
        out: Path,
        *,
        quick: bool = False,
        num_seeds: int | None = None,
        seed: int = 0,
        part: str | None = None,
        data: Path | None = None,
        progress: bool | None = None,
        units: Units | None = None,
    ) -> dict[str, Any]:
        """Run the parts, write their figures, arrays and summary to ``out``, print their tables, return the summary.

        Arguments:
            out: output folder; checked before the work begins, written when it is complete.
            quick: fewer seeds, steps and settings.
            num_seeds: number of seeds, at least 1; overrides ``quick``.
            seed: of all random numbers.
            part: name of the one part to run.
            data: folder of files, for the parts that read it.
            progress: show progress bars; None shows them in a terminal or a notebook.
            units: where finished units are kept, see :mod:`jaxlqr.papers.units`; nowhere unless given.
        """
        if num_seeds is not None and num_seeds < 1:
            raise ValueError(f"the number of seeds must be at least 1, got {num_seeds}.")
        chosen = self._chosen(part, quick)
        if data is not None and not any(one.reads_data for one in chosen.values()):
            raise ValueError(f"no data are read by {' and '.join(chosen)} of {self.name}; leave out the folder {data}.")
        folder = OutputFolder(out, [name for one in chosen.values() for name in one.files])
        began = time.perf_counter()
        request = Request(quick, num_seeds, seed, data, progress, out, units or Units())
        work = [one.prepare(request) for one in chosen.values()]  # checks all before the first begins
        outcomes = [run() for run in work]
        summary: dict[str, Any] = {"paper": self.name}
        for outcome in outcomes:
            summary |= outcome.summary
        summary |= {"wall_time_seconds": time.perf_counter() - began, "jax": jax.__version__}
        last = next(iter(chosen.values())).summary_file if part else "summary.json"
        files = _write(folder, outcomes, summary, last)
        _print([table for outcome in outcomes for table in outcome.tables], summary, files, out)
        return summary

    def _chosen(self, part: str | None, quick: bool) -> dict[str, Part]:
        if part is None:
            return {name: one for name, one in self.parts.items() if one.in_all and (one.in_quick or not quick)}
        if part not in self.parts:
            raise ValueError(f"unknown part {part!r} of {self.name}; known are {', '.join(self.parts)}.")
        return {part: self.parts[part]}


def _write(folder: OutputFolder, outcomes: list[Outcome], summary: dict[str, Any], last: str) -> list[str]:
    """Write all files, and return their names; the summary is the last."""
    files: list[str] = []
    with folder:
        for outcome in outcomes:
            for name, figure in outcome.figures.items():
                folder.write_figure(name, figure)
            for name, arrays in outcome.arrays.items():
                folder.write_arrays(name, arrays)
            files += [*outcome.figures, *outcome.arrays]
        folder.write_json(last, summary)
    return [*files, last]


def _print(tables: "list[Table]", summary: dict[str, Any], files: list[str], out: Path) -> None:
    from jaxlqr.io.console import open_console

    console = open_console()
    for table in tables:
        console.print(table)
    named = f"{', '.join(files[:-1])} and {files[-1]} are in" if len(files) > 1 else f"{files[0]} is in"
    console.print(f"{summary['wall_time_seconds']:.0f} s; {named} {out}", soft_wrap=True)
