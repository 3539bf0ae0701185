"""The landscape of a user's own tasks: what ``jaxlqr landscape`` runs."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlqr.commands.landscape import figure
from jaxlqr.commands.landscape.interval import look_at_interval
from jaxlqr.commands.landscape.settings import LandscapeSettings as LandscapeSettings
from jaxlqr.commands.landscape.study import describe, frames, look_at_plane
from jaxlqr.commands.train import TrainSettings, default_steps, load_start
from jaxlqr.core.limits import check_history
from jaxlqr.families.several_files import find_files
from jaxlqr.io.output import OutputFolder

RESULT_FILES = ("landscape.png", "landscape.gif", "landscape.npz", "summary.json")


def landscape(
    tasks_file: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    settings: LandscapeSettings | None = None,
    gain_file: str | Path | None = None,
    dt: float | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Map the meta-objective of the tasks of a file, find its stationary points, and write figures and numbers.

    Written to ``out``: ``landscape.png``, ``landscape.npz``, ``summary.json`` and, with ``settings.frames``,
    ``landscape.gif``. For a scalar gain the map is a curve. Otherwise it is a plane with the boundary of the
    stabilising set, the stationary points, and the paths of several optimisers.

    Arguments:
        tasks_file: as for training.
        out: output folder; files of earlier runs are replaced, and only by a run that succeeds.
        settings: see :class:`LandscapeSettings`.
        gain_file: first gain of the search and the paths; by default the gain of the tasks file, or a computed one.
        dt: sampling time, for files with systems in continuous time.
        progress: show progress bars; None shows them in a terminal.

    Returns:
        The content of ``summary.json``.
    """
    began = time.perf_counter()
    settings = settings or LandscapeSettings()
    tasks_files = find_files(tasks_file)
    folder = OutputFolder(out, RESULT_FILES, inputs=(*tasks_files, gain_file))
    start = load_start(tasks_files, gain_file, dt=dt)
    if start.K0.size > 1:
        check_history(settings.steps, 4, len(start.tasks.A), start.K0.size, "the number of steps")  # four optimisers
    inner = default_steps(start.K0, start.tasks, TrainSettings(inner_step=settings.inner_step, outer_step=1.0))[0]
    scalar = start.K0.size == 1
    if scalar and (settings.frames or settings.plane is not None):
        raise ValueError("a scalar gain has a curve and no plane, so leave out the options plane and frames.")
    files: dict[str, Any] = {}
    if scalar:
        drawn, told, arrays = look_at_interval(start.tasks, inner, settings)
    else:
        found = look_at_plane(start, inner, settings, progress)
        drawn, told, arrays = figure.draw_plane(found), describe(found), found.arrays()
        if settings.frames:
            told["frames"], rows = frames(found, settings, progress)
            files["landscape.gif"] = figure.animate(found, told["frames"]["inner_steps"], rows)
    summary = {
        "command": "landscape",
        "tasks_files": [str(path) for path in tasks_files],
        "dt": dt,
        "settings": {**asdict(settings), "inner_step": inner},
        "inner_step_chosen_automatically": settings.inner_step is None,
        "num_tasks": int(np.shape(start.tasks.A)[0]),
        "gain_shape": list(start.K0.shape),
        **told,
        "wall_seconds": round(time.perf_counter() - began, 3),
        "jax": jax.__version__,
    }
    with folder:
        folder.write_figure("landscape.png", drawn)
        for name, content in files.items():
            folder.write_bytes(name, content)
        folder.write_arrays("landscape.npz", arrays)
        folder.write_json("summary.json", summary)
    return summary


def show(summary: dict[str, Any], out: str | Path) -> None:
    """Print the stationary points of a summary as a table."""
    from rich.table import Table

    from jaxlqr.io.console import counted, open_console

    tasks = counted(summary["num_tasks"], "task")
    table = Table(title=f"{tasks}, inner step {summary['settings']['inner_step']:.3g}")
    for column in ("kind", "value", "gain"):
        table.add_column(column)
    rows = summary.get("stationary_points") or [
        {"kind": kind.upper(), **point} for kind in ("minimum", "maximum") for point in summary[_PLURALS[kind]]
    ]
    for point in rows:
        gain = ", ".join(f"{entry:.4g}" for entry in np.ravel(point["gain"]))
        table.add_row(point["kind"].lower(), f"{point['value']:.6g}", gain)
    console = open_console()
    console.print(table)
    for name, end in summary.get("optimisers", {}).items():
        console.print(f"{name} ends at {end['last_value']:.6g}")
    written = [name for name in RESULT_FILES if name != "landscape.gif" or "frames" in summary]
    console.print(f"{summary['wall_seconds']:.0f} s; wrote {', '.join(written)} to {out}", soft_wrap=True, markup=False)


_PLURALS = {"minimum": "minima", "maximum": "maxima"}
