"""The part ``images-ablation``: how TOW's weights are found, on few-shot images, as a figure, tables and arrays."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.nguyen2023 import images_ablation_figure
from jaxlqr.papers.nguyen2023.few_shot import check_design
from jaxlqr.papers.nguyen2023.images_ablation import (
    BETA,
    DESIGN,
    LEARNER,
    NUM_SEEDS,
    NUM_TEST,
    QUICK_SEEDS,
    QUICK_TEST,
    SMALL,
    ablate,
    told,
)
from jaxlqr.papers.nguyen2023.images_study import ImageData, load

if TYPE_CHECKING:
    from rich.table import Table


def prepare(request: Request) -> Callable[[], Outcome]:
    """Read and check the data; ValueError when they cannot be read, or cannot fill the episodes."""
    data, small = load(request.data), load(request.data, SMALL.image_size)
    for classes in (data.train, data.test):
        check_design(classes, DESIGN)
    return partial(_run, request, data, small)


def _run(request: Request, data: ImageData, small: ImageData) -> Outcome:
    num_seeds = request.num_seeds or (QUICK_SEEDS if request.quick else NUM_SEEDS)
    found = ablate(data, small, range(request.seed, request.seed + num_seeds), request.quick, request.progress)
    summary = {
        "data": data.source,
        "num_seeds": num_seeds,
        "num_test_tasks": QUICK_TEST if request.quick else NUM_TEST,
        "num_params": LEARNER(data.train.side).network.num_params,
        "num_params_of_ways": SMALL.network.num_params,
        "beta": BETA,
        **told(found),
    }
    arrays = {f"curve_{name}": rows for name, rows in found.curves.items()}
    arrays |= {f"decrease_{name}": rows for name, rows in found.decreases.items()}
    arrays |= {f"way_{name}": rows for name, rows in found.ways.items()}
    named = {"_".join(name.replace(",", "").split()): rows for name, rows in arrays.items()}
    return Outcome(
        summary=summary,
        figures={"tow_images_ablation.png": images_ablation_figure.draw(found, summary)},
        arrays={"tow_images_ablation.npz": named | {"fixed": found.fixed, "fixed_losses": found.losses}},
        tables=_tables(summary),
    )


def _tables(summary: dict[str, Any]) -> "list[Table]":
    from rich.table import Table

    title = f"nguyen2023, images, beta {BETA:g}: {{}}, {{}} parameters\n{summary['data']}"
    trained = Table(title=title.format("number of directions", summary["num_params"]))
    for column in ("weights by", "accuracy, %", "ahead of uniform [95 %]", "time over uniform's", "decrease of J"):
        trained.add_column(column, justify="left" if column == "weights by" else "right")
    for name, one in summary["results"].items():
        ahead, decrease = one["ahead_of_uniform"], one.get("decrease_of_objective")
        interval = "" if np.isnan(ahead["low"]) else f" [{ahead['low']:+.2f}, {ahead['high']:+.2f}]"
        trained.add_row(
            name,
            f"{one['accuracy']:.1f}",
            "" if decrease is None else f"{ahead['mean']:+.2f}{interval}",
            f"{one['seconds_over_uniform']:.3g}",
            "" if decrease is None else f"{decrease:.4%}",
        )
    ways = Table(title=title.format("one stretch", summary["num_params_of_ways"]))
    for column in ("weights by", "decrease of J", "cosine with the exact descent", "largest change of M u"):
        ways.add_column(column, justify="left" if column == "weights by" else "right")
    for name, one in summary["ways"].items():
        ways.add_row(
            name, f"{one['decrease_of_objective']:.4%}", f"{one['cosine']:.4f}", f"{one['largest_change']:.3f}"
        )
    return [trained, ways]
