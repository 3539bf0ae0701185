# The peers it compares with are optional, and not installed where types are checked.
# pyright: reportMissingImports=false
"""Times of the matrix-equation solvers against what a user would pick instead, in one run on one core.

    taskset -c 0 python benchmarks/matrix_equations.py [--quick] [--write]

Competitors of a row are timed in turns, so that a busy machine slows both; medians over the turns are reported.
``--write`` puts the table into docs/numerics.md and draws docs/figures/matrix_equations.png.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from timing import DOCS, markdown, medians, replace_between

import jaxlqr
from jaxlqr.lqr import hessian_vector_product
from jaxlqr.matrix_equations.doubling import doubling_sum

jax.config.update("jax_enable_x64", True)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: milliseconds of ours and of a competitor, and the ratio that was asked for."""

    work: str
    against: str
    ours: float
    theirs: float
    reach: str
    met: bool
    flops: float | None

    def cells(self, peak: float) -> list[str]:
        rate = "" if self.flops is None else f"{self.flops / self.ours / 1e6:.2f}"
        part = "" if self.flops is None else f"{100 * self.flops / self.ours / 1e6 / peak:.0f} %"
        ratio = self.theirs / self.ours if "at most" not in self.reach else self.ours / self.theirs
        met = "yes" if self.met else "**no**"
        return [
            self.work,
            self.against,
            f"{self.ours:.3g}",
            f"{self.theirs:.3g}",
            f"{ratio:.2g}",
            self.reach,
            met,
            rate,
            part,
        ]


def stable(seed: int, count: int, n: int, radius: float = 0.9) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(count, n, n))
    return a * (radius / np.max(np.abs(np.linalg.eigvals(a)), axis=1))[:, None, None]


def lqr_problem(count: int, n: int, m: int) -> tuple[jax.Array, jaxlqr.LQRTask, jax.Array]:
    rng = np.random.default_rng(0)

    def identity(k: int) -> jax.Array:
        return jnp.broadcast_to(jnp.eye(k), (count, k, k))

    b = jnp.asarray(rng.normal(size=(count, n, m)))
    task = jaxlqr.LQRTask(jnp.asarray(stable(0, count, n)), b, identity(n), identity(m), identity(n))
    return jnp.zeros((count, m, n)), task, jnp.asarray(rng.normal(size=(count, m, n)))


def scipy_cost_and_gradient(K: np.ndarray, task: list[np.ndarray]) -> float:
    """Two SciPy solves a task in a Python loop."""
    total = 0.0
    for k, a, b, q, r, sigma0 in zip(K, *task, strict=True):
        closed = a - b @ k
        p = scipy.linalg.solve_discrete_lyapunov(closed.T, q + k.T @ r @ k)
        sigma = scipy.linalg.solve_discrete_lyapunov(closed, sigma0)
        gradient = 2 * (r @ k - b.T @ p @ closed) @ sigma
        total += float(np.sum(p * sigma0) + gradient[0, 0])
    return total


def cost_with(lyapunov: Callable[[jax.Array, jax.Array], jax.Array], K, task) -> jax.Array:
    closed = task.A - task.B @ K
    return jnp.sum(lyapunov(closed.T, task.Q + K.T @ task.R @ K) * task.Sigma0)


def unrolled_doubling(a: jax.Array, q: jax.Array) -> jax.Array:
    for _ in range(9):
        q, a = q + a @ q @ a.T, a @ a
    return q


def kronecker(a: jax.Array, q: jax.Array) -> jax.Array:
    return jnp.linalg.solve(jnp.eye(a.size) - jnp.kron(a, a), q.ravel()).reshape(q.shape)


def solve_flops(n: int, doublings: int) -> float:
    """Three products of n x n matrices a doubling."""
    return 6.0 * n**3 * doublings


def gradient_rows(count: int, n: int, m: int, repeats: int) -> list[Row]:
    K, task, _ = lqr_problem(count, n, m)
    host = [np.asarray(x) for x in jax.tree.leaves(task)]

    def compiled(f):
        return partial(jax.jit(jax.vmap(jax.value_and_grad(f))), K, task)

    candidates = {"ours": compiled(jaxlqr.cost), "SciPy loop": partial(scipy_cost_and_gradient, np.asarray(K), host)}
    reach = {"SciPy loop": 200.0 if n == 4 else 20.0}
    if n == 8:
        candidates["Kronecker solve"] = compiled(partial(cost_with, kronecker))
        candidates["autodiff of unrolled doubling"] = compiled(partial(cost_with, unrolled_doubling))
        reach |= {"Kronecker solve": 10.0, "autodiff of unrolled doubling": 3.0, "contrax dlyap": 10.0}
        try:
            from contrax import dlyap
        except ImportError:
            print("contrax is not installed: its row is left out")
        else:
            candidates["contrax dlyap"] = compiled(partial(cost_with, dlyap))
    times = medians(candidates, repeats)
    flops = count * 2 * solve_flops(n, 10)
    work = f"cost and gradient, {count} tasks, n = {n}, m = {m}"
    return [
        Row(work=work, against=name, ours=times["ours"], theirs=times[name], reach=f"{reach[name]:g}x",
            met=times[name] >= reach[name] * times["ours"], flops=flops)
        for name in candidates if name != "ours"
    ]  # fmt: skip


def small_lyapunov_rows(repeats: int) -> list[Row]:
    rows = []
    for n in (2, 3, 4, 6):
        a, q = jnp.asarray(stable(1, 4096, n)), jnp.broadcast_to(jnp.eye(n), (4096, n, n))
        times = medians({"ours": partial(jax.jit(jax.vmap(lambda a, q: doubling_sum(a, q).value)), a, q),
                         "theirs": partial(jax.jit(jax.vmap(unrolled_doubling)), a, q)}, repeats)  # fmt: skip
        wanted = 10.0 if n == 4 else 1.0
        rows.append(Row(work=f"discrete Lyapunov, 4096 tasks, n = {n}", against="vmap of doubling with @",
                        reach=f"{wanted:g}x",
                        met=times["theirs"] >= wanted * times["ours"],
                        flops=4096 * solve_flops(n, 10), **times))  # fmt: skip
    return rows


def riccati_rows(repeats: int, sizes: tuple[int, ...]) -> list[Row]:
    wanted = {4: 25.0, 12: 12.0, 50: 8.0, 200: 8.0, 500: 10.0}
    rows = []
    for n in sizes:
        count, m = (1000, 2) if n == 4 else (1, max(2, n // 4))
        a = stable(2, count, n, radius=1.1)
        b = np.random.default_rng(3).normal(size=(count, n, m))
        q, r = np.eye(n), np.eye(m)
        ours = jax.jit(jax.vmap(lambda a, b, q=q, r=r: jaxlqr.solve_discrete_are(a, b, jnp.asarray(q), jnp.asarray(r))))
        single = jax.jit(jaxlqr.solve_discrete_are)
        shown = min(count, 50)  # SciPy's loop is the same for every task: time 50 and scale

        def theirs(a=a, b=b, q=q, r=r, shown=shown):
            return [scipy.linalg.solve_discrete_are(x, y, q, r) for x, y in zip(a[:shown], b[:shown], strict=True)]

        ours_run = partial(ours, jnp.asarray(a), jnp.asarray(b)) if count > 1 else partial(single, a[0], b[0], q, r)
        times = medians({"ours": ours_run, "theirs": theirs}, max(1, repeats // (1 if n < 100 else 4)))
        theirs_ms = times["theirs"] * count / shown
        rows.append(Row(work=f"discrete Riccati, n = {n}" + (f", {count} tasks" if count > 1 else ""), against="SciPy",
                        ours=times["ours"], theirs=theirs_ms, reach=f"{wanted[n]:g}x",
                        met=theirs_ms >= wanted[n] * times["ours"], flops=None))  # fmt: skip
    return rows


def large_lyapunov_rows(repeats: int, sizes: tuple[int, ...]) -> list[Row]:
    wanted = {50: 3.0, 200: 4.0, 500: 2.5}
    rows = []
    for n in sizes:
        a, q = stable(4, 1, n)[0], np.eye(n)
        times = medians({"ours": partial(jax.jit(jaxlqr.solve_discrete_lyapunov), jnp.asarray(a), jnp.asarray(q)),
                         "theirs": partial(scipy.linalg.solve_discrete_lyapunov, a, q)}, repeats)  # fmt: skip
        rows.append(Row(work=f"discrete Lyapunov, n = {n}, one task", against="SciPy", reach=f"{wanted[n]:g}x",
                        met=times["theirs"] >= wanted[n] * times["ours"],
                        flops=solve_flops(n, 8), **times))  # fmt: skip
    # Where SciPy wins: an unstable coefficient sends us through the complex Schur form with a scan over its columns.
    for n in (12, 100):
        a, q = stable(4, 1, n, radius=2.3)[0], np.eye(n)
        times = medians({"ours": partial(jax.jit(jaxlqr.solve_discrete_lyapunov), jnp.asarray(a), jnp.asarray(q)),
                         "theirs": partial(scipy.linalg.solve_discrete_lyapunov, a, q)}, repeats)  # fmt: skip
        rows.append(Row(work=f"discrete Lyapunov, n = {n}, unstable, one task", against="SciPy", reach="none",
                        met=True, flops=None, **times))  # fmt: skip
    return rows


def derivative_rows(repeats: int) -> list[Row]:
    rows = []
    for count, n, m, block in ((4096, 4, 2, None), (1000, 8, 4, None), (1000, 20, 5, None), (1000, 20, 5, 125)):
        K, task, X = lqr_problem(count, n, m)
        shown = f"{count} tasks, n = {n}" + (f", in blocks of {block}" if block else "")

        def adapted(K, task):
            return jaxlqr.cost(K - 1e-6 * jax.grad(jaxlqr.cost)(K, task), task)

        def compiled(f, block=block):
            return jax.jit(lambda *args: jax.lax.map(lambda one: f(*one), args, batch_size=block)
                           if block else jax.vmap(f)(*args))  # fmt: skip

        gradient, hvp, maml = (
            compiled(f) for f in (jax.value_and_grad(jaxlqr.cost), hessian_vector_product, jax.grad(adapted))
        )
        times = medians({"gradient": partial(gradient, K, task), "hvp": partial(hvp, K, X, task),
                         "maml": partial(maml, K, task)}, repeats)  # fmt: skip
        for name, label, most in (("hvp", "Hessian-vector product", 2.0), ("maml", "MAML gradient", 3.0)):
            rows.append(Row(work=f"{label}, {shown}", against="value and gradient", ours=times[name],
                            theirs=times["gradient"], reach=f"at most {most:g}",
                            met=times[name] <= most * times["gradient"],
                            flops=count * (4 if name == "hvp" else 6) * solve_flops(n, 10)))  # fmt: skip
    return rows


def compile_rows() -> list[list[str]]:
    lines = []
    for count in (10, 1000, 4096):  # ten fit one block; beyond, the program is the same
        K, task, X = lqr_problem(count, 4, 2)
        batch = {
            "cost and gradient": (jax.value_and_grad(jaxlqr.cost), (K, task)),
            "Hessian-vector product": (hessian_vector_product, (K, X, task)),
            "discrete Lyapunov": (jaxlqr.solve_discrete_lyapunov, (task.A, task.Q)),
            "discrete Riccati": (jaxlqr.solve_discrete_are, (task.A, task.B, task.Q, task.R)),
        }
        for name, (f, args) in batch.items():
            jax.clear_caches()
            start = time.perf_counter()
            jax.jit(jax.vmap(f)).lower(*args).compile()
            lines.append([name, str(count), f"{time.perf_counter() - start:.2f}"])
    return lines


def matmul_peak() -> float:
    """GFLOP/s of one 1000 x 1000 product in NumPy, on one core."""
    x = np.random.default_rng(0).normal(size=(1000, 1000))
    return 2.0 / medians({"peak": lambda: x @ x}, 9)["peak"] * 1e3


def draw(path: Path, repeats: int) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=False)
    gradient = jax.jit(jax.vmap(jax.value_and_grad(jaxlqr.cost)))
    for axis, label, points in (
        (left, "number of states n (1000 tasks)", [(1000, n) for n in (2, 3, 4, 6, 8, 12, 20)]),
        (right, "number of tasks (n = 4)", [(count, 4) for count in (1, 10, 100, 1000, 10000)]),
    ):
        ours, theirs = [], []
        for count, n in points:
            K, task, _ = lqr_problem(count, n, 2)
            host, few = [np.asarray(x) for x in jax.tree.leaves(task)], min(count, 20)
            times = medians({"ours": partial(gradient, K, task),
                             "theirs": partial(scipy_cost_and_gradient, np.asarray(K)[:few], [x[:few] for x in host])},
                            repeats)  # fmt: skip
            ours.append(1e3 * times["ours"] / count)
            theirs.append(1e3 * times["theirs"] / few)
        x = [n for _, n in points] if axis is left else [count for count, _ in points]
        axis.loglog(x, theirs, "s--", label="two SciPy solves a task")
        axis.loglog(x, ours, "o-", label="jaxlqr")
        axis.set_xticks(x, [str(value) for value in x])
        axis.minorticks_off()
        axis.set_xlabel(label)
        axis.set_ylabel("cost and gradient, microseconds a task")
        axis.legend()
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and no n = 500")
    parser.add_argument("--write", action="store_true", help="write the table and the plot into docs")
    options = parser.parse_args()
    repeats = 5 if options.quick else 15
    large = (50, 200) if options.quick else (50, 200, 500)
    peak = matmul_peak()
    rows = [
        *gradient_rows(4096, 4, 2, min(repeats, 5)),
        *gradient_rows(1000, 8, 4, min(repeats, 5)),
        *small_lyapunov_rows(repeats),
        *riccati_rows(repeats, (4, 12, *large)),
        *large_lyapunov_rows(repeats, large),
        *derivative_rows(repeats),
    ]
    header = ["work", "against", "ours, ms", "theirs, ms", "ratio", "reach", "met", "GFLOP/s", "of peak"]
    table = markdown(header, [row.cells(peak) for row in rows])
    compiled = markdown(["compile", "tasks", "seconds"], compile_rows())
    versions = f"JAX {jax.__version__}, SciPy {scipy.__version__}, Python {platform.python_version()}"
    machine = f"{versions}, one core, matmul peak {peak:.0f} GFLOP/s"
    text = f"{machine}.\n\n{table}\n\n{compiled}"
    print(text)
    if options.write:
        replace_between(DOCS / "numerics.md", "speed", text)
        draw(DOCS / "figures" / "matrix_equations.png", 5)


if __name__ == "__main__":
    main()
