# The peer it compares with is optional, and not installed where types are checked.
# pyright: reportMissingImports=false
"""iLQR against diffilqrax, time-varying LQR against NumPy, and what each method of TOW costs: one run, one core.

    taskset -c 0 python benchmarks/trajectory.py [--quick] [--write]

``--write`` puts the tables into docs/benchmarks/trajectory.md. Without diffilqrax its columns stay empty.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from timing import DOCS, markdown, medians, replace_between

from jaxlqr import SolveStatus
from jaxlqr.families import boeing_initial_gain
from jaxlqr.meta.gram_weighting import gram_gradient
from jaxlqr.meta.trajectory_weighting import tow
from jaxlqr.meta.weight_trajectory import State, Training, gradient, train
from jaxlqr.papers.nguyen2023.lqr import NUM_TASKS, STRETCH, adapted_cost, draw
from jaxlqr.papers.nguyen2023.printed import printed
from jaxlqr.trajectory import ilqr, tvlqr
from jaxlqr.trajectory.problems import PROBLEMS, TrajectoryProblem

jax.config.update("jax_enable_x64", True)
MAX_ITERATIONS, BATCH_ITERATIONS = 1000, 200
_WARM_STRETCHES = 5  # of uniform training before TOW is looked at


def first_and_cost(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the first call, which compiles, and what it returns."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - start, result


def ours(p: TrajectoryProblem, *, ddp: bool) -> Callable[[], Any]:
    solve = jax.jit(
        lambda x0, U0, params: ilqr(
            p.cost, p.dynamics, x0, U0, params=params, final_cost=p.final_cost, max_steps=MAX_ITERATIONS, ddp=ddp
        )
    )
    return partial(solve, p.x0, p.U0, p.params)


def theirs(p: TrajectoryProblem) -> Callable[[], Any] | None:
    """The same problem for diffilqrax, whose test bounds the largest entry of the gradient."""
    try:
        from diffilqrax.ilqr import ilqr_solver
        from diffilqrax.typs import ModelDims, System, iLQRParams
    except ImportError:
        return None
    system = System(
        lambda t, x, u, theta: p.cost(x, u, t, theta),
        p.final_cost,
        lambda t, x, u, theta: p.dynamics(x, u, t, theta),
        ModelDims(n=p.x0.size, m=p.U0.shape[1], horizon=len(p.U0), dt=p.time_step),
    )
    tolerance = float(np.sqrt(np.finfo(float).eps))

    @jax.jit
    def solve(x0, U0, theta):
        solver: Any = ilqr_solver  # with return_info it returns five values, which its annotation does not say
        _, cost, _, converged, iterations = solver(
            system, iLQRParams(x0, theta), U0, max_iter=MAX_ITERATIONS, kkt_tol=tolerance, return_info=True
        )
        return cost, converged, iterations

    return partial(solve, p.x0, p.U0, p.params)


def ilqr_table(repeats: int) -> str:
    rows = []
    for name, problem in PROBLEMS.items():
        p = problem()
        calls: dict[str, Callable[[], Any]] = {"iLQR": ours(p, ddp=False), "DDP": ours(p, ddp=True)}
        peer = theirs(p)
        if peer is not None:
            calls["diffilqrax"] = peer
        first = {solver: first_and_cost(call) for solver, call in calls.items()}
        solve = medians(calls, repeats)
        for solver in calls:
            seconds, result = first[solver]
            if solver == "diffilqrax":
                cost, converged, iterations = result
                ended = "converged" if converged else "not converged"
            else:
                cost, iterations = result.cost, result.iterations
                ended = SolveStatus(int(result.status)).name.lower().replace("_", " ")
            against = solve["diffilqrax"] / solve[solver] if peer is not None else float("nan")
            rows.append([name.replace("_", " "), solver, f"{float(cost):.8g}", ended, str(int(iterations)),
                         f"{seconds:.1f}", f"{solve[solver]:.3g}", f"{against:.3g}"])  # fmt: skip
    header = ["problem", "solver", "cost", "ended", "iterations", "first call, s", "solve, ms", "diffilqrax / this"]
    return markdown(header, rows)


def linear_quadratic(T: int, n: int = 6, m: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "A": np.eye(n) + 0.1 * rng.normal(size=(T, n, n)),
        "B": rng.normal(size=(T, n, m)),
        "Q": np.broadcast_to(np.eye(n), (T + 1, n, n)),
        "R": np.broadcast_to(np.eye(m), (T, m, m)),
        "x0": rng.normal(size=n),
    }


def numpy_tvlqr(A: np.ndarray, B: np.ndarray, Q: np.ndarray, R: np.ndarray, x0: np.ndarray) -> np.ndarray:
    V, gains = Q[-1], []
    for a, b, q, r in zip(A[::-1], B[::-1], Q[-2::-1], R[::-1], strict=True):
        K = np.linalg.solve(r + b.T @ V @ b, b.T @ V @ a)
        V = q + a.T @ V @ (a - b @ K)
        gains.append(K)
    states = [x0]
    for a, b, K in zip(A, B, gains[::-1], strict=True):
        states.append((a - b @ K) @ states[-1])
    return np.stack(states)


def tvlqr_table(repeats: int) -> str:
    rows = []
    for T in (100, 1000):
        data = linear_quadratic(T)
        arrays = {name: jnp.asarray(value) for name, value in data.items()}
        calls = {
            "NumPy loop": partial(numpy_tvlqr, **data),
            "sequential": partial(jax.jit(partial(tvlqr, method="sequential")), **arrays),
            "parallel": partial(jax.jit(partial(tvlqr, method="parallel")), **arrays),
        }
        states = {name: np.asarray(call() if name == "NumPy loop" else call().states) for name, call in calls.items()}
        times = medians(calls, repeats)
        for name, milliseconds in times.items():
            error = np.max(np.abs(states[name] - states["NumPy loop"]))
            rows.append(
                [str(T), name, f"{milliseconds:.3g}", f"{times['NumPy loop'] / milliseconds:.2g}", f"{error:.0e}"]
            )
    return markdown(["T", "method", "ms", "NumPy / this", "largest difference of the states"], rows)


def batch_table(count: int, repeats: int) -> str:
    """Many starts of the pendulum at once, against the same starts one after another."""
    p = PROBLEMS["pendulum"]()
    solve = jax.jit(
        lambda x0: ilqr(
            p.cost, p.dynamics, x0, p.U0, params=p.params, final_cost=p.final_cost, max_steps=BATCH_ITERATIONS
        )
    )
    starts = p.x0 + 0.3 * jax.random.normal(jax.random.key(0), (count, p.x0.size))
    together, one = partial(jax.jit(jax.vmap(solve)), starts), partial(solve, starts[0])
    converged = int(jnp.sum(together().status == SolveStatus.CONVERGED))
    times = medians({"batch": together, "one": one}, repeats)
    row = [str(count), f"{times['batch']:.4g}", f"{1e3 * times['batch'] / count:.3g}", f"{1e3 * times['one']:.3g}",
           f"{converged} of {count}"]  # fmt: skip
    return markdown(
        ["starts", "batch, ms", "microseconds a start", "one start alone, microseconds", "converged"], [row]
    )


def tow_table(repeats: int) -> str:
    """Cost of one stretch of TOW by each method over uniform training, and how its step compares with the exact one."""
    tasks = draw(jax.random.key(0), "cost scales")
    batches = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (STRETCH, *leaf.shape)), tasks)
    optimizer, beta = optax.sgd(1e-5), jnp.asarray(0.1)
    start = boeing_initial_gain()
    training, state = Training(adapted_cost, optimizer, False, False), State(start, optimizer.init(start))
    nominal = jnp.full((STRETCH, NUM_TASKS), 1 / NUM_TASKS)
    plain = jax.jit(lambda state: train(training, state, nominal, batches)[1])
    for _ in range(_WARM_STRETCHES):
        state = plain(state)
    calls: dict[str, Callable[[], Any]] = {"uniform": partial(plain, state)}
    names = ("gram", "reverse", "newton_cg", "ilqr", "ilqr_diagonal")
    methods: dict[str, Any] = {name: name for name in names} | {"printed": printed}
    for name, method in methods.items():
        calls[name] = partial(tow, adapted_cost, state.params, batches, optimizer=optimizer, beta=beta, method=method)
    for name, find in (("gradient, gram", gram_gradient), ("gradient, reverse", gradient)):
        calls[name] = partial(jax.jit(partial(find, training)), state, nominal, batches, beta)
    times = medians(calls, repeats)
    exact = np.ravel(calls["gradient, reverse"]()) if repeats else np.zeros(1)
    rows = [["uniform", f"{times['uniform']:.3g}", "1", "", ""]]
    for method in methods:
        result = calls[method]()
        moved = np.ravel(np.asarray(result.weights) - 1 / NUM_TASKS)
        size = np.linalg.norm(moved) * np.linalg.norm(exact)
        cosine = f"{-moved @ exact / size:.4f}" if size > 0 else "no step"
        decrease = float(1 - result.cost / result.nominal_cost)
        rows.append(
            [method, f"{times[method]:.3g}", f"{times[method] / times['uniform']:.3g}", cosine, f"{decrease:.2%}"]
        )
    for name in ("gradient, gram", "gradient, reverse"):
        found = np.ravel(calls[name]())
        cosine = found @ exact / np.linalg.norm(found) / np.linalg.norm(exact)
        rows.append([name, f"{times[name]:.3g}", f"{times[name] / times['uniform']:.3g}", f"{cosine:.6f}", ""])
    return markdown(["method", "ms a stretch", "over uniform", "cosine with the exact descent", "decrease of J"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and starts")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks/trajectory.md")
    options = parser.parse_args()
    repeats = 3 if options.quick else 9
    tables = {
        "iLQR": ilqr_table(repeats),
        "Time-varying LQR": tvlqr_table(repeats),
        "Many starts of the pendulum": batch_table(100 if options.quick else 1000, 1),
        "TOW on ten LQR tasks, a stretch of five steps": tow_table(repeats),
    }
    text = "\n\n".join(f"### {title}\n\n{table}" for title, table in tables.items())
    print(text)
    if options.write:
        replace_between(DOCS / "benchmarks" / "trajectory.md", "trajectory", text)


if __name__ == "__main__":
    main()
