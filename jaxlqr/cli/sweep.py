"""``jaxlqr sweep``: many runs over a grid or a random search."""

from pathlib import Path
from typing import Annotated

import typer

from jaxlqr.cli.common import Json, Quiet, answering, progress_of, say, use_float64


def sweep(
    spec: Annotated[Path | None, typer.Argument(help="Sweep file, TOML.", metavar="SPEC")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in DIR, or start it.")] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="Steps between checkpoints within a batch of runs. Default: only whole batches are kept."),
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(
            help="Address where process 0 of a job listens. The protocol has no authentication.",
            metavar="HOST:PORT",
        ),
    ] = None,
    coordinator_bind: Annotated[
        str | None,
        typer.Option(
            help="Address that process 0 binds: one of a network you trust. Default: loopback, this machine alone.",
            metavar="ADDRESS",
        ),
    ] = None,
    num_processes: Annotated[int | None, typer.Option(help="Processes of the job.")] = None,
    process_id: Annotated[int | None, typer.Option(help="Number of this process, from 0.")] = None,
    status: Annotated[
        Path | None, typer.Option(help="Only print the progress of the sweep in DIR.", metavar="DIR")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Only draw the sweep in DIR, as sweep.png.", metavar="DIR")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train over a grid or a random search of settings; writes results.parquet, a row for each run.

    Exit code 0: all runs are done; rows of failed runs have their status. 1: other processes have not finished. 2: bad
    input. 130: interrupted (SIGINT or SIGTERM) after a whole batch; --resume continues from there.
    """
    use_float64()
    from jaxlqr.commands import sweep as experiment

    if sum(each is not None for each in (spec, status, plot)) != 1:
        raise ValueError("give one of: a sweep file, --status DIR, --plot DIR.")
    with answering(quiet, as_json) as answer:
        if status is not None:
            found = experiment.status(status)
            experiment.show(found)
        elif plot is not None:
            found = {"wrote": experiment.plot(plot), "folder": plot}
            print(f"wrote {', '.join(found['wrote'])} to {plot}")
        else:
            assert spec is not None, "checked above"
            if out is None:
                raise ValueError("give the folder of the sweep, --out DIR.")
            found = experiment.sweep(
                spec,
                out,
                resume=resume,
                checkpoint_every=checkpoint_every,
                coordinator=coordinator,
                coordinator_bind=coordinator_bind,
                num_processes=num_processes,
                process_id=process_id,
                progress=progress_of(quiet),
            )
            experiment.show(found)
        answer(found)
    if spec is not None and not found["finished"]:
        say("warning", "batches of other processes are missing; if one was lost, run the same with --resume.")
        raise typer.Exit(1)
