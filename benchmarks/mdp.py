"""Times of the exact meta-gradient of tabular processes against NumPy with SciPy solves in a loop, on one core.

    taskset -c 0 python benchmarks/mdp.py [--quick] [--write]

Competitors are timed in turns; medians over the turns are reported. A profile of the closed form says which
operations of the compiled program take the time. ``--write`` puts the tables into docs/benchmarks/mdp.md.
"""

import argparse
import os
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import lax
from timing import DOCS, markdown, medians, replace_between

import jaxlqr
from jaxlqr.families import garnet, gridworld_goals
from jaxlqr.mdp import MDPTask, ProximalLoss, make_tasks, meta_gradient

jax.config.update("jax_enable_x64", True)
ETA = 10.0


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def numpy_meta_gradient(theta: np.ndarray, mdps: list[np.ndarray], phi: np.ndarray) -> np.ndarray:
    """The corrected closed form, one SciPy solve for each equation, in a loop over tasks."""
    P_all, r_all, gammas, zetas = mdps
    total = np.zeros(phi.shape[-1])
    for P, r, gamma, zeta in zip(P_all, r_all, gammas, zetas, strict=True):
        states, actions, _ = P.shape
        flat, unit = P.reshape(-1, states), np.eye(states)

        def matrix(policy: np.ndarray, P=P, gamma=gamma, unit=unit) -> np.ndarray:
            return unit - gamma * np.einsum("sa,sat->st", policy, P)

        policy = softmax(phi @ theta)
        before = matrix(policy)
        V = scipy.linalg.solve(before, (1 - gamma) * (policy * r).sum(1))
        Q = (1 - gamma) * r + gamma * (flat @ V).reshape(states, actions)
        adapted = softmax(phi @ theta + ETA * Q)
        beyond = matrix(adapted)
        V_adapted = scipy.linalg.solve(beyond, (1 - gamma) * (adapted * r).sum(1))
        Q_adapted = (1 - gamma) * r + gamma * (flat @ V_adapted).reshape(states, actions)
        sigma = scipy.linalg.solve(beyond.T, (1 - gamma) * zeta)[:, None] * adapted
        measure = sigma * (Q_adapted - V_adapted[:, None])
        followed = (1 - gamma) * scipy.linalg.solve(before.T, measure.ravel() @ flat)
        second = ETA * gamma / (1 - gamma) * followed[:, None] * policy * (Q - V[:, None])
        total += ((measure + second) / (1 - gamma)).ravel() @ phi.reshape(-1, phi.shape[-1])
    return total / len(P_all)


def objective(theta: jax.Array, tasks: MDPTask) -> jax.Array:
    """One task after the other, as both gradients take them."""
    return jnp.mean(lax.map(lambda task: -ProximalLoss(ETA)(theta, task), tasks))


def autodiff(theta: jax.Array, tasks: MDPTask) -> jax.Array:
    return -jaxlqr.maml_gradient(ProximalLoss(ETA), theta, tasks, inner_step_size=0.0, num_inner_steps=0, batch_size=1)


def compare(label: str, tasks: MDPTask, reach: float, repeats: int) -> list[str]:
    phi = np.asarray(tasks.features[0])
    theta = jnp.asarray(np.random.default_rng(0).normal(size=phi.shape[-1]))
    mdps = [np.asarray(leaf) for leaf in (tasks.mdp.P, tasks.mdp.r, tasks.mdp.gamma, tasks.mdp.zeta)]
    closed = jax.jit(lambda t, tasks: meta_gradient(t, tasks, ETA))
    automatic, value = jax.jit(autodiff), jax.jit(objective)
    host = np.asarray(theta)
    expected = numpy_meta_gradient(host, mdps, phi)
    np.testing.assert_allclose(closed(theta, tasks), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(automatic(theta, tasks), expected, rtol=1e-9, atol=1e-12)
    told = medians(
        {
            "loop": lambda: numpy_meta_gradient(host, mdps, phi),
            "closed": lambda: closed(theta, tasks),
            "automatic": lambda: automatic(theta, tasks),
            "value": lambda: value(theta, tasks),
        },
        repeats,
    )
    ratio = told["loop"] / min(told["closed"], told["automatic"])
    return [
        label,
        *(f"{told[name]:.3g}" for name in ("loop", "closed", "automatic", "value")),
        f"{ratio:.2g} ({reach:g}: {'met' if ratio >= reach else '**not met**'})",
        f"{told['closed'] / told['value']:.2g}, {told['automatic'] / told['value']:.2g}",
    ]


KINDS = {"lu": "two factorisations", "dot": "products with P", "triangular_solve": "four substitutions"}


def profile(label: str, tasks: MDPTask, calls: int = 10) -> list[str]:
    """Milliseconds of one closed form by kind of operation, as XLA's own profiler tells them."""
    closed = jax.jit(lambda t, tasks: meta_gradient(t, tasks, ETA))
    theta = jnp.zeros(tasks.features.shape[-1])
    jax.block_until_ready(closed(theta, tasks))
    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                jax.block_until_ready(closed(theta, tasks))
        (file,) = Path(folder).rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for event in (event for line in plane.lines if line.name.startswith("tf_XLA") for event in line.events):
                # Operations are named after what they came from, and a number; executors and loops contain them.
                if "::" not in event.name and (kind := event.name.split(".")[0]) not in ("while", "call"):
                    spent[kind] += event.duration_ns / 1e6 / calls
    named = [spent.pop(kind) for kind in KINDS]
    return [label, *(f"{value:.3g}" for value in (*named, spent.total()))]


def many(count: int, chunks: tuple[int | None, ...]) -> list[str]:
    """Seconds of one meta-gradient over ``count`` processes of 20 states, so many at a time; None for the default."""
    tasks = make_tasks(
        garnet(jax.random.key(2), count, 20, 4), features=np.random.default_rng(1).normal(size=(20, 4, 8))
    )
    theta, seconds = jnp.zeros(8), []
    for chunk in chunks:
        gradient = jax.jit(partial(meta_gradient, inner_step_size=ETA, batch_size=chunk))
        seconds.append(medians({"": partial(gradient, theta, tasks)}, 3)[""] / 1e3)
    return [f"{value:.3g}" for value in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tasks and repeats")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks/mdp.md")
    options = parser.parse_args()
    repeats = 3 if options.quick else 7
    rng = np.random.default_rng(0)
    grids = make_tasks(gridworld_goals(jax.random.key(0), 20), features=rng.normal(size=(81, 4, 24)))
    garnets = make_tasks(
        garnet(jax.random.key(1), 8 if options.quick else 64, 500, 4), features=rng.normal(size=(500, 4, 24))
    )
    rows = [
        compare("20 gridworlds, 81 states", grids, 10, repeats),
        compare(f"{len(garnets.temperature)} Garnets, 500 states", garnets, 3, repeats),
    ]
    profiles = [profile(*pair) for pair in (("gridworlds", grids), ("Garnets", garnets))]
    header = ["", "NumPy and SciPy, ms", "closed form", "autodiff", "value", "ratio (asked)", "gradient / value"]
    text = markdown(header, rows)
    text += "\n\n" + markdown(["closed form, ms of a traced call", *KINDS.values(), "all else"], profiles)
    count = 1000 if options.quick else 10_000
    default, large = many(count, (None, 500))
    text += f"\n\n{count} processes of 20 states: {default} s a meta-gradient, {large} s in chunks of 500."
    print(text)
    if options.write:
        replace_between(DOCS / "benchmarks" / "mdp.md", "mdp", text)


if __name__ == "__main__":
    main()
