"""The bounds of toso2024 for a user's own systems: what ``jaxlqr bounds`` runs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlqr.commands.train import load_start
from jaxlqr.core.limits import check_seed
from jaxlqr.families.several_files import find_files
from jaxlqr.io.output import OutputFolder
from jaxlqr.papers.toso2024.theory.report import FORMS, report

RESULT_FILES = ("bounds.json",)
_NEEDED = {
    "inner_step": "inner step size",
    "outer_step": "outer step size",
    "iterations": "iterations (Theorem 3)",
    "gradient_radius": "radius, gradient (12)",
    "gradient_samples": "samples, gradient (13)",
    "hessian_radius": "radius, Hessian (14)",
    "hessian_samples": "samples, Hessian (15)",
    "bias": "heterogeneity bias in (6)",
    "heterogeneity_over_allowed": "f_z over what Theorem 1 allows",
}


def bounds(
    tasks_file: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    gain_file: str | Path | None = None,
    dt: float | None = None,
    epsilon: float = 0.1,
    delta: float = 0.05,
    seed: int = 0,
) -> dict[str, Any]:
    """Write ``bounds.json`` to the folder ``out``, print it as a table, and return its content.

    Arguments:
        tasks_file, gain_file, dt: as for training; without a gain, the gain of the tasks file or the optimum of the
            average task.
        out: output folder.
        epsilon, delta, seed: as in :func:`jaxlqr.papers.toso2024.theory.report`.
    """
    began = time.perf_counter()
    check_seed(seed)
    tasks_files = find_files(tasks_file)
    folder = OutputFolder(out, RESULT_FILES, inputs=(*tasks_files, gain_file))
    tasks, K0, source = load_start(tasks_files, gain_file, dt=dt)
    told = report(tasks, K0, epsilon=epsilon, delta=delta, key=jax.random.key(seed))
    content = {
        "command": "bounds",
        "tasks_files": [str(path) for path in tasks_files],
        "dt": dt,
        "gain": source,
        "seed": seed,
        **told,
        "wall_seconds": round(time.perf_counter() - began, 3),
    }
    with folder:
        folder.write_json("bounds.json", content)
    _show(content, Path(out))
    return content


def _show(content: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    from jaxlqr.io.console import open_console

    console = open_console()
    title = f"{content['num_tasks']} tasks at the {content['gain'].replace('tasks file', 'gain of the tasks file')}"
    table = Table(title=f"{title}: bounds of toso2024, measured, and measured / bound", title_justify="left")
    for column in ("", "measured", "printed", "ratio", "corrected", "ratio"):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in content["rows"]:
        cells = [cell for form in FORMS for cell in (f"{row['bound'][form]:.3g}", _ratio(row, form))]
        table.add_row(f"{row['name']}  {row['what']} ({row['source']})", f"{row['measured']:.3g}", *cells)
    console.print(table)
    needed = Table("", *FORMS, title="what the theorems ask for, and leave", title_justify="left")
    for name, label in _NEEDED.items():
        needed.add_row(label, *(f"{content['needed'][form][name]:.3g}" for form in FORMS))
    console.print(needed)
    levels = ", ".join(f"{name} {level:.3g}" for name, level in content["levels"].items())
    console.print(
        f"heterogeneity: {levels}. A ratio above 1 violates the bound; a lower bound's ratio is bound / measured. "
        f"Tolerance {content['epsilon']:g}, probability {content['delta']:g}.",
        soft_wrap=True,
    )
    console.print(f"wrote bounds.json to {out}; {content['wall_seconds']:.1f} s", soft_wrap=True, markup=False)


def _ratio(row: dict[str, Any], form: str) -> str:
    ratio = row["ratio"][form]
    mark = "!" if row["violated"][form] else ""
    return ("bound <= 0" if np.isinf(ratio) else f"{ratio:.3g}") + mark
