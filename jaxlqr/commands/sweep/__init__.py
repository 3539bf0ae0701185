"""Sweeps over heterogeneity, step sizes, oracle settings and seeds: what ``jaxlqr sweep`` runs."""

import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

from jaxlqr.commands.sweep.figure import sweep_figure
from jaxlqr.commands.sweep.processes import agree, join
from jaxlqr.commands.sweep.spec import SweepSpec as SweepSpec
from jaxlqr.commands.sweep.spec import load_spec as load_spec
from jaxlqr.commands.sweep.spec import parse_spec as parse_spec
from jaxlqr.commands.sweep.store import PARTS, RESULTS, SPEC, SweepStore, description, read_description, read_parts
from jaxlqr.commands.sweep.table import SweepTable as SweepTable
from jaxlqr.commands.sweep.table import read as read
from jaxlqr.commands.sweep.train import train_batch
from jaxlqr.commands.sweep.watch import Watch
from jaxlqr.io.locking import locked
from jaxlqr.io.output import OutputFolder, check_folder, check_inputs
from jaxlqr.training import Checkpoints
from jaxlqr.training.interrupt import stop_requests


def sweep(
    spec_file: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    checkpoint_every: int | None = None,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    coordinator_bind: str | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Train every run of a sweep; ``results.parquet`` has a row for each.

    Each process computes the batches with its numbers, and stores each finished batch. Processes do not communicate: if
    one is lost, the others finish, and a resumed sweep computes the missing batches. The last process writes the table.

    Arguments:
        spec_file: see :func:`parse_spec`.
        out: folder of the sweep, common to all processes.
        resume: continue the sweep in ``out``, or start it.
        checkpoint_every: steps between checkpoints within a batch, for long runs; by default an unfinished batch is
            computed again.
        coordinator: host and port where the processes of a job connect, and check that they have the same sweep;
            without it this is the only process.
        num_processes, process_id: of the job; by default JAX reads them from the cluster.
        coordinator_bind: address that process 0 binds, see :func:`jaxlqr.commands.sweep.processes.join`.
        progress: show a live table; None shows it in a terminal.

    Returns:
        Counts: ``runs``, ``done`` (kept by now, by all processes), ``statuses``, ``finished``, ``seconds``; and the
        ``best`` run of a finished sweep, the one with the least median gap.
    """
    began = time.perf_counter()
    join(coordinator, num_processes, process_id, bind=coordinator_bind)  # before any computation, as JAX requires
    spec = load_spec(spec_file)
    folder = check_folder(out).absolute()
    check_inputs(folder, (SPEC, RESULTS), (spec_file,))
    store = SweepStore(folder, spec)
    num_processes, process_id = (1, 0) if coordinator is None else agree(description(spec)["sha256"])
    if num_processes > 1 and checkpoint_every is not None:
        raise ValueError(
            "several processes keep whole batches only; leave out checkpoint_every, or make batches smaller."
        )
    store.check(resume=resume or num_processes > 1)  # claim checks again: another process may have come meanwhile
    mine = folder if num_processes == 1 else folder / f"process-{process_id}"
    with locked(mine), stop_requests() as stop_requested, Watch(len(spec.runs), progress) as watch:
        # With several processes the first to come claims the folder and the others find the same sweep in it.
        store.claim(resume=resume or num_processes > 1)
        missing = set(store.missing())
        statuses = Counter[str]()
        for number in range(len(store.batches)):
            if number not in missing:
                statuses.update(_statuses(store, number, watch, fresh=False))
        for number in sorted(missing):
            if number % num_processes != process_id:
                continue
            if stop_requested():
                raise KeyboardInterrupt(f"stopped with {watch.done} of {len(spec.runs)} runs done, which are kept.")
            steps = folder / PARTS / f"{number:05d}.steps"
            checkpoints = None
            if checkpoint_every is not None:
                checkpoints = Checkpoints(folder=steps, every=checkpoint_every, resume=True)
            store.write(number, train_batch(spec, store.batches[number], checkpoints))
            if checkpoints is not None:
                checkpoints.clear()
            statuses.update(_statuses(store, number, watch, fresh=True))
        finished = not store.missing()
        best = _best(store.finish().to_pylist(), spec.axes) if finished else None
    return {
        "runs": len(spec.runs),
        "done": watch.done,
        "statuses": dict(statuses),
        "finished": finished,
        "best": best,
        "seconds": time.perf_counter() - began,
    }


def _statuses(store: SweepStore, number: int, watch: Watch, *, fresh: bool) -> list[str]:
    table = store.read(number)
    assert table is not None, "written just now"
    found = table.column("status").to_pylist()
    watch.add(found, fresh=fresh)
    return found


def status(out: str | Path) -> dict[str, Any]:
    """How far the sweep in a folder is, also while it runs: counts of runs, by status, and seconds a run."""
    folder = Path(out)
    known, tables = read_description(folder), read_parts(folder)
    statuses = Counter[str](value for table in tables for value in table.column("status").to_pylist())
    seconds = [value for table in tables for value in table.column("seconds").to_pylist()]
    return {
        **{name: known[name] for name in ("runs", "axes", "batches")},
        "done": len(seconds),
        "batches_done": len(tables),
        "statuses": dict(statuses),
        "seconds_a_run": sum(seconds) / len(seconds) if seconds else None,
        "finished": (folder / RESULTS).exists(),
    }


def plot(out: str | Path) -> list[str]:
    """Draw the results that a sweep has by now, as ``sweep.png`` in its folder; returns the names of the files."""
    found = read(out)
    with OutputFolder(Path(out)) as files:
        files.write_figure("sweep.png", sweep_figure(found.table.to_pydict(), found.axes))
    return ["sweep.png"]


def _best(rows: list[dict[str, Any]], axes: tuple[str, ...]) -> dict[str, Any] | None:
    """Number, settings and last values of the run with the least median gap; None where all diverged."""
    good = [row for row in rows if row["status"] != "DIVERGED" and row["feasible_start"] and row["gap_last"] < math.inf]
    if not good:
        return None
    row = min(good, key=lambda row: row["gap_last"])
    return {name: row[name] for name in ("run", *axes, "cost_last", "gap_last", "status")}


def show(summary: dict[str, Any]) -> None:
    """Print the counts of :func:`sweep` or :func:`status`, and the best run of a finished sweep."""
    counts = ", ".join(f"{count} {name.lower()}" for name, count in sorted(summary["statuses"].items()))
    end = "finished" if summary["finished"] else "not finished"
    print(f"{summary['done']} of {summary['runs']} runs done{f' ({counts})' if counts else ''}; {end}")
    best = summary.get("best")
    if best is not None:
        last = ("cost_last", "gap_last", "status")
        settings = ", ".join(f"{name} {value}" for name, value in best.items() if name not in ("run", *last))
        print(
            f"best run: {best['run']} ({settings}); cost {best['cost_last']:.6g}, gap {best['gap_last']:.6g}, medians "
            "over tasks"
        )
