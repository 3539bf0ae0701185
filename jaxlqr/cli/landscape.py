"""``jaxlqr landscape``: a map of the meta-objective."""

from pathlib import Path
from typing import Annotated

import typer

from jaxlqr.cli.common import Json, Quiet, SamplingTime, TasksFile, answering, one_of, progress_of, use_float64


def landscape(
    tasks: TasksFile,
    out: Annotated[Path, typer.Option(help="Output folder; results of an earlier run are replaced.", metavar="DIR")],
    inner_step: Annotated[
        float | None,
        typer.Option(
            help="Adaptation step size. Default: 0.1 / L, L the largest Hessian eigenvalue at the first gain."
        ),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option(
            help="Through the best minimum, along the meta-Hessian's leading eigenvectors (default) or towards two "
            "tasks' optimal gains.",
            metavar="curvature|optima",
            autocompletion=one_of("curvature", "optima"),
        ),
    ] = None,
    resolution: Annotated[int, typer.Option(help="Points along each side of the map.")] = 160,
    starts: Annotated[int, typer.Option(help="Starts of the search for stationary points.")] = 256,
    steps: Annotated[int, typer.Option(help="Steps of each optimiser whose path is drawn.")] = 200,
    frames: Annotated[
        int, typer.Option(help="Frames of landscape.gif, over inner steps from a tenth to ten times; 0: no animation.")
    ] = 0,
    k0: Annotated[
        Path | None,
        typer.Option(help="First gain of search and paths: .npy, .npz (K or K0) or CSV.", metavar="FILE"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the starts.")] = 0,
    dt: SamplingTime = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Map the meta-objective of your own systems, with its stationary points: landscape.png, .npz and summary.json.

    A scalar gain gives a curve with all its stationary points, a matrix a plane with those that were found.
    """
    use_float64()
    from jaxlqr.commands import landscape as experiment

    settings = experiment.LandscapeSettings(
        inner_step=inner_step, plane=plane, resolution=resolution, starts=starts, steps=steps, frames=frames, seed=seed
    )
    with answering(quiet, as_json) as answer:
        summary = experiment.landscape(tasks, out, settings=settings, gain_file=k0, dt=dt, progress=progress_of(quiet))
        experiment.show(summary, out)
        answer(summary)
