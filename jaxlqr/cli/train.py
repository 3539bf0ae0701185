"""``jaxlqr train``: one gain for your own systems."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlqr.cli.common import Json, Quiet, SamplingTime, TasksFile, answering, one_of, progress_of, say, use_float64


def train(
    tasks: TasksFile,
    out: Annotated[Path, typer.Option(help="Output folder; results of an earlier run are replaced.", metavar="DIR")],
    steps: Annotated[int, typer.Option(help="Outer steps.")] = 200,
    inner_step: Annotated[
        float | None,
        typer.Option(help="Adaptation step size. Default: 0.1 / L, L the largest Hessian eigenvalue over tasks at K0."),
    ] = None,
    outer_step: Annotated[
        float | None,
        typer.Option(
            help="Outer step size. Default: 1 / L; zeroth-order 1 / (L (1 + d / samples)), d the entries of K; "
            "adam 1e-3."
        ),
    ] = None,
    oracle: Annotated[
        str,
        typer.Option(
            help="Source of derivatives.", metavar="exact|zeroth-order", autocompletion=one_of("exact", "zeroth-order")
        ),
    ] = "exact",
    samples: Annotated[int, typer.Option(help="Zeroth-order: directions per gradient.")] = 20,
    radius: Annotated[float, typer.Option(help="Zeroth-order: smoothing radius, in units of K.")] = 1e-2,
    inner_steps: Annotated[int, typer.Option(help="Adaptation steps; 0 is plain multi-task descent.")] = 1,
    first_order: Annotated[bool, typer.Option("--first-order", help="Leave out the Hessian.")] = False,
    optimizer: Annotated[
        str, typer.Option(help="Outer update.", metavar="sgd|adam", autocompletion=one_of("sgd", "adam"))
    ] = "sgd",
    k0: Annotated[
        Path | None,
        typer.Option(
            help="Initial gain: .npy, .npz (K or K0) or CSV. Default: K0 of the tasks file, else the optimum of the "
            "average task.",
            metavar="FILE",
        ),
    ] = None,
    safeguard: Annotated[bool, typer.Option(help="Shorten steps so that every iterate stabilises every task.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the zeroth-order oracle and of the minibatches.")] = 0,
    minibatch: Annotated[
        int | None, typer.Option(help="Tasks whose gradient a step uses, drawn at every step. Default: all of them.")
    ] = None,
    max_queries: Annotated[
        int | None, typer.Option(help="Zeroth-order: budget of cost queries, at which the run ends.")
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between checkpoints, kept in DIR/checkpoints until the run is done. Default: one if stopped."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in DIR.")] = False,
    dt: SamplingTime = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Meta-train one gain for your own systems; writes gain.npz, history.npz, training.png and summary.json.

    Exit code 0: done, with a warning if no acceptable last step was found. 1: diverged, which only happens without the
    safeguard; results are written. 2: bad input, nothing is written. 130: interrupted (SIGINT, which is Ctrl-C, or
    SIGTERM): only a checkpoint is written, and --resume continues from it. A second interruption stops at once, without
    a checkpoint.
    """
    use_float64()
    from jaxlqr.commands import train as experiment

    settings = experiment.TrainSettings(
        steps=steps,
        inner_step=inner_step,
        outer_step=outer_step,
        oracle=oracle,
        samples=samples,
        radius=radius,
        inner_steps=inner_steps,
        first_order=first_order,
        optimizer=optimizer,
        safeguard=safeguard,
        seed=seed,
        minibatch=minibatch,
        max_queries=max_queries,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    with answering(quiet, as_json) as answer:
        summary = experiment.train(tasks, out, settings, gain_file=k0, dt=dt, progress=progress_of(quiet))
        _show(summary, f"wrote {', '.join(experiment.RESULT_FILES)} to {out}")
        answer(summary)
    if summary["advice"]:
        say("warning", f"the run ended {summary['status']}: {summary['advice']}")
    if summary["status"] == "DIVERGED":
        raise typer.Exit(1)


def _show(summary: dict[str, Any], written: str) -> None:
    """Print a short table of the first and last values of the run."""
    from rich.table import Table

    from jaxlqr.io.console import counted, open_console

    console = open_console()
    size = f"{counted(summary['num_tasks'], 'task')}, {counted(summary['steps_taken'], 'step')}"
    title = f"{size}: {summary['status'].lower()}"
    table = Table("", "first", "last", title=title, title_justify="left")
    adapted = summary["settings"]["inner_steps"] > 0
    for key, label in (
        *((("objective", "objective: mean cost after adaptation"),) if adapted else ()),
        ("cost_mean", f"{'' if adapted else 'objective: '}mean cost over tasks"),
        ("cost_worst", "cost of the worst task"),
        ("gap_median", "gap to each task's own optimum, median"),
        ("gradient_norm", "norm of the meta-gradient"),
        ("spectral_radius_max", "largest spectral radius"),
    ):
        table.add_row(label, *(f"{summary[key][end]:.6g}" for end in ("first", "last")))
    console.print(table)
    settings, chosen = summary["settings"], summary["steps_chosen_automatically"]
    steps = (
        f"{name.replace('_', ' ')} {settings[name]:.3g}{' (chosen)' if name in chosen else ''}"
        for name in ("inner_step", "outer_step")
    )
    console.print(f"K0: {summary['initial_gain']}; {', '.join(steps)}; {summary['wall_seconds']:.1f} s", soft_wrap=True)
    console.print(written, soft_wrap=True, markup=False)
