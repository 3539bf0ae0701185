"""Time and peak memory of one meta-gradient from a hundred tasks to ten million, and its scaling over processes.

    python benchmarks/scale.py [--largest 10000000] [--write]

Each row runs in a process of its own, pinned to one core, so that its peak memory is its own. Weak scaling: two
processes over ``jax.distributed``, each on a core of its own with as many tasks as the one alone. Strong
scaling: a sweep, by one process and by two. ``--write`` puts the
tables into docs/benchmarks/scale.md and the plot into docs/figures/scale.png.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from timing import DOCS, markdown, replace_between

import jaxlqr
from jaxlqr.training import no_metrics
from jaxlqr.training.sharding import make_mesh, place, shard_tasks

jax.config.update("jax_enable_x64", True)
BATCHES = (64, 256, 1024, 4096, 16384)
STEP = 1e-3


def many_tasks(count: int) -> jaxlqr.LQRTask:
    """Random systems with four states and two inputs, stable without feedback; every task has arrays of its own."""
    generator = np.random.default_rng(0)
    A = generator.normal(size=(count, 4, 4))
    A *= 0.9 / np.linalg.norm(A, axis=(1, 2), keepdims=True)
    unit = np.eye(4)

    alike = {"Q": unit, "R": np.eye(2), "Sigma0": unit}
    stacks = {name: np.broadcast_to(matrix, (count, *matrix.shape)) for name, matrix in alike.items()}
    stacks |= {"A": A, "B": generator.normal(size=(count, 4, 2))}
    return jaxlqr.LQRTask(**{name: jnp.asarray(stack) for name, stack in stacks.items()})


def gradient_of(oracle: str, batch_size: int | None):
    source = jaxlqr.ZerothOrderOracle(num_samples=8, radius=1e-2) if oracle == "sampled" else None

    def gradient(K, tasks, key):
        return jaxlqr.maml_gradient(
            jaxlqr.cost, K, tasks, inner_step_size=STEP, oracle=source, key=key, batch_size=batch_size
        )

    return jax.jit(gradient)


def seconds(run, least: float = 1.0, most: int = 7) -> float:
    jax.block_until_ready(run())
    times: list[float] = []
    while sum(times) < least or len(times) < 3:
        begin = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - begin)
        if len(times) == most or sum(times) > 30:
            break
    return float(np.median(times))


def row(oracle: str, count: int, batch_size: int) -> dict[str, float]:
    """One line of the table, measured in this process."""
    tasks = many_tasks(count)
    K, key = jnp.zeros((2, 4)), jax.random.key(0)
    gradient = gradient_of(oracle, batch_size)
    took = seconds(lambda: gradient(K, tasks, key))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": took, "peak": float(peak), "data": float(sum(leaf.nbytes for leaf in jax.tree.leaves(tasks)))}


def weak(count: int, coordinator: str, processes: int, number: int) -> dict[str, float]:
    """Seconds of a gradient of ``count`` tasks a process, on a mesh of all processes."""
    if processes > 1:
        jax.distributed.initialize(coordinator, processes, number)
    mesh = make_mesh()
    tasks = shard_tasks(many_tasks(count * processes), mesh)
    K, key = place((jnp.zeros((2, 4)), jax.random.key(0)), mesh, ())
    result = jaxlqr.meta_train  # the learner that knows meshes
    times = []
    steps = 20

    def run():
        return result(jaxlqr.cost, K, tasks, num_steps=steps, objective=jaxlqr.Maml(inner_step_size=STEP),
                      outer_step_size=1e-5, key=key, guard=None, limits=jaxlqr.Limits(batch_size=1024),
                      output=jaxlqr.Output(every=steps + 1, metrics=no_metrics, progress=False)).params  # fmt: skip

    jax.block_until_ready(run())
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(run())
        times.append((time.perf_counter() - begin) / steps)
    if processes > 1:
        jax.distributed.shutdown()
    return {"seconds": float(np.median(times))}


def start(core: int, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = ["taskset", "-c", str(core), sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {})
    )


def result_of(process: subprocess.Popen[str]) -> dict[str, float]:
    told, _ = process.communicate(timeout=1800)
    if process.returncode:
        raise SystemExit(f"{process.args} failed with {process.returncode}")
    return json.loads(told.splitlines()[-1])


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def weak_rows(count: int) -> list[list[str]]:
    alone = result_of(start(0, "--weak", count, "none", 1, 0))["seconds"]
    address = free_address()
    workers = [start(core, "--weak", count, address, 2, core) for core in range(2)]
    together = max(result_of(worker)["seconds"] for worker in workers)
    return [["1", str(count), f"{1e3 * alone:.1f}", "1"],
            ["2", str(2 * count), f"{1e3 * together:.1f}", f"{alone / together:.2f}"]]  # fmt: skip


SWEEP = """
batch = 16
[nominal]
A = [[1.05, 0.2], [0.0, 0.9]]
B = [[0.3], [1.0]]
[perturbation]
num_tasks = 10
[initial]
K0 = [[0.5, 0.5]]
[settings]
steps = {steps}
oracle = "zeroth-order"
inner_step = 1e-4
outer_step = 1e-3
[grid]
level = [0.001, 0.003, 0.01, 0.03]
seed = {seeds}
"""


def strong(spec: str, out: str, coordinator: str, processes: int, number: int) -> dict[str, float]:
    """Seconds of a sweep, shared by ``processes``; joining them and compiling count."""
    from jaxlqr.commands.sweep import sweep

    job = {"coordinator": coordinator, "num_processes": processes, "process_id": number} if processes > 1 else {}
    return {"seconds": sweep(spec, out, progress=False, **job)["seconds"]}


def strong_rows(num_seeds: int, steps: int) -> list[list[str]]:
    """No compilation cache: JAX lets the first process alone write to one, the others would compile all the same."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "sweep.toml"
        spec.write_text(SWEEP.format(steps=steps, seeds=list(range(num_seeds))))

        def run(out: str, processes: int) -> float:
            address, cache = free_address(), {"JAX_ENABLE_COMPILATION_CACHE": "false"}
            workers = [
                start(core, "--strong", spec, Path(folder) / out, address, processes, core, environment=cache)
                for core in range(processes)
            ]
            return max(result_of(worker)["seconds"] for worker in workers)

        alone, together = run("alone", 1), run("together", 2)
    runs = str(4 * num_seeds)
    return [["1", runs, f"{alone:.1f}", "1"], ["2", runs, f"{together:.1f}", f"{alone / together / 2:.2f}"]]


def draw(found: list[tuple[str, int, dict[str, float]]]) -> None:
    from jaxlqr.plots import new_figure, style

    with style():
        figure, axes = new_figure(num_rows=1, num_columns=2)
        for oracle, marker in (("exact", "o"), ("sampled", "s")):
            chosen = [(count, told) for name, count, told in found if name == oracle]
            counts = [count for count, _ in chosen]
            times = [1e6 * told["seconds"] / count for count, told in chosen]
            axes[0, 0].loglog(counts, times, marker=marker, label=oracle)
            axes[0, 1].loglog(counts, [told["peak"] / 2**30 for _, told in chosen], marker=marker, label=oracle)
        counts = sorted({count for _, count, _ in found})
        data = {count: told["data"] for _, count, told in found}
        axes[0, 1].loglog(counts, [data[count] / 2**30 for count in counts], "k:", label="the tasks alone")
        axes[0, 1].axhline(4, color="0.5", linewidth=0.8)
        for ax, label in zip(axes[0], ("microseconds a task", "peak memory of the process, GiB"), strict=True):
            ax.set_xlabel("tasks")
            ax.set_ylabel(label)
            ax.legend()
    figure.savefig(DOCS / "figures" / "scale.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=10**7)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--weak", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--strong", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="Few tasks and runs, to see that the script works.")
    given = parser.parse_args()
    if given.row:
        print(json.dumps(row(given.row[0], int(given.row[1]), int(given.row[2]))))
        return
    if given.weak:
        count, address, processes, number = given.weak
        print(json.dumps(weak(int(count), address, int(processes), int(number))))
        return
    if given.strong:
        spec, out, address, processes, number = given.strong
        print(json.dumps(strong(spec, out, address, int(processes), int(number))))
        return
    if given.quick:
        given.largest = 1000
    found, lines = [], []
    for oracle in ("exact", "sampled"):
        count = 100
        while count <= given.largest:
            told = result_of(start(0, "--row", oracle, count, 1024))
            found.append((oracle, count, told))
            lines.append([oracle, f"{count:,}", f"{told['seconds']:.3g}", f"{1e6 * told['seconds'] / count:.2f}",
                          f"{told['peak'] / 2**30:.2f}", f"{told['data'] / 2**30:.2f}"])  # fmt: skip
            print(lines[-1], flush=True)
            count *= 10
    in_weak, in_strong = (1000, (8, 20)) if given.quick else (50_000, (1024, 400))
    most = min(10**5, given.largest)
    sizes = [[f"{batch:,}", f"{1e6 * result_of(start(0, '--row', 'exact', most, batch))['seconds'] / most:.2f}"]
             for batch in BATCHES]  # fmt: skip
    header = ["oracle", "tasks", "s", "microseconds a task", "peak memory, GiB", "the tasks alone, GiB"]
    text = "\n\n".join([
        markdown(header, lines),
        markdown(["tasks at once (of 100,000, exact)", "microseconds a task"], sizes),
        markdown(["processes, one core each", "tasks", "ms a step of meta_train", "efficiency"], weak_rows(in_weak)),
        markdown(["processes, one core each", "runs of a sweep", "s", "efficiency"], strong_rows(*in_strong)),
    ])  # fmt: skip
    print(text)
    if given.write:
        replace_between(DOCS / "benchmarks" / "scale.md", "scale", text)
        draw(found)


if __name__ == "__main__":
    main()
