"""What task weights by trajectory optimisation cost on few-shot images, and how their step compares: one run, one core.

    taskset -c 0 python benchmarks/few_shot.py [--data DIR] [--quick] [--write]
    python benchmarks/few_shot.py --summary OUT/summary.json [--write]

DIR holds the Omniglot files; without it handwritten digits are used. The second form times nothing: it makes the table
of accuracies from what ``jaxlqr reproduce nguyen2023`` found.
``--write`` puts the tables into docs/benchmarks/images.md.
"""

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
from timing import DOCS, markdown, medians, replace_between

from jaxlqr.meta.gram_weighting import first_rows, gram_gradient, run
from jaxlqr.meta.trajectory_weighting import tow
from jaxlqr.meta.weight_trajectory import State, gradient, train
from jaxlqr.papers.nguyen2023.few_shot import ImageClasses
from jaxlqr.papers.nguyen2023.images import (
    NUM_TASKS,
    NUM_TRIALS,
    STRETCH,
    Learner,
    optimizer,
    start,
    stretch,
    train_myopic,
)
from jaxlqr.papers.nguyen2023.images_study import SETTINGS, load

jax.config.update("jax_enable_x64", True)
BETA = 10.0
WARM = 20  # stretches of uniform training before the one that is looked at


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / size if size > 0 else float("nan")


def cost_table(name: str, images: ImageClasses, repeats: int) -> str:
    """One stretch of five updates of ten tasks, already drawn: uniform training by the gradient of the weighted loss,
    and by that of each task; TOW by two methods; and the two gradients of J."""
    setting = SETTINGS[name]
    learner = Learner(setting.kind, setting.design, images.side, setting.num_inner_steps)
    key, number = jax.random.key(0), jnp.asarray(WARM)
    uniform = partial(train_myopic, learner, key=key, images=images, rule=jnp.asarray(0))
    state = start(learner, key)
    for place in range(WARM):
        state, _ = uniform(state=state, first=jnp.asarray(place), count=1)
    batch = jax.jit(partial(stretch, learner))(key, images, number)
    optimise = partial(tow, learner.loss, state.params, batch, optimizer=optimizer(), opt_state=state.memory,
                       beta=BETA, max_backtracks=NUM_TRIALS, batch_size=1)  # fmt: skip
    nominal, beta = jnp.full((STRETCH, NUM_TASKS), 1 / NUM_TASKS), jnp.asarray(BETA)
    training = learner.training

    def one_pass(state: State) -> State:
        return run(training, state, first_rows(training, state, batch), nominal, batch, beta).last

    calls: dict[str, Callable[[], Any]] = {
        "uniform": partial(jax.jit(lambda state: train(training, state, nominal, batch)[1]), state),
        "uniform, task by task": partial(jax.jit(one_pass), state),
        "gram": optimise,
        "gram, 2 directions": partial(optimise, num_steps=2),
        "reverse": partial(optimise, method="reverse"),
        "gradient, gram": partial(jax.jit(partial(gram_gradient, training)), state, nominal, batch, beta),
        "gradient, reverse": partial(jax.jit(partial(gradient, training)), state, nominal, batch, beta),
    }
    times = medians(calls, repeats)
    exact = np.asarray(calls["gradient, reverse"]())
    rows = []
    for method, milliseconds in times.items():
        found = calls[method]()
        decrease, towards = "", ""
        if method.startswith("gradient"):
            towards = f"{cosine(np.asarray(found), exact):.6f}"
        elif not method.startswith("uniform"):
            towards = f"{cosine(1 / NUM_TASKS - np.asarray(found.weights), exact):.6f}"
            decrease = f"{float(1 - found.cost / found.nominal_cost):.3%}"
        rows.append([name, method, f"{milliseconds:.4g}", f"{milliseconds / times['uniform']:.3g}", towards, decrease])
    header = ["learner", "method", "ms a stretch", "over uniform", "cosine with the exact descent", "decrease of J"]
    return f"{learner.network.num_params} parameters:\n\n" + markdown(header, rows)


def accuracy_table(path: Path) -> str:
    """Accuracies and paired differences of every rule and setting, from the summary of the reproduction."""
    found = json.loads(path.read_text())["images"]
    rows = []
    for name, rules in found["results"].items():
        best = found["best_uniform"][name]
        for rule, told in rules.items():
            accuracy, runs = told["accuracy"], told.get("runs_accuracy")
            rows.append([
                name, f"{rule} (best)" if rule == best != "uniform" else rule,
                f"{accuracy['mean']:.1f} ± {accuracy['high'] - accuracy['mean']:.1f}",
                "" if rule == "uniform" else interval(told["ahead_of_uniform"]),
                "" if rule == best else interval(told["ahead_of_best_uniform"]),
                "" if runs is None else f"{runs['mean']:.1f} ± {runs['high'] - runs['mean']:.1f}",
                f"{told['weights_over_uniform']['spread']:.3f}", f"{told['weights_over_uniform']['mean']:.3f}",
                f"{told['updates']}", f"{told['seconds']:.1f}",
            ])  # fmt: skip
    header = ["learner", "weights", "test tasks, %", "ahead of uniform", "of uniform at its best step",
              "published runs, %", "spread of M u", "mean of M u", "updates", "s"]  # fmt: skip
    compared = [
        f"{name}: {one['tow']} against {one['uniform']}, {interval(one['ahead'])}"
        for name, one in found["at_best_steps"].items()
    ]
    said = f"{found['data']}; {found['num_seeds']} seeds, {found['num_test_tasks']} test tasks."
    both = f"Points by which TOW at its best step is ahead of uniform weights at theirs: {'; '.join(compared)}."
    return f"{said}\n\n{markdown(header, rows)}\n\n{both}"


def interval(told: dict[str, float]) -> str:
    return f"{told['mean']:+.2f} [{told['low']:+.2f}, {told['high']:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the Omniglot files")
    parser.add_argument("--summary", type=Path, help="summary.json of the reproduction, for the table of accuracies")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, MAML only")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks/images.md")
    options = parser.parse_args()
    if options.summary is not None:
        name, text = "few-shot accuracy", accuracy_table(options.summary)
    else:
        data = load(options.data)
        learners = (
            ["maml, 1 shot"] if options.quick else ["maml, 1 shot", "maml, 1 shot, 5 inner steps", "proto, 1 shot"]
        )
        tables = [cost_table(learner, data.train, 3 if options.quick else 9) for learner in learners]
        name, text = "few-shot", f"Data: {data.source}.\n\n" + "\n\n".join(tables)
    print(text)
    if options.write:
        replace_between(DOCS / "benchmarks" / "images.md", name, text)


if __name__ == "__main__":
    main()
