"""How conservative the certified rule is: its steps to a gradient norm, and those of backtracking."""

from functools import partial
from typing import Any

import numpy as np

from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.papers.musavi2023.setting import INNER_STEPS, OUTER_STEP, STARTS
from jaxlqr.papers.musavi2023.tables import entries
from jaxlqr.papers.musavi2023.theory import CertifiedSteps
from jaxlqr.papers.units import Units
from jaxlqr.training import BacktrackingSteps, Output, meta_train

NUM_CERTIFIED_STEPS, NUM_BACKTRACKING_STEPS = 40_000, 100
#: Gradient norms, relative to the first one, to which steps are counted.
TARGETS: tuple[float, ...] = (0.9, 0.5, 0.1)
# The steps that Condition 1 allows in this setting.
_SMALL = 1.5e-5


def compare(
    drawn: LQRTask,
    progress: bool | None,
    num_steps: int = NUM_CERTIFIED_STEPS,
    targets: tuple[float, ...] = TARGETS,
    units: Units | None = None,
) -> dict[str, Any]:
    """Run the rules, without safeguard, from the first start for every draw [draws, tasks, ...].

    Backtracking begins its trials at our outer step, and at the largest inner step of the paper; so that the objective
    is nearly the same, it also runs with an inner step about as small as the certified one. Returns, with one entry for
    each draw: the steps that the certified rule chose first, and, for each target, the number of steps until the norm
    of the meta-gradient is below that fraction of the first one, None where it is not reached.
    """
    gains = np.broadcast_to(np.array([STARTS[0].gain]), (drawn.A.shape[0], 1, 2))
    rules = {
        "certified": (CertifiedSteps(), num_steps),
        "backtracking": (BacktrackingSteps(cost, INNER_STEPS[-1], OUTER_STEP), NUM_BACKTRACKING_STEPS),
        "backtracking_small_inner": (BacktrackingSteps(cost, _SMALL, OUTER_STEP), NUM_BACKTRACKING_STEPS),
    }
    histories = {}
    for name, (rule, count) in rules.items():
        run = partial(
            meta_train, cost, gains, drawn, num_steps=count, step_rule=rule, batched=True, guard=None,
        )  # fmt: skip
        output = Output(metrics=entries, every=min(count, 500) + 1, progress=progress)
        result = (units or Units()).train(name, run, output)
        histories[name] = {key: np.asarray(rows) for key, rows in result.history.items()}
    counts = {
        name: {f"{target:g}": _steps_to(history["gradient_norm"], target) for target in targets}
        for name, history in histories.items()
    }
    certified = histories["certified"]
    norms = certified["gradient_norm"]
    return {
        "num_steps": {name: count for name, (_, count) in rules.items()},
        "inner_step": certified["inner_step"][:, 0],
        "outer_step": certified["outer_step"][:, 0],
        "always_feasible": {name: bool(np.all(history["feasible"])) for name, history in histories.items()},
        "relative_norm_at_the_end": norms[:, -1] / norms[:, 0],
        "steps_to_relative_norm": counts,
        "step_ratio": histories["backtracking"]["outer_step"][:, 0] / certified["outer_step"][:, 0],
    }


def _steps_to(norms: np.ndarray, target: float) -> list[int | None]:
    """First step with a norm of at most ``target`` times the first, for each run [runs, steps + 1]."""
    reached = norms <= target * norms[:, :1]
    return [int(np.argmax(row)) if row.any() else None for row in reached]
