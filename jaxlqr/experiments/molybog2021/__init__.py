"""Figures 1 to 3 of "Global convergence of MAML for LQR": when the meta-objective has spurious minima."""

import time
from pathlib import Path
from typing import Any

import jax

from jaxlqr.experiments.molybog2021 import figure
from jaxlqr.experiments.molybog2021.examples import examples
from jaxlqr.experiments.molybog2021.study import Study, study, told
from jaxlqr.output import OutputFolder

QUICK = ("1", "2", "3a")


def reproduce(
    out: Path, *, quick: bool = False, num_seeds: int | None = None, progress: bool | None = None
) -> dict[str, Any]:
    """Find all stationary points of all examples; write ``figures.png``, ``landscapes.npz`` and ``summary.json`` to
    ``out``, print a table, and return the summary.

    Arguments:
        out: output folder; checked before the work begins, written when it is complete.
        quick: only Figures 1, 2 and 3a.
        num_seeds: must be None, since nothing here is random.
        progress: not used; the work takes seconds.
    """
    if num_seeds is not None:
        raise ValueError(f"molybog2021 has nothing random, so leave out the number of seeds, got {num_seeds}.")
    folder = OutputFolder(out)
    began = time.perf_counter()
    chosen = {name: example for name, example in examples().items() if not quick or name in QUICK}
    studies = {name: study(example) for name, example in chosen.items()}
    summary = {
        "paper": "molybog2021",
        "figures": {name: told(one) for name, one in studies.items()},
        "wall_time_seconds": time.perf_counter() - began,
        "jax": jax.__version__,
    }
    with folder:
        folder.write_figure("figures.png", figure.draw(studies))
        folder.write_arrays("landscapes.npz", {f"figure{name}": one.values for name, one in studies.items()})
        folder.write_json("summary.json", summary)
    _print_table(studies, summary, out)
    return summary


def _print_table(studies: dict[str, Study], summary: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="molybog2021: local minima of the meta-objective")
    for column in ("figure", "tasks", "eta", "minima at K", "values", "excess"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, one in studies.items():
        facts = summary["figures"][name]
        gains, values = ([f"{m[key]:.4f}" for m in facts["minima"]] for key in ("gain", "value"))
        row = (str(one.values.shape[1]), f"{one.example.inner_step_size:g}", "\n".join(gains), "\n".join(values))
        table.add_row(name, *row, f"{facts['excess']:.2g}")
    console = Console()
    console.print(table)
    console.print(f"{summary['wall_time_seconds']:.0f} s; figures.png, landscapes.npz and summary.json are in {out}")
