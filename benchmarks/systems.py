# The peers it compares with are optional, and not installed where types are checked.
# pyright: reportMissingImports=false
"""Times of norms and Hankel penalties of linear systems against what a user would pick instead, on one core.

    taskset -c 0 python benchmarks/systems.py [--quick] [--tiny] [--write]

Competitors of a row are timed in turns, so that a busy machine slows both; medians over the turns are reported. A peer
that is not installed is named and left out. ``--tiny`` runs every row on systems so small that the times mean nothing:
it shows that the script works. ``--write`` puts the tables into docs/benchmarks/systems.md.
"""

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from timing import DOCS, markdown, medians, replace_between

from jaxlqr import systems

jax.config.update("jax_enable_x64", True)

Candidates = dict[str, Callable[[], object]]


def stable(seed: int, count: int, n: int) -> systems.StateSpace:
    """``count`` continuous systems with two inputs and outputs, and poles to the left of -0.3."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(count, n, n)) / np.sqrt(n)
    a -= (np.max(np.linalg.eigvals(a).real, axis=1) + 0.3)[:, None, None] * np.eye(n)
    b, c = rng.normal(size=(count, n, 2)), rng.normal(size=(count, 2, n))
    return systems.StateSpace(jnp.asarray(a), jnp.asarray(b), jnp.asarray(c), jnp.zeros((count, 2, 2)))


def sampled(family: systems.StateSpace) -> systems.StateSpace:
    return jax.vmap(lambda system: systems.sample(system, 0.1))(family)


def matrices(system: systems.StateSpace) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in (system.A, system.B, system.C, system.D)]


def optional(name: str) -> object | None:
    try:
        return __import__(name)
    except ImportError:
        print(f"{name} is not installed: its rows are left out")
        return None


def scipy_h2(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> float:
    """The norm and its gradient, by both Gramians."""
    p = scipy.linalg.solve_continuous_lyapunov(a, -b @ b.T)
    q = scipy.linalg.solve_continuous_lyapunov(a.T, -c.T @ c)
    norm = np.sqrt(np.trace(c @ p @ c.T))
    return float(norm + sum(np.sum(x) for x in (q @ p, q @ b, c @ p)) / norm)


def control_gradient(control, each: Sequence[np.ndarray], dt: float) -> list[float]:
    """The norm at the system, and with each entry of A, B and C moved: what a user of python-control would do."""
    each = [matrix.copy() for matrix in each]
    values = [control.system_norm(control.ss(*each, dt), 2)]
    for matrix in each[:3]:
        for index in np.ndindex(matrix.shape):
            kept = matrix[index]
            matrix[index] = kept + 1e-6
            values.append(control.system_norm(control.ss(*each, dt), 2))
            matrix[index] = kept
    return values


def h2_rows(count: int, n: int, repeats: int, control) -> list[list[str]]:
    """H2 norm with gradient of many small systems; the peers compute what they can."""
    family = stable(0, count, n)
    rows = []
    for name, tasks in (("continuous", family), ("discrete", sampled(family))):
        few = jax.tree.map(lambda leaf: leaf[: min(count, 64)], tasks)
        host = list(zip(*matrices(few), strict=True))
        candidates: Candidates = {"ours": partial(jax.jit(jax.vmap(jax.value_and_grad(systems.h2_norm))), tasks)}
        if control is not None:
            time_step = 0 if name == "continuous" else 0.1
            models = [control.ss(*each, time_step) for each in host]
            candidates["python-control loop, norm alone"] = lambda models=models: [
                control.system_norm(model, 2) for model in models
            ]
            candidates["python-control loop, with gradient by differences"] = lambda host=host, dt=time_step: [
                control_gradient(control, each, dt) for each in host[:4]
            ]
        if name == "continuous":
            candidates["SciPy loop, with gradient"] = lambda host=host: [scipy_h2(*each) for each in host]
        else:
            contrax = contrax_h2(tasks)
            if contrax is not None:
                candidates["contrax, with gradient"] = contrax
        times = medians(candidates, repeats)
        for peer, time in times.items():
            if peer != "ours":
                # The loops run over the first few systems, and their time is multiplied to the count.
                shown = len(host[:4]) if "differences" in peer else len(host)
                whole = time * (count / shown if "loop" in peer else 1)
                rows.append(row(f"H2 norm and gradient, {count} systems, n = {n}, {name}", peer, times["ours"], whole))
    return rows


def contrax_h2(family: systems.StateSpace) -> Callable[[], object] | None:
    try:
        from contrax import dlyap
    except ImportError:
        print("contrax is not installed: its row is left out")
        return None

    def norm(system: systems.StateSpace) -> jax.Array:
        p = dlyap(system.A, system.B @ system.B.T)
        return jnp.sqrt(jnp.trace(system.C @ p @ system.C.T) + jnp.sum(system.D**2))

    return partial(jax.jit(jax.vmap(jax.value_and_grad(norm))), family)


def large_h2_rows(n: int, repeats: int) -> list[list[str]]:
    system = jax.tree.map(lambda leaf: leaf[0], stable(1, 1, n))
    host = matrices(system)
    times = medians(
        {"ours": partial(jax.jit(jax.value_and_grad(systems.h2_norm)), system), "SciPy": lambda: scipy_h2(*host)},
        repeats,
    )
    return [row(f"H2 norm and gradient, one system, n = {n}", "SciPy, two solves", times["ours"], times["SciPy"])]


def hinf_rows(sizes: tuple[int, ...], repeats: int, control, ctrlsys) -> list[list[str]]:
    rows = []
    for n in sizes:
        system = jax.tree.map(lambda leaf: leaf[0], stable(2, 1, n))
        a, b, c, d = matrices(system)
        candidates: Candidates = {"ours": partial(jax.jit(systems.hinf_norm), system)}
        if ctrlsys is not None:

            def slicot(a=a, b=b, c=c, d=d, n=n):
                copies = [np.asfortranarray(x.copy()) for x in (a, np.eye(n), b, c, d)]
                start = np.array([0.0, 1.0])
                return ctrlsys.ab13dd("C", "I", "N", "D", n, b.shape[1], c.shape[0], start, *copies, 1e-10)

            candidates["ctrlsys ab13dd"] = slicot
        if control is not None:
            model = control.ss(a, b, c, d)
            candidates["python-control"] = lambda model=model: control.system_norm(model, "inf")
        times = medians(candidates, repeats)
        rows += [
            row(f"H-infinity norm, n = {n}", peer, times["ours"], time)
            for peer, time in times.items()
            if peer != "ours"
        ]
    return rows


def kronecker_penalty(system: systems.StateSpace) -> jax.Array:
    """Sum of Hankel values from Gramians by one dense system of n^2 equations each."""
    eye = jnp.eye(len(system.A))

    def gramian(a: jax.Array, q: jax.Array) -> jax.Array:
        operator = jnp.kron(a, eye) + jnp.kron(eye, a)
        return jnp.linalg.solve(operator, -q.ravel()).reshape(q.shape)

    p = gramian(system.A, system.B @ system.B.T)
    q = gramian(system.A.T, system.C.T @ system.C)
    # The eigenvalues of p q are those of a symmetric matrix, whose derivative JAX has.
    half = jnp.linalg.cholesky(p + 1e-12 * jnp.trace(p) * eye)
    return jnp.sum(jnp.sqrt(jnp.abs(jnp.linalg.eigvalsh(half.T @ q @ half)) + 1e-30))


def temporary_megabytes(program: jax.stages.Compiled) -> float:
    analysis = program.memory_analysis()
    return float("nan") if analysis is None else analysis.temp_size_in_bytes / 1e6


def hankel_rows(n: int, count: int, repeats: int) -> tuple[list[list[str]], list[list[str]]]:
    """Times, and megabytes of temporary memory of the compiled programs, of a gradient of the penalty."""
    family = stable(3, count, n)
    programs = {
        name: jax.jit(jax.vmap(jax.grad(penalty))).lower(family).compile()
        for name, penalty in (("ours", systems.hankel_nuclear_norm), ("Kronecker", kronecker_penalty))
    }
    timed: Candidates = {name: partial(program, family) for name, program in programs.items()}
    peer = "Kronecker solve"
    if n > 32:
        # All lanes at once would take 11 GB: the peer solves one, and its time is multiplied to the count.
        first = jax.tree.map(lambda leaf: leaf[0], family)
        timed["Kronecker"] = partial(jax.jit(jax.grad(kronecker_penalty)), first)
        peer += f", {count} times one system"
    times = medians(timed, min(repeats, 3) if n > 32 else repeats)
    times["Kronecker"] *= count if n > 32 else 1
    work = f"gradient of the sum of Hankel values, n = {n}, batch {count}"
    memory = {name: temporary_megabytes(program) for name, program in programs.items()}
    timed_rows = [row(work, peer, times["ours"], times["Kronecker"])]
    sizes = [work, f"{memory['ours']:.3g}", f"{memory['Kronecker']:.3g}", f"{memory['Kronecker'] / memory['ours']:.3g}"]
    return timed_rows, [sizes]


def row(work: str, against: str, ours: float, theirs: float) -> list[str]:
    return [work, against, f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.3g}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: the times mean nothing")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks/systems.md")
    options = parser.parse_args()
    repeats = 1 if options.tiny else 5 if options.quick else 15
    control, ctrlsys = optional("control"), optional("ctrlsys")
    rows = h2_rows(8 if options.tiny else 4096, 4, repeats, control)
    rows += large_h2_rows(6 if options.tiny else 100, repeats)
    rows += hinf_rows((4,) if options.tiny else (4, 20, 100), repeats, control, ctrlsys)
    memory = []
    for n in (4,) if options.tiny else (32, 64):
        timed, sizes = hankel_rows(n, 2 if options.tiny else 16, repeats)
        rows, memory = rows + timed, memory + sizes
    text = f"JAX {jax.__version__}, SciPy {scipy.__version__}, Python {platform.python_version()}, one core.\n\n"
    text += markdown(["work", "against", "ours, ms", "theirs, ms", "ratio"], rows) + "\n\n"
    text += markdown(["temporary memory of", "ours, MB", "Kronecker, MB", "ratio"], memory)
    print(text)
    if options.write:
        replace_between(DOCS / "benchmarks" / "systems.md", "systems", text)


if __name__ == "__main__":
    main()
