"""Times of this package's programs on a GPU against those of the same machine's CPU, in one run, on the same numbers.

    python benchmarks/accelerator.py [--quick] [--write]

Each program is compiled for both devices and called on data that lie there; medians of calls in turns. The CPU may use
all its cores. The last column is the largest difference of the two results relative to the largest entry. ``--write``
puts the table into docs/benchmarks/scale.md.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scale
from timing import DOCS, markdown, medians, replace_between

import jaxlqr
from jaxlqr.families import garnet, gridworld_goals
from jaxlqr.matrix_equations import solve_discrete_lyapunov
from jaxlqr.mdp import make_tasks, meta_gradient
from jaxlqr.meta.weight_trajectory import train
from jaxlqr.papers.nguyen2023 import images, images_study
from jaxlqr.trajectory import ilqr
from jaxlqr.trajectory.problems import cart_pole

jax.config.update("jax_enable_x64", True)


class Work(NamedTuple):
    """A function, its arguments, and what they are called in the table."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def gradients(sizes: dict[str, tuple[int, ...]]) -> Iterator[Work]:
    K, key = jnp.zeros((2, 4)), jax.random.key(0)
    for oracle, counts in sizes.items():
        for count in counts:
            # All tasks at once suits a GPU, batches that its cache holds a CPU; each device gets what suits it.
            def gradient(K, tasks, key, oracle=oracle):
                batches = {"cpu": scale.gradient_of(oracle, 1024), "default": scale.gradient_of(oracle, None)}
                return jax.lax.platform_dependent(K, tasks, key, **batches)

            name = f"meta-gradient, {oracle}, {count:,} tasks, n = 4, m = 2"
            yield Work(name, gradient, (K, scale.many_tasks(count), key))


def training(num_steps: int) -> Work:
    """A loop of small steps, which is what a launch costs."""

    def learn(K, tasks):
        step = partial(jaxlqr.maml_gradient, jaxlqr.cost, tasks=tasks, inner_step_size=1e-3)
        return jax.lax.fori_loop(0, num_steps, lambda _, K: K - 1e-3 * step(K), K)

    return Work(f"{num_steps} steps of MAML, 10 tasks", learn, (jnp.zeros((2, 4)), scale.many_tasks(10)))


def lyapunov(count: int, n: int) -> Work:
    a = np.random.default_rng(1).normal(size=(count, n, n))
    a *= 0.9 / np.linalg.norm(a, 2, axis=(1, 2))[:, None, None]
    solve = jax.vmap(solve_discrete_lyapunov)
    return Work(
        f"Lyapunov equations, {count:,} of n = {n}", solve, (jnp.asarray(a), jnp.broadcast_to(jnp.eye(n), a.shape))
    )


def processes(name: str, mdps: Any, states: int) -> Work:
    tasks = make_tasks(mdps, features=np.random.default_rng(0).normal(size=(states, 4, 24)))
    return Work(f"meta-gradient, {name}", partial(meta_gradient, inner_step_size=10.0), (jnp.zeros(24), tasks))


def trajectories(count: int) -> Work:
    p = cart_pole()
    starts = jnp.tile(p.x0, (count, 1)) + 0.1 * jax.random.normal(jax.random.key(0), (count, 4))

    def solve(starts, U0, params):
        def cost(x0):
            return ilqr(p.cost, p.dynamics, x0, U0, params=params, final_cost=p.final_cost).cost

        return jax.vmap(cost)(starts)

    return Work(f"iLQR, cart-pole from {count:,} states", solve, (starts, p.U0, p.params))


def few_shot() -> Work:
    """One stretch of uniform training on handwritten digits, in the network and the float32 of the study."""
    setting = images_study.SETTINGS["maml, 1 shot"]
    data = images_study.load(None).train
    learner = images.Learner(setting.kind, setting.design, data.side, setting.num_inner_steps)
    key = jax.random.key(0)
    state = images.start(learner, key)
    batch = jax.jit(partial(images.stretch, learner))(key, data, jnp.asarray(0))
    weights = jnp.full((images.STRETCH, images.NUM_TASKS), 1 / images.NUM_TASKS)

    def stretch(state, weights, batch):
        return train(learner.training, state, weights, batch)[1]

    return Work("5 updates on 10 few-shot image tasks, float32", stretch, (state, weights, batch))


def works(*, quick: bool) -> Iterator[Work]:
    yield from gradients({"exact": (100,), "sampled": (100,)} if quick else
                         {"exact": (100, 10_000, 1_000_000), "sampled": (100, 10_000, 100_000)})  # fmt: skip
    yield training(100 if quick else 1000)
    yield lyapunov(100 if quick else 10_000, 4)
    yield lyapunov(10 if quick else 1000, 64)
    yield processes("20 gridworlds of 81 states", gridworld_goals(jax.random.key(0), 20), 81)
    if not quick:
        yield processes("64 Garnets of 500 states", garnet(jax.random.key(1), 64, 500, 4), 500)
        yield processes("10,000 Garnets of 20 states", garnet(jax.random.key(2), 10_000, 20, 4), 20)
    yield trajectories(4 if quick else 64)
    yield few_shot()


def row(work: Work, devices: dict[str, Any], repeats: int) -> list[str]:
    calls = {}
    for name, device in devices.items():
        with jax.default_device(device):
            calls[name] = partial(jax.jit(work.function), *jax.device_put(work.arguments, device))
            jax.block_until_ready(calls[name]())
    results = [[np.asarray(leaf) for leaf in jax.tree.leaves(call()) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
               for call in calls.values()]  # fmt: skip
    size = max(float(np.max(np.abs(leaf))) for leaf in results[0])
    off = max(float(np.max(np.abs(a - b))) for a, b in zip(*results, strict=True))
    cpu, gpu = medians(calls, repeats).values()
    return [work.name, f"{cpu:.3g}", f"{gpu:.3g}", f"{cpu / gpu:.2g}", f"{off / size:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes; without a GPU the CPU against itself")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks/scale.md")
    options = parser.parse_args()
    if jax.default_backend() == "cpu" and not options.quick:
        raise SystemExit("accelerator.py: JAX sees no accelerator here; install jax[cuda12] on a machine with one.")
    devices = {"cpu": jax.devices("cpu")[0], "accelerator": jax.devices()[0]}
    rows = []
    for work in works(quick=options.quick):
        rows.append(row(work, devices, 3 if options.quick else 5))
        print(rows[-1], flush=True)
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    text = f"{jax.devices()[0].device_kind} against {cores}, JAX {jax.__version__}:\n\n"
    text += markdown(["", "CPU, ms", "GPU, ms", "CPU / GPU", "difference"], rows)
    print(text)
    if options.write:
        replace_between(DOCS / "benchmarks" / "scale.md", "accelerator", text)


if __name__ == "__main__":
    main()
