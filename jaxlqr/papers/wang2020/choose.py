"""How features and step sizes were chosen: on a development draw of tasks, which no reported split shares.

    python -m jaxlqr.papers.wang2020.choose

For each width of the bumps and each step size of Adam the starts are trained on 20 tasks of each development split; the
table is of the return after one step on its other 20 tasks. The width is that of the best meta-learned start: 0.452
with steps of 0.1 and of 0.3; the longer steps need fewer iterations. The step size of each other learner is the one
that is best for itself at that width: a stop of the average-return policy gains from long steps, which its end does
not.
"""

from dataclasses import replace

import jax

from jaxlqr.papers.wang2020.learn import StepSizes, learn
from jaxlqr.papers.wang2020.settings import SETTINGS, bumps

DEVELOPMENT_SEED = 12_345
WIDTHS, STEP_SIZES = (0.2, 0.3, 0.45), (0.1, 0.3, 1.0, 3.0)


def choose(num_splits: int = 2, num_steps: int = 150, progress: bool | None = None) -> list[dict[str, float]]:
    """Rows of width, step size and the mean returns after one step on development tasks, best meta-learned first."""
    rows = []
    for width in WIDTHS:
        setting = replace(SETTINGS["gridworld"], features=bumps(width))
        for step_size in STEP_SIZES:
            key = jax.random.key(DEVELOPMENT_SEED)
            steps = StepSizes(meta=step_size, average=step_size, early=step_size)
            told = learn(key, setting, num_splits, num_steps, progress, steps, kinds=("exact",)).returns
            row = {name: float(told[name][:, :, 1].mean()) for name in ("exact", "average_early", "average")}
            rows.append({"width": width, "step_size": step_size} | row)
    return sorted(rows, key=lambda row: -row["exact"])


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print("\n".join("  ".join(f"{name} {value:.3g}" for name, value in row.items()) for row in choose()))
