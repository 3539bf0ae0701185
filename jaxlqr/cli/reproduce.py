"""``jaxlqr reproduce``: the experiments of a paper."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from jaxlqr.cli.common import Json, Quiet, answering, one_of, progress_of, use_float64
from jaxlqr.core.limits import check_count

PAPERS = ("toso2024", "molybog2021", "musavi2023", "wang2020", "nguyen2023")
MOST_SEEDS = 1000  # which run side by side; the papers take at most a tenth


def reproduce(
    paper: Annotated[
        str, typer.Argument(help=f"Which paper: {', '.join(PAPERS)}.", metavar="PAPER", autocompletion=one_of(*PAPERS))
    ],
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
        typer.Option(help="Not for musavi2023 and wang2020: run one part alone, such as theory.", metavar="NAME"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue from the finished units in DIR/unfinished, which are kept until the run is done."
        ),
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="Not for molybog2021 and nguyen2023: steps between checkpoints of trainings."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Reproduce the experiments of a paper: figures, summary.json and a table."""
    if paper not in PAPERS:
        near = get_close_matches(paper, PAPERS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(PAPERS)}."
        raise ValueError(f"unknown paper {paper!r}; {hint}")
    if seeds is not None:
        check_count(seeds, "the number of seeds", 1, MOST_SEEDS)
    from jaxlqr.io.output import check_folder

    folder = check_folder(Path(paper) if out is None else out)
    use_float64()
    from importlib import import_module

    from jaxlqr.papers.units import units_in

    known = import_module(f"jaxlqr.papers.{paper}.reproduction").PAPER
    special = {name: value for name, value in {"data": data, "part": part}.items() if value is not None}
    for name, taken in (("data", known.reads_data), ("part", len(known.parts) > 1)):
        if name in special and not taken:
            raise ValueError(f"{paper} has no option --{name}; leave it out.")
    if checkpoint_every is not None and not known.trains:
        raise ValueError(f"{paper} has no option --checkpoint-every, because its units are short; take --resume alone.")
    settings = {"paper": paper, "quick": quick, "seeds": seeds, **special}
    with answering(quiet, as_json) as answer, units_in(folder, resume, checkpoint_every, settings) as units:
        options = {"quick": quick, "num_seeds": seeds, "progress": progress_of(quiet), "units": units}
        answer(known.reproduce(folder, **options, **special))
