"""Figures 1 to 3 of "Global convergence of MAML for LQR", and how often random families have no spurious minima."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxlqr.commands.landscape import curve_figure
from jaxlqr.commands.landscape.curve import Study, study, told
from jaxlqr.output import OutputFolder
from jaxlqr.papers.molybog2021 import phase_figure
from jaxlqr.papers.molybog2021.examples import GRID, examples
from jaxlqr.papers.molybog2021.phase import NUM_FAMILIES, NUM_QUICK_FAMILIES, phase_diagram
from jaxlqr.papers.units import Units

QUICK = ("1", "2", "3a")
PARTS = ("figures", "phase")


def reproduce(
    out: Path,
    *,
    quick: bool = False,
    num_seeds: int | None = None,
    seed: int = 0,
    part: str | None = None,
    progress: bool | None = None,
    units: Units | None = None,
) -> dict[str, Any]:
    """Find all stationary points of all examples, and the fraction of random families that are epsilon-global.

    Written to ``out``: ``figures.png`` and ``landscapes.npz`` of the examples, ``phase.png`` of the random families,
    and ``summary.json``. Prints a table and returns the summary.

    Arguments:
        out: output folder; checked before the work begins, written when it is complete.
        quick: only Figures 1, 2 and 3a, and a tenth of the random families.
        num_seeds: number of random families at each point of the phase diagram; overrides ``quick``.
        seed: of the random families.
        part: ``"figures"`` or ``"phase"`` runs one of them alone.
        progress: show the progress bar of the phase diagram; None shows it in a terminal or a notebook.
        units: where finished units are kept, see :mod:`jaxlqr.papers.units`; nowhere unless given.
    """
    if part is not None and part not in PARTS:
        raise ValueError(f'part must be "figures" or "phase", got {part!r}.')
    count = (NUM_QUICK_FAMILIES if quick else NUM_FAMILIES) if num_seeds is None else num_seeds
    if count < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {count}.")
    folder, units = OutputFolder(out), units or Units()
    began = time.perf_counter()
    summary: dict[str, Any] = {"paper": "molybog2021"}
    drawn, studies, written = {}, {}, []
    if part != "phase":
        chosen = {name: example for name, example in examples().items() if not quick or name in QUICK}
        studies = {
            name: study(example, GRID, keep=partial(units, f"figure {name}")) for name, example in chosen.items()
        }
        summary["figures"] = {name: told(one) for name, one in studies.items()}
        drawn["figures.png"] = curve_figure.draw(studies)
        written.append("landscapes.npz")
    if part != "figures":
        summary["phase_diagram"] = phase_diagram(count, seed, progress=progress, units=units)
        drawn["phase.png"] = phase_figure.draw(summary["phase_diagram"])
    summary |= {"wall_time_seconds": time.perf_counter() - began, "jax": jax.__version__}
    with folder:
        for name, picture in drawn.items():
            folder.write_figure(name, picture)
        if studies:
            folder.write_arrays("landscapes.npz", {f"figure{name}": one.values for name, one in studies.items()})
        folder.write_json("summary.json", summary)
    _print_tables(studies, summary, f"{', '.join([*drawn, *written])} and summary.json are in {out}")
    return summary


def _print_tables(studies: dict[str, Study], summary: dict[str, Any], written: str) -> None:
    from rich.table import Table

    from jaxlqr.console import open_console

    console = open_console()
    if studies:
        table = Table(title="molybog2021: local minima of the meta-objective")
        for column in ("figure", "tasks", "eta", "minima at K", "values", "excess"):
            table.add_column(column, justify="left" if column == "figure" else "right")
        for name, one in studies.items():
            facts = summary["figures"][name]
            gains, values = ([f"{m[key]:.4f}" for m in facts["minima"]] for key in ("gain", "value"))
            row = (str(one.values.shape[1]), f"{one.example.inner_step_size:g}", "\n".join(gains), "\n".join(values))
            table.add_row(name, *row, f"{facts['excess']:.2g}")
        console.print(table)
    if "phase_diagram" in summary:
        found = summary["phase_diagram"]
        index = 1
        share = 100 * found["tolerances"][index]
        table = Table(title=f"% of {found['num_families']} families with all minima within {share:g} % of the least")
        table.add_column("level \\ eta")
        for step in found["inner_steps"]:
            table.add_column(f"{step:g}", justify="right")
        for level, low, high in zip(found["levels"], found["low"][index], found["high"][index], strict=True):
            cells = (f"{100 * a:.0f}-{100 * b:.0f}" for a, b in zip(low, high, strict=True))
            table.add_row(f"{level:g}", *cells)
        console.print(table)
    console.print(f"{summary['wall_time_seconds']:.0f} s; {written}", soft_wrap=True)
