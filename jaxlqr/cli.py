"""The command line. A mistake gets one sentence, not a traceback."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

# Newer versions of typer carry their own click, so the base of its usage errors is found through one of them.
_UsageProblem: Any = typer.BadParameter.__mro__[2]  # ClickException

PAPERS = {
    "toso2024": "jaxlqr.experiments.toso2024",
    "molybog2021": "jaxlqr.experiments.molybog2021",
    "musavi2023": "jaxlqr.experiments.musavi2023",
    "wang2020": "jaxlqr.experiments.wang2020",
    "nguyen2023": "jaxlqr.experiments.nguyen2023",
}
WITHOUT_TRAINING = ("molybog2021", "nguyen2023")  # by the learners, which keep checkpoints

app = typer.Typer(
    name="jaxlqr",
    help="Meta-learn controllers and policies, and reproduce the papers on it. Computes in float64.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: boxes leave a third of a terminal for the text, and markup eats brackets
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from jaxlqr import __version__

        print(f"jaxlqr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    tasks: Annotated[
        Path, typer.Option(help="Tasks: .npz with A, B (optionally Q, R, Sigma0, K0), or .toml.", metavar="FILE")
    ],
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
    oracle: Annotated[str, typer.Option(help="Source of derivatives.", metavar="exact|zeroth-order")] = "exact",
    samples: Annotated[int, typer.Option(help="Zeroth-order: directions per gradient.")] = 20,
    radius: Annotated[float, typer.Option(help="Zeroth-order: smoothing radius, in units of K.")] = 1e-2,
    hessian: Annotated[
        str, typer.Option(help="Zeroth-order: Hessian estimate; printed is that of the paper.", metavar="stein|printed")
    ] = "stein",
    inner_steps: Annotated[int, typer.Option(help="Adaptation steps; 0 is plain multi-task descent.")] = 1,
    first_order: Annotated[bool, typer.Option("--first-order", help="Leave out the Hessian.")] = False,
    optimizer: Annotated[str, typer.Option(help="Outer update.", metavar="sgd|adam")] = "sgd",
    k0: Annotated[
        Path | None,
        typer.Option(
            help="Initial gain: .npy, .npz (K or K0) or CSV. Default: K0 of the tasks file, else the optimum of the "
            "average task.",
            metavar="FILE",
        ),
    ] = None,
    safeguard: Annotated[bool, typer.Option(help="Shorten steps so that every iterate stabilises every task.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the zeroth-order oracle.")] = 0,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints, kept in DIR/checkpoints until the run is done.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in DIR.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Meta-train one gain for your own systems; writes gain.npz, history.npz, training.png and summary.json.

    Exit code 0: done, with a warning if the last step was refused. 1: diverged, which only happens without the
    safeguard; results are written. 2: bad input, nothing is written. 130: interrupted (SIGINT, or SIGTERM with
    checkpoints), nothing is written but, with checkpoints, a last one, from which --resume goes on.
    """
    _use_float64()
    from jaxlqr.experiments import train as experiment

    settings = experiment.TrainSettings(
        steps=steps,
        inner_step=inner_step,
        outer_step=outer_step,
        oracle=oracle,
        samples=samples,
        radius=radius,
        hessian=hessian,
        inner_steps=inner_steps,
        first_order=first_order,
        optimizer=optimizer,
        safeguard=safeguard,
        seed=seed,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    progress = False if quiet else None
    with _stoppable():
        summary = experiment.train(tasks, out, settings, gain_file=k0, progress=progress)
    if not quiet:
        _show(summary, f"wrote {', '.join(experiment.RESULT_FILES)} to {out}")
    if summary["advice"]:
        _say("warning", f"the run ended {summary['status']}: {summary['advice']}")
    if summary["status"] == "DIVERGED":
        raise typer.Exit(1)


@app.command()
def sweep(
    spec: Annotated[Path | None, typer.Argument(help="What to sweep over, a TOML file.", metavar="SPEC")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep in DIR, or begin.")] = False,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints within a batch of runs; else batches are kept whole.")
    ] = None,
    coordinator: Annotated[
        str | None, typer.Option(help="Where the processes of a job meet.", metavar="HOST:PORT")
    ] = None,
    num_processes: Annotated[int | None, typer.Option(help="Processes of the job.")] = None,
    process_id: Annotated[int | None, typer.Option(help="Number of this process, from 0.")] = None,
    status: Annotated[Path | None, typer.Option(help="Only tell how far the sweep in DIR is.", metavar="DIR")] = None,
    plot: Annotated[Path | None, typer.Option(help="Only draw the sweep in DIR, as sweep.png.", metavar="DIR")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live table.")] = False,
) -> None:
    """Train over a grid or a random search of settings; writes results.parquet, a row for each run.

    Exit code 0: all runs are done, also where some failed, which their rows say. 1: other processes have not finished.
    2: bad input. 130: interrupted (SIGINT or SIGTERM) after a whole batch, from where --resume goes on.
    """
    _use_float64()
    from jaxlqr.experiments import sweep as experiment

    if sum(each is not None for each in (spec, status, plot)) != 1:
        raise ValueError("give one of: a sweep file, --status DIR, --plot DIR.")
    if status is not None:
        experiment.show(experiment.status(status))
    elif plot is not None:
        print(f"wrote {', '.join(experiment.plot(plot))} to {plot}")
    elif spec is not None:
        if out is None:
            raise ValueError("give the folder of the sweep, --out DIR.")
        progress = False if quiet else None
        with _stoppable():
            summary = experiment.sweep(
                spec,
                out,
                resume=resume,
                checkpoint_every=checkpoint_every,
                coordinator=coordinator,
                num_processes=num_processes,
                process_id=process_id,
                progress=progress,
            )
        if not quiet:
            experiment.show(summary)
        if not summary["finished"]:
            _say("warning", "batches of other processes are missing; if one was lost, run the same with --resume.")
            raise typer.Exit(1)


@app.command()
def landscape(
    tasks: Annotated[
        Path, typer.Option(help="Tasks: .npz with A, B (optionally Q, R, Sigma0, K0), or .toml.", metavar="FILE")
    ],
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
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Map the meta-objective of your own systems, with its stationary points: landscape.png, .npz and summary.json.

    A scalar gain gives a curve with all its stationary points, a matrix a plane with those that were found.
    """
    _use_float64()
    from jaxlqr.experiments import landscape as experiment

    settings = experiment.LandscapeSettings(
        inner_step=inner_step, plane=plane, resolution=resolution, starts=starts, steps=steps, frames=frames, seed=seed
    )
    summary = experiment.landscape(tasks, out, settings, gain_file=k0, progress=False if quiet else None)
    if not quiet:
        experiment.show(summary, out)


@app.command()
def bounds(
    tasks: Annotated[Path, typer.Option(help="Tasks, at least two: as for train.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="Folder of bounds.json.", metavar="DIR")] = Path(),
    k0: Annotated[
        Path | None, typer.Option(help="Gain at which the bounds are taken: as for train.", metavar="FILE")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Tolerance, relative to the gap and to the norms estimated.")] = 0.1,
    delta: Annotated[float, typer.Option(help="Probability that an estimate misses its tolerance.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the directions in which slopes are measured.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No table.")] = False,
) -> None:
    """Every bound of the MAML-LQR theory for your tasks, as printed and as corrected, beside the measured value.

    Writes bounds.json. Exit code 0: done, also where a printed bound is violated. 2: bad input, nothing is written.
    """
    _use_float64()
    from jaxlqr.experiments import bounds as experiment

    experiment.bounds(tasks, out, gain_file=k0, epsilon=epsilon, delta=delta, seed=seed, show=not quiet)


@app.command()
def certified(
    tasks: Annotated[Path, typer.Option(help="Tasks, at least two: as for train.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="Output folder; results of an earlier run are replaced.", metavar="DIR")],
    k0: Annotated[Path | None, typer.Option(help="Initial gain: as for train.", metavar="FILE")] = None,
    epsilon: Annotated[float, typer.Option(help="Accuracy, relative to the first gap.")] = 0.1,
    delta: Annotated[float, typer.Option(help="Probability that the model-free run misses it.")] = 0.05,
    max_steps: Annotated[int, typer.Option(help="Iterations of each run, at most.")] = 5000,
    max_queries: Annotated[float, typer.Option(help="Cost queries of the model-free run, at most.")] = 1e9,
    seed: Annotated[int, typer.Option(help="Seed of the sampled sub-level set and of the queries.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Run with the step sizes, radius and samples that the MAML-LQR theory certifies, beside what it promises.

    Writes certified.png, runs.npz and certified.json. The model-free run is left out where its samples cost too much.
    """
    _use_float64()
    from jaxlqr.experiments import certified as experiment

    settings = experiment.CertifiedSettings(
        epsilon=epsilon, delta=delta, max_steps=max_steps, max_queries=max_queries, seed=seed
    )
    content = experiment.certified(tasks, out, settings, gain_file=k0, progress=False if quiet else None)
    if not quiet:
        experiment.show(content, out)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help=f"Which paper: {', '.join(PAPERS)}.", metavar="PAPER")],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and steps: 0.5 to 2 minutes.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Output folder. Default: the name of the paper.", metavar="DIR")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each curve. Default: as many as the paper.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Only nguyen2023: folder of the Omniglot files.", metavar="DIR")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="Not of musavi2023 and wang2020: run one part alone, such as theory.", metavar="NAME"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished units in DIR/unfinished, and go on from those there.")
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="Not of molybog2021 and nguyen2023: keep trainings, too, after each so many steps."),
    ] = None,
) -> None:
    """Reproduce the experiments of a paper: figures, summary.json and a table."""
    if paper not in PAPERS:
        near = get_close_matches(paper, PAPERS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(PAPERS)}."
        raise ValueError(f"unknown paper {paper!r}; {hint}")
    if seeds is not None and seeds < 1:
        raise ValueError(f"the number of seeds must be at least 1, got {seeds}.")
    from jaxlqr.output import check_folder

    folder = check_folder(Path(paper) if out is None else out)
    _use_float64()
    from importlib import import_module
    from inspect import signature

    run = import_module(PAPERS[paper]).reproduce
    special = {name: value for name, value in {"data": data, "part": part}.items() if value is not None}
    for name in special:
        if name not in signature(run).parameters:
            raise ValueError(f"{paper} has no option --{name}; leave it out.")
    if checkpoint_every is not None and paper in WITHOUT_TRAINING:
        raise ValueError(f"{paper} has no option --checkpoint-every, because its units are short; take --resume alone.")
    from jaxlqr.experiments.units import units_in

    settings = {"paper": paper, "quick": quick, "seeds": seeds, **special}
    with _stoppable(), units_in(folder, resume, checkpoint_every, settings) as units:
        run(folder, quick=quick, num_seeds=seeds, progress=None, units=units, **special)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``arguments`` are those of the process unless given.

    >>> main(["--version"])  # doctest: +ELLIPSIS
    jaxlqr ...
    0
    """
    try:
        # Not standalone: typer would print its errors as boxes, and exit here.
        code = app(None if arguments is None else list(arguments), prog_name="jaxlqr", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort, _Stopped) as stop:
        return _interrupted(str(stop))
    except _UsageProblem as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":
            print(problem.format_message(), file=sys.stderr)
            return 2
        return _fail(problem.format_message())
    except OSError as error:
        return _fail(f"{error.strerror}: {error.filename}." if error.filename and error.strerror else str(error))
    except (ValueError, MemoryError) as error:
        return _fail(str(error) or "out of memory.")
    except RuntimeError as error:
        # The accelerator or its memory gave out; any other RuntimeError is a bug, whose traceback is wanted.
        if type(error).__name__ not in ("JaxRuntimeError", "XlaRuntimeError"):
            raise
        return _fail(str(error))
    return _interrupted() if code == 130 else code if isinstance(code, int) else 0


def _show(summary: dict[str, Any], written: str) -> None:
    """A short table of how the run began and ended."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    title = f"{summary['num_tasks']} tasks, {summary['settings']['steps']} steps: {summary['status'].lower()}"
    table = Table("", "first", "last", title=title, title_justify="left")
    for key, label in (
        ("cost_median", "cost, median over tasks"),
        ("gap_median", "gap to the optimum, median over tasks"),
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


def _use_float64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _fail(message: str) -> int:
    _say("error", message)
    return 2


class _Stopped(Exception):
    """An interruption with what is kept; typer would turn ``KeyboardInterrupt`` into a bare exit code."""


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        raise _Stopped(*stop.args) from None


def _interrupted(how: str = "") -> int:
    _say("interrupted", f"{how} Go on with --resume." if how else "nothing half-written is left.")
    return 130


def _say(kind: str, message: str) -> None:
    """One line on stderr, whatever line breaks the message has."""
    print(f"{kind}: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
