"""How TOW's weights are found, on few-shot images: full or diagonal matrices, the number
of directions, and the weights of tasks that stay the same while the parameters move (appendices B, D and C)."""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from tqdm.auto import tqdm

from jaxlqr.meta.trajectory_weighting import TowResult, tow
from jaxlqr.meta.weight_trajectory import State, gradient
from jaxlqr.papers.nguyen2023.ablation import Variant
from jaxlqr.papers.nguyen2023.few_shot import Design, Episode, ImageClasses, episodes
from jaxlqr.papers.nguyen2023.images import (
    NUM_TASKS,
    STRETCH,
    Learner,
    examine,
    optimizer,
    start,
    stretch,
    train_myopic,
)
from jaxlqr.papers.nguyen2023.images_study import ImageData
from jaxlqr.papers.statistics import student_interval

BETA = 1.0  # at the paper's 10 all curves lie on one another
LOOK, NUM_LOOKS, QUICK_LOOKS = 4, 6, 1  # stretches between two looks at the accuracy, and looks
NUM_SEEDS, QUICK_SEEDS, NUM_TEST, QUICK_TEST = 5, 2, 1000, 100
FIXED_LOOKS = 15  # of the weights of fixed tasks, LOOK stretches apart
_TEST_KEY, _FIXED_KEY = 104, 105
DESIGN = Design(5, 1, 5)
LEARNER = partial(Learner, "proto", DESIGN)  # trained with another number of directions
#: Full matrices have as many rows as three numbers for each parameter: images and network must be small.
SMALL = Learner("proto", DESIGN, 8, channels=2, num_blocks=2)
TRAINED = {
    "Gram gradient, 1 direction": Variant("gram", 1),
    "Gram gradient, 2 directions": Variant("gram", 2),
    "Gram gradient, 5 directions": Variant("gram", 5),
}
#: Ways to find the weights of one stretch, after ``NUM_LOOKS`` looks' worth of uniform training.
WAYS = {
    "iLQR, 1 iteration": Variant("ilqr", 1),
    "iLQR, 2 iterations": Variant("ilqr", 2),
    "iLQR, 5 iterations": Variant("ilqr", 5),
    "diagonal, 1 iteration": Variant("ilqr_diagonal", 1),
    "diagonal, 2 iterations": Variant("ilqr_diagonal", 2),
    "exact gradient": Variant("reverse", 1),
    "Gram gradient": Variant("gram", 1),
}
QUICK = ("Gram gradient, 1 direction", "diagonal, 1 iteration", "Gram gradient")
REFERENCE = "uniform"


class ImagesAblation(NamedTuple):
    """The results; leading axes are seeds.

    Attributes:
        curves: accuracy after each look, by what was trained and for uniform weights [seeds, looks + 1].
        seconds: of training until then, without compiling, median over seeds [looks + 1].
        decreases: of J, relative, by what was trained [seeds, stretches].
        ways: of the small network, by way: relative decrease of J, cosine of the change of the weights with the exact
            descent direction, and its largest entry times M [seeds, 3].
        fixed: weights, times M, of the tasks of one stretch, found along a run of TOW, [looks, T, M].
        losses: of its first mini-batch there [looks, M].
    """

    curves: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    decreases: dict[str, np.ndarray]
    ways: dict[str, np.ndarray]
    fixed: np.ndarray
    losses: np.ndarray


def ablate(data: ImageData, small: ImageData, seeds: range, quick: bool, progress: bool | None) -> ImagesAblation:
    """All of it, from the same starts and on the same episodes for each seed."""
    learner, num_looks = LEARNER(data.train.side), QUICK_LOOKS if quick else NUM_LOOKS
    tasks = episodes(jax.random.key(_TEST_KEY), data.test, DESIGN, (QUICK_TEST if quick else NUM_TEST,))
    trained = [REFERENCE, *(name for name in TRAINED if not quick or name in QUICK)]
    ways = [name for name in WAYS if not quick or name in QUICK]
    hidden = None if progress is None else not progress
    curves, seconds, decreases = {}, {}, {}
    with tqdm(total=len(trained) + len(ways), desc="images, ablation", unit="way", disable=hidden) as bar:
        for name in trained:
            bar.set_postfix_str(name)
            runs = [_train(learner, data.train, tasks, name, seed, num_looks, seed == seeds[0]) for seed in seeds]
            curves[name], clocks, falls = (np.stack(rows) for rows in zip(*runs, strict=True))
            seconds[name] = np.median(clocks, axis=0)
            if name != REFERENCE:
                decreases[name] = falls
            bar.update()
        found = {}
        places = [_place(small.train, seed, num_looks) for seed in seeds]
        for name in ways:
            bar.set_postfix_str(name)
            found[name] = np.stack([np.asarray(_way(*place, variant=WAYS[name])) for place in places])
            bar.update()
    fixed, losses = _fixed(data.train, jax.random.key(seeds[0]), QUICK_LOOKS if quick else FIXED_LOOKS)
    return ImagesAblation(curves, seconds, decreases, found, np.asarray(fixed), np.asarray(losses))


def _train(learner: Learner, images: ImageClasses, tasks: Episode, name: str, seed: int, num_looks: int, cold: bool):
    """Accuracy and seconds after each look, and the relative decrease of J in each stretch."""
    key = jax.random.key(seed)
    state = start(learner, key)
    if cold:
        jax.block_until_ready(_advance(learner, key, images, name, state, 0))  # compiles
    curve, clock, falls = [float(jnp.mean(examine(learner, state.params, tasks)))], [0.0], []
    for look in range(num_looks):
        began = time.perf_counter()
        state, fall = jax.block_until_ready(_advance(learner, key, images, name, state, look * LOOK))
        clock.append(clock[-1] + time.perf_counter() - began)
        curve.append(float(jnp.mean(examine(learner, state.params, tasks))))
        falls.append(np.asarray(fall))
    return np.array(curve), np.array(clock), np.concatenate(falls)


def _advance(learner: Learner, key: Array, images: ImageClasses, name: str, state: State, first: int):
    """State after ``LOOK`` stretches, and the relative decrease of J in each."""
    if name == REFERENCE:
        state, _ = train_myopic(learner, state, key, images, jnp.asarray(first), jnp.asarray(0), count=LOOK)
        return state, jnp.zeros(LOOK)
    return _trained(learner, state, key, images, jnp.asarray(first), variant=TRAINED[name])


@partial(jax.jit, static_argnames=("learner", "variant"))
def _trained(learner: Learner, state: State, key: Array, images: ImageClasses, first: Array, *, variant: Variant):
    def one(state: State, number: Array) -> tuple[State, Array]:
        result = _weighted(learner, state, stretch(learner, key, images, number), variant)
        return State(result.params, result.opt_state), 1 - result.cost / result.nominal_cost

    return lax.scan(one, state, first + jnp.arange(LOOK))


def _weighted(learner: Learner, state: State, batch: Episode, variant: Variant) -> TowResult:
    given = {"optimizer": optimizer(), "opt_state": state.memory, "beta": BETA, "batch_size": 1}
    return tow(learner.loss, state.params, batch, **given, **variant._asdict())


def _place(images: ImageClasses, seed: int, num_looks: int) -> tuple[State, Episode]:
    """Where uniform training of the small network comes to, and the episodes of its next stretch."""
    key = jax.random.key(seed)
    state = start(SMALL, key)
    for look in range(num_looks):
        state, _ = _advance(SMALL, key, images, REFERENCE, state, look * LOOK)
    return state, jax.jit(partial(stretch, SMALL))(key, images, jnp.asarray(num_looks * LOOK))


@partial(jax.jit, static_argnames="variant")
def _way(state: State, batch: Episode, *, variant: Variant) -> Array:
    """Decrease of J, cosine with the exact descent direction, and the largest change of a weight times M."""
    result = _weighted(SMALL, state, batch, variant)
    nominal = jnp.full((STRETCH, NUM_TASKS), 1 / NUM_TASKS)
    exact, change = -gradient(SMALL.training, state, nominal, batch, jnp.asarray(BETA)), result.weights - nominal
    cosine = jnp.sum(exact * change) / (jnp.linalg.norm(exact) * jnp.linalg.norm(change))
    return jnp.stack([1 - result.cost / result.nominal_cost, cosine, NUM_TASKS * jnp.max(jnp.abs(change))])


@partial(jax.jit, static_argnames="num_looks")
def _fixed(images: ImageClasses, key: Array, num_looks: int) -> tuple[Array, Array]:
    """Weights [looks, T, M], times M, that TOW would give the tasks of one stretch that it is not trained on, and the
    losses [looks, M] of its first mini-batch, along a run of the large learner with MAML."""
    learner, variant = Learner("maml", DESIGN, images.side), WAYS["Gram gradient"]
    fixed = stretch(learner, jax.random.key(_FIXED_KEY), images, jnp.asarray(0))
    first = jax.tree.map(lambda leaf: leaf[0], fixed)

    def look(state: State, place: Array):
        found = _weighted(learner, state, fixed, variant).weights * NUM_TASKS
        losses = lax.map(partial(learner.loss, state.params), first)

        def one(state: State, number: Array) -> tuple[State, None]:
            result = _weighted(learner, state, stretch(learner, key, images, number), variant)
            return State(result.params, result.opt_state), None

        return lax.scan(one, state, place * LOOK + jnp.arange(LOOK))[0], (found, losses)

    return lax.scan(look, start(learner, key), jnp.arange(num_looks))[1]


def told(found: ImagesAblation) -> dict[str, Any]:
    """The entries of the summary, accuracies in percent: means, and 95 % intervals over seeds of paired differences."""
    reference, base = 100 * found.curves[REFERENCE][:, -1], found.seconds[REFERENCE][-1]
    results = {}
    for name, curve in found.curves.items():
        last = 100 * curve[:, -1]
        mean, low, high = map(float, student_interval(last - reference))
        results[name] = {
            "accuracy": float(last.mean()),
            "ahead_of_uniform": {"mean": mean, "low": low, "high": high},
            "seconds": float(found.seconds[name][-1]),
            "seconds_over_uniform": float(found.seconds[name][-1] / base),
        }
        if name in found.decreases:
            results[name]["decrease_of_objective"] = float(np.median(found.decreases[name]))
            results[name]["stretches_improved"] = float(np.mean(found.decreases[name] > 0))
    ways = {
        name: dict(zip(("decrease_of_objective", "cosine", "largest_change"), np.median(rows, axis=0), strict=True))
        for name, rows in found.ways.items()
    }
    return {"ways": ways, "updates": LOOK * STRETCH * (found.curves[REFERENCE].shape[1] - 1), "results": results}
