"""``jaxlqr bounds`` and ``jaxlqr certified``: the MAML-LQR theory on your own systems."""

from pathlib import Path
from typing import Annotated

import typer

from jaxlqr.cli.common import Json, Quiet, SamplingTime, answering, progress_of, use_float64

Tasks = Annotated[
    list[str], typer.Option(help="Tasks, at least two: as for train, also several files.", metavar="FILE")
]


def bounds(
    tasks: Tasks,
    out: Annotated[Path, typer.Option(help="Folder of bounds.json.", metavar="DIR")] = Path(),
    k0: Annotated[
        Path | None, typer.Option(help="Gain at which the bounds are computed: as for train.", metavar="FILE")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Tolerance, relative to the gap and to the norms estimated.")] = 0.1,
    delta: Annotated[float, typer.Option(help="Probability that an estimate misses its tolerance.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the directions of the measured slopes.")] = 0,
    dt: SamplingTime = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Every bound of the MAML-LQR theory for your tasks, as printed and as corrected, next to the measured value.

    Writes bounds.json. Exit code 0: done, also where a printed bound is violated. 2: bad input, nothing is written.
    """
    use_float64()
    from jaxlqr.papers.toso2024 import bounds as experiment

    with answering(quiet, as_json) as answer:
        answer(experiment.bounds(tasks, out, gain_file=k0, dt=dt, epsilon=epsilon, delta=delta, seed=seed))


def certified(
    tasks: Tasks,
    out: Annotated[Path, typer.Option(help="Output folder; results of an earlier run are replaced.", metavar="DIR")],
    k0: Annotated[Path | None, typer.Option(help="Initial gain: as for train.", metavar="FILE")] = None,
    epsilon: Annotated[float, typer.Option(help="Accuracy, relative to the first gap.")] = 0.1,
    delta: Annotated[float, typer.Option(help="Probability that the model-free run misses it.")] = 0.05,
    max_steps: Annotated[int, typer.Option(help="Iterations of each run, at most.")] = 5000,
    max_queries: Annotated[float, typer.Option(help="Cost queries of the model-free run, at most.")] = 1e9,
    seed: Annotated[int, typer.Option(help="Seed of the sampled sub-level set and of the queries.")] = 0,
    dt: SamplingTime = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run with the step sizes, radius and samples that the MAML-LQR theory certifies, next to its guarantees.

    Writes certified.png, runs.npz and certified.json. The model-free run is omitted if it needs too many samples.
    """
    use_float64()
    from jaxlqr.papers.toso2024 import certified as experiment

    settings = experiment.CertifiedSettings(
        epsilon=epsilon, delta=delta, max_steps=max_steps, max_queries=max_queries, seed=seed
    )
    with answering(quiet, as_json) as answer:
        content = experiment.certified(tasks, out, settings, gain_file=k0, dt=dt, progress=progress_of(quiet))
        experiment.show(content, out)
        answer(content)
