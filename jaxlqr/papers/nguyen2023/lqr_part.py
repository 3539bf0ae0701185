"""The part ``lqr``: TOW and its controls on linear-quadratic tasks, as a figure, a table and arrays."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.nguyen2023 import lqr_figure
from jaxlqr.papers.nguyen2023.lqr_study import (
    NUM_SEEDS,
    QUICK_SEEDS,
    LqrStudy,
    arrays,
    study,
    table,
    told,
)


def prepare(request: Request) -> Callable[[], Outcome]:
    """Nothing can be wrong with a request here."""
    return partial(_run, request)


def _run(request: Request) -> Outcome:
    num_seeds = request.num_seeds or (QUICK_SEEDS if request.quick else NUM_SEEDS)
    studies = study(
        jax.random.key(request.seed),
        quick=request.quick,
        num_seeds=num_seeds,
        progress=request.progress,
        units=request.units,
    )
    summary = {family: told(one, request.quick) for family, one in studies.items()}
    return Outcome(
        summary={"num_seeds": num_seeds, **summary},
        figures={"tow_lqr.png": lqr_figure.draw(studies, request.quick)},
        arrays={"tow_lqr.npz": _arrays(studies)},
        tables=[table(family, summary[family]) for family in studies],
    )


def _arrays(studies: dict[str, LqrStudy]) -> dict[str, np.ndarray]:
    named = {family.replace(" ", "_"): arrays(one) for family, one in studies.items()}
    return {f"{family}_{name}": rows for family, of in named.items() for name, rows in of.items()}
