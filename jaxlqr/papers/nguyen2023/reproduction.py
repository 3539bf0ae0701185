"""Trajectory optimisation, and task weights chosen by it (TOW), of "Task weighting in meta-learning with trajectory
optimisation"."""

import time
from pathlib import Path
from typing import Any

import jax

from jaxlqr.output import OutputFolder
from jaxlqr.papers.nguyen2023 import ablation, images_ablation, images_part, lqr_part, trajectories
from jaxlqr.papers.nguyen2023.parts import Part, Request
from jaxlqr.papers.units import Units

#: Parts of the reproduction, in the order in which they run.
PARTS: dict[str, Part] = {
    "trajectories": Part(trajectories.prepare),
    "lqr": Part(lqr_part.prepare),
    "ablation": Part(ablation.prepare, in_quick=False),
    "images": Part(images_part.prepare, reads_data=True),
    "images-ablation": Part(images_ablation.prepare, reads_data=True, in_quick=False),
}


def reproduce(
    out: Path,
    *,
    quick: bool = False,
    num_seeds: int | None = None,
    seed: int = 0,
    data: Path | None = None,
    part: str | None = None,
    progress: bool | None = None,
    units: Units | None = None,
) -> dict[str, Any]:
    """Run all parts, or one; write their figures, arrays and ``summary.json`` to ``out``, print their tables, and
    return the summary.

    Arguments:
        out: output folder; checked before the work begins, written when it is complete.
        quick: fewer seeds, steps and settings.
        num_seeds: number of seeds, at least 1; overrides ``quick``.
        seed: of all random numbers.
        data: folder of the Omniglot files, for the parts that read it.
        part: one of ``PARTS``; all of them unless given, when ``quick`` those that are quick.
        progress: show progress bars; ``None`` shows them in a terminal or a notebook.
        units: where finished units are kept, see :mod:`jaxlqr.papers.units`; nowhere unless given.
    """
    if num_seeds is not None and num_seeds < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {num_seeds}.")
    if part is not None and part not in PARTS:
        raise ValueError(f"unknown part {part!r} of nguyen2023; known are {', '.join(PARTS)}.")
    chosen = {name: one for name, one in PARTS.items() if (name == part if part else one.in_quick or not quick)}
    if data is not None and not any(one.reads_data for one in chosen.values()):
        raise ValueError(f"no data are read by {' and '.join(chosen)} of nguyen2023; leave out the folder {data}.")
    folder = OutputFolder(out)
    began = time.perf_counter()
    request = Request(quick, num_seeds, seed, data, progress, out, units or Units())
    work = {name: one.prepare(request) for name, one in chosen.items()}  # checks all before the first begins
    outcomes = {name: run() for name, run in work.items()}
    summary = {
        "paper": "nguyen2023",
        "settings": {"quick": quick, "num_seeds": num_seeds, "seed": seed},
        **{name: outcome.summary for name, outcome in outcomes.items()},
        "wall_time_seconds": time.perf_counter() - began,
        "jax": jax.__version__,
    }
    files = ["summary.json"]
    with folder:
        for outcome in outcomes.values():
            for name, figure in outcome.figures.items():
                folder.write_figure(name, figure)
            for name, arrays in outcome.arrays.items():
                folder.write_arrays(name, arrays)
            files = [*outcome.figures, *outcome.arrays, *files]
        folder.write_json("summary.json", summary)
    _print([table for outcome in outcomes.values() for table in outcome.tables], summary, files, out)
    return summary


def _print(tables: list[Any], summary: dict[str, Any], files: list[str], out: Path) -> None:
    from jaxlqr.console import open_console

    console = open_console()
    for table in tables:
        console.print(table)
    console.print(f"{summary['wall_time_seconds']:.0f} s; {', '.join(files)} are in {out}", soft_wrap=True)
