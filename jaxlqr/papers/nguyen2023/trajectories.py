"""The part ``trajectories``: five classic problems solved by iLQR and by DDP, and what the solutions look like; by iLQR
alone when it shall be quick, since nearly all of the time is spent to compile."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from tqdm.auto import tqdm

from jaxlqr.core.status import SolveStatus
from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.nguyen2023 import trajectories_figure
from jaxlqr.trajectory import IlqrResult, ilqr
from jaxlqr.trajectory.problems import PROBLEMS, TrajectoryProblem

if TYPE_CHECKING:
    from rich.table import Table

MAX_ITERATIONS = 1000
SOLVERS = {"iLQR": False, "DDP": True}


def prepare(request: Request) -> Callable[[], Outcome]:
    """Nothing can be wrong with a request here: nothing is random."""
    return partial(_run, request)


def _run(request: Request) -> Outcome:
    problems = {name: problem() for name, problem in PROBLEMS.items()}
    bar = tqdm(
        problems.items(), desc="trajectories", disable=None if request.progress is None else not request.progress
    )
    solvers = {name: ddp for name, ddp in SOLVERS.items() if not (ddp and request.quick)}
    found = {
        name: {
            solver: request.units(f"{name} {solver}", partial(_solve, p, ddp), IlqrResult)
            for solver, ddp in solvers.items()
        }
        for name, p in bar
    }
    return Outcome(
        summary={name: {solver: _told(result) for solver, result in of.items()} for name, of in found.items()},
        figures={"trajectories.png": trajectories_figure.draw(problems, found)},
        arrays={"trajectories.npz": _arrays(found)},
        tables=[_table(found)],
    )


def _solve(p: TrajectoryProblem, ddp: bool) -> IlqrResult:
    options: dict[str, Any] = {"max_steps": MAX_ITERATIONS, "ddp": ddp}
    result = ilqr(p.cost, p.dynamics, p.x0, p.U0, params=p.params, final_cost=p.final_cost, **options)
    return jax.tree.map(np.asarray, result)


def _told(result: IlqrResult) -> dict[str, Any]:
    return {
        "cost": result.cost,
        "status": SolveStatus(int(result.status)),
        "iterations": result.iterations,
        "gradient_norm": result.history["gradient_norm"][int(result.iterations)],
        "last_state": result.states[-1],
    }


def _arrays(found: dict[str, dict[str, IlqrResult]]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, of in found.items():
        for solver, result in of.items():
            rows = {"states": result.states, "controls": result.controls, **result.history}
            arrays |= {f"{name}_{solver.lower()}_{key}": row for key, row in rows.items()}
    return arrays


def _table(found: dict[str, dict[str, IlqrResult]]) -> "Table":
    from rich.table import Table

    table = Table("problem", "solver", title="nguyen2023: trajectory optimisation")
    for column in ("cost", "ended", "iterations", "gradient"):
        table.add_column(column, justify="left" if column == "ended" else "right")
    for name, of in found.items():
        for solver, result in of.items():
            told = _told(result)
            ended = told["status"].name.lower().replace("_", " ")
            numbers = (f"{told['cost']:.9g}", ended, str(told["iterations"]), f"{told['gradient_norm']:.1e}")
            table.add_row(name.replace("_", " "), solver, *numbers)
    return table
