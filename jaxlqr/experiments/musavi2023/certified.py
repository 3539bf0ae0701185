"""How conservative the certified rule is: how many backtracking steps make the progress that it makes."""

from typing import Any

import numpy as np

from jaxlqr.experiments.musavi2023.setting import OUTER_STEP, STARTS
from jaxlqr.experiments.musavi2023.tables import entries
from jaxlqr.lqr.cost import cost
from jaxlqr.lqr.task import LQRTask
from jaxlqr.theory.musavi2023 import CertifiedSteps
from jaxlqr.training import meta_train

NUM_CERTIFIED_STEPS = 100


def compare(drawn: LQRTask, progress: bool | None, num_steps: int = NUM_CERTIFIED_STEPS) -> dict[str, Any]:
    """Run the certified rule, without safeguard, from the first start for every draw [draws, tasks, ...].

    Returns, with one entry for each draw: the steps it chose first, the relative decrease of the gradient's norm after
    ``num_steps`` steps, and how often its outer step goes into the step of the backtracking runs. The certified rule
    would need about that many times as many steps as they do for the same gradient norm.
    """
    gains = np.broadcast_to(np.array([STARTS[0].gain]), (drawn.A.shape[0], 1, 2))
    result = meta_train(
        cost, gains, drawn, num_steps=num_steps, step_rule=CertifiedSteps(), safeguard=False, metrics=entries,
        batched=True, progress=progress,
    )  # fmt: skip
    history = {name: np.asarray(rows) for name, rows in result.history.items()}
    norms = history["gradient_norm"]
    return {
        "num_steps": num_steps,
        "inner_step": history["inner_step"][:, 0],
        "outer_step": history["outer_step"][:, 0],
        "always_feasible": bool(np.all(history["feasible"])),
        "relative_decrease": 1 - norms[:, -1] / norms[:, 0],
        "step_ratio": OUTER_STEP / np.median(history["outer_step"], axis=1),
    }
