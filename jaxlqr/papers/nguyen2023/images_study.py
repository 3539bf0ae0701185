"""The runs of the part ``images``: every rule, design and seed, each saved when it is done and never run twice."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm.auto import tqdm

from jaxlqr.meta.weight_trajectory import State
from jaxlqr.papers.nguyen2023 import images
from jaxlqr.papers.nguyen2023.drawings import Cache
from jaxlqr.papers.nguyen2023.few_shot import Design, Episode, ImageClasses, check_design, episodes
from jaxlqr.papers.nguyen2023.images import CONTROLS, MYOPIC, STRETCH, Learner, examine, start
from jaxlqr.papers.nguyen2023.omniglot import digits, omniglot_runs, omniglot_split, run_subsets

IMAGE_SIZE = 16
NUM_SEEDS, QUICK_SEEDS = 5, 2
NUM_TEST, NUM_CURVE, QUICK_TEST, QUICK_CURVE = 1000, 200, 100, 50
CHUNK = 20  # stretches between two looks at the accuracy, 100 updates
_TEST_KEY, _CURVE_KEY, _RUNS_KEY = 101, 102, 103  # of the examination: the same for every seed and rule

MAIN = (*MYOPIC, "tow, beta 10")
#: Lengths of the steps, in units of the optimiser's: is it weights that help, or a longer or shorter step?
LENGTHS = {
    "half the step": 0.5,
    "double the step": 2.0,
    "4 times the step": 4.0,
    "8 times the step": 8.0,
    "16 times the step": 16.0,
}
#: Those that are tried, so that the best is neither the shortest nor the longest.
LONGER = {"maml": tuple(LENGTHS)[1:4], "proto": tuple(LENGTHS)[1:]}


def at_lengths(rule: str, lengths: Iterable[str] = LENGTHS) -> tuple[str, ...]:
    """The rule with steps of other lengths."""
    return tuple(f"{rule}, {length}" for length in lengths)


def main(kind: str) -> tuple[str, ...]:
    """Rules of every setting."""
    return (*MAIN, *at_lengths("uniform", LONGER[kind]))


def everything(kind: str) -> tuple[str, ...]:
    """The same, and the controls."""
    return (
        *MAIN,
        "tow, beta 1",
        "uniform, twice the updates",
        *at_lengths("uniform", ("half the step", *LONGER[kind])),
        *at_lengths("tow, beta 10", LONGER[kind]),
        *(f"tow, beta 10, {control}" for control in CONTROLS),
    )


class Setting(NamedTuple):
    """A learner's kind and design, the number of chunks it trains for, the rules that are compared, and the inner steps
    in training."""

    kind: Literal["maml", "proto"]
    design: Design
    num_chunks: int
    rules: tuple[str, ...]
    num_inner_steps: int = 1


_ANY = Design(ways=5, shots=1, queries=5, max_shots=5)
SETTINGS = {
    "maml, 1 shot": Setting("maml", Design(5, 1, 5), 6, everything("maml")),
    "maml, 1 shot, 5 inner steps": Setting("maml", Design(5, 1, 5), 3, main("maml"), 5),
    "maml, 5 shots": Setting("maml", Design(5, 5, 5), 3, main("maml")),
    "maml, any shot": Setting("maml", _ANY, 3, main("maml")),
    "proto, 1 shot": Setting("proto", Design(5, 1, 5), 4, everything("proto")),
    "proto, 5 shots": Setting("proto", Design(5, 5, 5), 3, main("proto")),
    "proto, any shot": Setting("proto", _ANY, 3, main("proto")),
}
#: A glance: MAML takes twice as long to compile.
QUICK_SETTINGS = {name: SETTINGS[name]._replace(num_chunks=1, rules=MAIN) for name in ("proto, 1 shot",)}


class ImageData(NamedTuple):
    """Classes to train on and to test on, the published runs or None, and what is said about where they come from."""

    train: ImageClasses
    test: ImageClasses
    runs: Episode | None
    source: str


class ImagesPlan(NamedTuple):
    """What is to be run, on what, and where finished runs are kept (None: nowhere)."""

    data: ImageData
    settings: dict[str, Setting]
    num_seeds: int
    seed: int
    num_test: int
    num_curve: int
    folder: Path | None


def load(root: Path | None, image_size: int = IMAGE_SIZE) -> ImageData:
    """Omniglot from the folder ``root``, with the published runs if they are there; digits of 8 pixels without one."""
    if root is None:
        train, test = digits()
        return ImageData(train, test, None, "handwritten digits of scikit-learn, since no folder of Omniglot was given")
    train, test = omniglot_split(root, image_size=image_size)
    try:
        runs = omniglot_runs(root, image_size=image_size)
    except ValueError as error:
        if "no published runs" not in str(error):
            raise
        runs = None
    names = f"trained on {', '.join(train.group_names)}; tested on {', '.join(test.group_names)}"
    return ImageData(train, test, runs, f"Omniglot, {names}")


def check(plan: ImagesPlan) -> None:
    """Raise ``ValueError`` when some setting cannot draw its episodes, before any run."""
    for setting in plan.settings.values():
        check_design(plan.data.train, setting.design)
        check_design(plan.data.test, setting.design)


def study(plan: ImagesPlan, progress: bool | None) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """The results of every run, by setting and rule, with a leading axis of seeds; see :func:`_run` for the names."""
    jobs = [
        (name, rule, seed)
        for seed in range(plan.seed, plan.seed + plan.num_seeds)
        for name, setting in plan.settings.items()
        for rule in setting.rules
    ]
    found: dict[str, dict[str, list[dict[str, np.ndarray]]]] = {}
    warmed: set[Any] = set()
    bar = tqdm(jobs, desc="images", unit="run", disable=None if progress is None else not progress)
    for name, rule, seed in bar:
        bar.set_postfix_str(f"{name}, {rule}, seed {seed}")
        result = _kept(plan, name, rule, seed, partial(_run, plan, plan.settings[name], rule, seed, warmed))
        found.setdefault(name, {}).setdefault(rule, []).append(result)
    return {
        name: {rule: {key: np.stack([row[key] for row in rows]) for key in rows[0]} for rule, rows in rules.items()}
        for name, rules in found.items()
    }


def _kept(
    plan: ImagesPlan, name: str, rule: str, seed: int, work: Callable[[], dict[str, np.ndarray]]
) -> dict[str, Any]:
    """The result of an earlier, equal run, or that of ``work``, saved."""
    if plan.folder is None:
        return work()
    constants = {key: value for key, value in vars(images).items() if key.isupper() and isinstance(value, int | float)}
    if not rule.startswith("tow"):
        del constants["NUM_TRIALS"]
    told = [
        plan.data.source,
        plan.settings[name]._replace(rules=()),
        rule,
        seed,
        plan.num_test,
        plan.num_curve,
        CHUNK,
        constants,
    ]
    words = "".join(letter if letter.isalnum() else "_" for letter in f"{name} {rule} {seed}")
    cache, key = Cache(plan.folder), f"{words}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}"
    stored = cache.get(key)
    if stored is None:
        stored = work()
        cache.put(key, stored)
    return stored


def _run(plan: ImagesPlan, setting: Setting, rule: str, seed: int, warmed: set[Any]) -> dict[str, np.ndarray]:
    """One training run and its examination.

    Returns:
        ``accuracy`` on the test tasks [tasks, inner steps]; ``runs_accuracy`` on 5-way tasks from the published runs
        and ``all_classes_accuracy`` on the runs themselves, where they apply; ``curve`` [chunks + 1], accuracy on fewer
        tasks along the way, and ``seconds`` of training until then; ``losses`` and ``weights`` of each update.
    """
    learner = Learner(setting.kind, setting.design, plan.data.train.side, setting.num_inner_steps)
    key = jax.random.key(seed)
    advance, program = _advance(learner, rule)
    state = start(learner, key, length_of(rule))
    if (learner, program) not in warmed:  # compiles, so that no time below is that of a compiler
        jax.block_until_ready(advance(state, key, plan.data.train, jnp.asarray(0)))
        warmed.add((learner, program))
    on_the_way = episodes(jax.random.key(_CURVE_KEY), plan.data.test, setting.design, (plan.num_curve,))
    look = lambda state: float(jnp.mean(examine(learner, state.params, on_the_way)[:, -1]))  # noqa: E731
    curve, seconds, histories = [look(state)], [0.0], []
    num_chunks = setting.num_chunks * (2 if "twice" in rule else 1)
    for chunk in range(num_chunks):
        began = time.perf_counter()
        state, history = jax.block_until_ready(advance(state, key, plan.data.train, jnp.asarray(chunk * CHUNK)))
        seconds.append(seconds[-1] + time.perf_counter() - began)
        curve.append(look(state))
        histories.append(jax.tree.map(np.asarray, history))
    test = episodes(jax.random.key(_TEST_KEY), plan.data.test, setting.design, (plan.num_test,))
    result = {
        "accuracy": np.asarray(examine(learner, state.params, test), np.float32),
        "curve": np.array(curve),
        "seconds": np.array(seconds),
        "losses": np.concatenate([history.losses for history in histories]),
        "weights": np.concatenate([history.weights for history in histories]),
    }
    return result | _published(plan, learner, state)


def _published(plan: ImagesPlan, learner: Learner, state: State) -> dict[str, np.ndarray]:
    if plan.data.runs is None or learner.design.most_shots != 1:
        return {}
    subsets = run_subsets(jax.random.key(_RUNS_KEY), plan.data.runs, learner.design.ways, plan.num_test)
    result = {"runs_accuracy": np.asarray(examine(learner, state.params, subsets), np.float32)}
    if learner.kind == "proto":
        whole = Learner("proto", Design(ways=plan.data.runs.support.shape[1], shots=1, queries=1), learner.image_size)
        result["all_classes_accuracy"] = np.asarray(examine(whole, state.params, plan.data.runs), np.float32)
    return result


def _advance(learner: Learner, rule: str) -> tuple[Callable[..., tuple[State, images.History]], str]:
    """Function (state, key, images, first stretch) -> state and history after ``CHUNK`` stretches, and its program."""
    name, *rest = rule.removesuffix(f", {_said_of_length(rule)}").split(", ")
    if name in MYOPIC:
        choice = jnp.asarray(MYOPIC.index(name))

        def myopic(state: State, key: Array, classes: ImageClasses, first: Array):
            return images.train_myopic(learner, state, key, classes, first, choice, count=CHUNK)

        return myopic, "myopic"
    beta = jnp.asarray(float(rest[0].removeprefix("beta ")))
    if len(rest) == 1:

        def optimised(state: State, key: Array, classes: ImageClasses, first: Array):
            return images.train_tow(learner, state, key, classes, first, beta, count=CHUNK)

        return optimised, "tow"
    control = jnp.asarray(CONTROLS.index(rest[1]))

    def changed(state: State, key: Array, classes: ImageClasses, first: Array):
        return images.train_control(learner, state, key, classes, first, beta, control, count=CHUNK)

    return changed, "control"


def _said_of_length(rule: str) -> str:
    return next((words for words in LENGTHS if rule.endswith(f", {words}")), "")


def length_of(rule: str) -> float:
    """Length of the steps that a rule takes, in units of the optimiser's."""
    return LENGTHS.get(_said_of_length(rule), 1.0)


def best_length(rules: dict[str, dict[str, np.ndarray]], rule: str) -> str:
    """``rule`` or one of its other step lengths: which is most accurate at the end of its curve, in the mean over
    seeds. The tasks of the curve are not those of the examination."""
    tried = [name for name in (rule, *at_lengths(rule)) if name in rules]
    return max(tried, key=lambda name: float(rules[name]["curve"][:, -1].mean()))


def updates(curve: np.ndarray) -> np.ndarray:
    """Number of updates at each entry of a curve."""
    return CHUNK * STRETCH * np.arange(curve.shape[-1])
