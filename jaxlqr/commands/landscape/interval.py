"""The landscape of tasks with one state and one input: a curve with all its stationary points."""

from typing import Any

import numpy as np

from jaxlqr.commands.landscape import curve_figure
from jaxlqr.commands.landscape.curve import Example, study, told
from jaxlqr.commands.landscape.settings import LandscapeSettings
from jaxlqr.lqr import LQRTask


def look_at_interval(
    tasks: LQRTask, inner_step: float, settings: LandscapeSettings
) -> tuple[Any, dict[str, Any], dict[str, np.ndarray]]:
    """Figure, facts and arrays of the curve over all gains that stabilise every task, \\|a - b k\\| < 1."""
    a, b = np.asarray(tasks.A).ravel(), np.asarray(tasks.B).ravel()
    ends = np.sort([(a - 1) / b, (a + 1) / b], axis=0)
    low, high = ends[0].max(), ends[1].min()
    grid = np.linspace(low, high, 20 * settings.resolution + 2)[1:-1].reshape(-1, 1, 1)
    found = study(Example(tasks, inner_step, f"{len(a)} tasks"), grid)
    drawn = curve_figure.draw({"": found})
    return drawn, told(found), {"gains": found.gains, "values": found.values}
