"""The part ``ablation``: how TOW's weights are found, on LQR tasks, as a figure, a table and arrays."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.nguyen2023 import ablation_figure
from jaxlqr.papers.nguyen2023.ablation import BETA, FAMILY, Ablation, ablate, told
from jaxlqr.papers.nguyen2023.lqr_study import NUM_SEEDS, QUICK_SEEDS, cell

if TYPE_CHECKING:
    from rich.table import Table


def prepare(request: Request) -> Callable[[], Outcome]:
    """Nothing can be wrong with a request here."""
    return partial(_run, request)


def _run(request: Request) -> Outcome:
    num_seeds = request.num_seeds or (QUICK_SEEDS if request.quick else NUM_SEEDS)
    work = partial(ablate, jax.random.key(request.seed), request.quick, num_seeds, request.progress)
    found = request.units("ablation", work, Ablation)
    summary = told(found)
    return Outcome(
        summary={"num_seeds": num_seeds, "family": FAMILY, "beta": BETA, **summary},
        figures={"tow_lqr_ablation.png": ablation_figure.draw(found)},
        arrays={"tow_lqr_ablation.npz": _arrays(found)},
        tables=[_table(summary)],
    )


def _arrays(found: Ablation) -> dict[str, np.ndarray]:
    gaps = {f"gap_{name}": rows for name, rows in found.gaps.items()}
    decreases = {f"decrease_{name}": rows for name, rows in found.decreases.items()}
    named = {name.replace(",", "").replace(" ", "_"): rows for name, rows in (gaps | decreases).items()}
    return named | {name: getattr(found, name) for name in ("weights", "scales", "uniform", "longer", "newton")}


def _table(summary: dict[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(title=f"nguyen2023, LQR, {FAMILY}, beta {BETA:g}: how the weights are found")
    for column in ("weights by", "final gap over uniform's [95 %]", "time over uniform's", "decrease of J"):
        table.add_column(column, justify="left" if column == "weights by" else "right")
    for name, gap in summary["gap_over_uniform"].items():
        seconds, decrease = summary["seconds_over_uniform"][name], summary["decrease_of_objective"][name]
        table.add_row(name, cell(gap), f"{seconds:.3g}", f"{decrease:.3%}")
    return table
