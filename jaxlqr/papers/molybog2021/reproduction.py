"""Figures 1 to 3 of "Global convergence of MAML for LQR", and how often random families have no spurious minima."""

from functools import partial
from typing import Any

from jaxlqr.commands.landscape import curve_figure
from jaxlqr.commands.landscape.curve import Study, study, told
from jaxlqr.papers.driver import Outcome, Paper, Part, Request, unchecked
from jaxlqr.papers.molybog2021 import phase_figure
from jaxlqr.papers.molybog2021.examples import GRID, examples
from jaxlqr.papers.molybog2021.phase import NUM_FAMILIES, NUM_QUICK_FAMILIES, phase_diagram

QUICK = ("1", "2", "3a")


def _figures(request: Request) -> Outcome:
    """All stationary points of all examples; of Figures 1, 2 and 3a in a quick run."""
    chosen = {name: example for name, example in examples().items() if not request.quick or name in QUICK}
    keep = request.units
    studies = {name: study(example, GRID, keep=partial(keep, f"figure {name}")) for name, example in chosen.items()}
    facts = {name: told(one) for name, one in studies.items()}
    return Outcome(
        summary={"figures": facts},
        figures={"figures.png": curve_figure.draw(studies)},
        arrays={"landscapes.npz": {f"figure{name}": one.values for name, one in studies.items()}},
        tables=[_minima(studies, facts)],
    )


def _phase(request: Request) -> Outcome:
    """The fraction of random families that are epsilon-global; the seeds are families at each point."""
    count = request.seeds(NUM_QUICK_FAMILIES, NUM_FAMILIES)
    found = phase_diagram(count, request.seed, progress=request.progress, units=request.units)
    return Outcome(
        summary={"phase_diagram": found},
        figures={"phase.png": phase_figure.draw(found)},
        arrays={},
        tables=[_fractions(found)],
    )


PAPER = Paper(
    "molybog2021",
    {
        "figures": Part(unchecked(_figures), files=("figures.png", "landscapes.npz", "summary.json")),
        "phase": Part(unchecked(_phase), files=("phase.png", "summary.json")),
    },
    trains=False,
)


def _minima(studies: dict[str, Study], found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="molybog2021: local minima of the meta-objective")
    for column in ("figure", "tasks", "eta", "minima at K", "values", "excess"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, one in studies.items():
        facts = found[name]
        gains, values = ([f"{m[key]:.4f}" for m in facts["minima"]] for key in ("gain", "value"))
        row = (str(one.values.shape[1]), f"{one.example.inner_step_size:g}", "\n".join(gains), "\n".join(values))
        table.add_row(name, *row, f"{facts['excess']:.2g}")
    return table


def _fractions(found: dict[str, Any]) -> Any:
    from rich.table import Table

    index = 1
    share = 100 * found["tolerances"][index]
    table = Table(title=f"% of {found['num_families']} families with all minima within {share:g} % of the least")
    table.add_column("level \\ eta")
    for step in found["inner_steps"]:
        table.add_column(f"{step:g}", justify="right")
    for level, low, high in zip(found["levels"], found["low"][index], found["high"][index], strict=True):
        cells = (f"{100 * a:.0f}-{100 * b:.0f}" for a, b in zip(low, high, strict=True))
        table.add_row(f"{level:g}", *cells)
    return table
