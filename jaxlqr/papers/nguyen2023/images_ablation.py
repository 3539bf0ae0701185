"""The part ``images-ablation``: how TOW's weights are found, on few-shot images: full or diagonal matrices, the number
of directions, and the weights of tasks that stay the same while the parameters move (appendices B, D and C)."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from tqdm.auto import tqdm

from jaxlqr.meta.trajectory_weighting import TowResult, tow
from jaxlqr.meta.weight_trajectory import State, gradient
from jaxlqr.papers.driver import Outcome, Request
from jaxlqr.papers.nguyen2023.ablation import Variant
from jaxlqr.papers.nguyen2023.few_shot import Design, Episode, ImageClasses, check_design, episodes
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
from jaxlqr.papers.nguyen2023.images_study import Data, load
from jaxlqr.papers.statistics import student_interval

if TYPE_CHECKING:
    from rich.table import Table

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


class Ablation(NamedTuple):
    """What was found; leading axes are seeds.

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


def prepare(request: Request) -> Callable[[], Outcome]:
    """Read and check the data; ValueError when they cannot be read, or cannot fill the episodes."""
    data, small = load(request.data), load(request.data, SMALL.image_size)
    for classes in (data.train, data.test):
        check_design(classes, DESIGN)
    return partial(_run, request, data, small)


def _run(request: Request, data: Data, small: Data) -> Outcome:
    from jaxlqr.papers.nguyen2023 import images_ablation_figure

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


def ablate(data: Data, small: Data, seeds: range, quick: bool, progress: bool | None) -> Ablation:
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
    return Ablation(curves, seconds, decreases, found, np.asarray(fixed), np.asarray(losses))


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


def told(found: Ablation) -> dict[str, Any]:
    """What the summary says, accuracies in percent: means, and 95 % intervals over seeds of paired differences."""
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
