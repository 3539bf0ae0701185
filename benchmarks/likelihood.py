# The peers it compares with are optional, and not installed where types are checked.
# pyright: reportMissingImports=false
"""Times of likelihoods and their parts against what a user would pick instead, in one run on one core.

    taskset -c 0 python benchmarks/likelihood.py [--models rbc rbc_sv ...] [--draws 4096] [--steps 200] [--repeats 5]
        [--write]

The models are those of tests/estimation/dsge. Competitors of a row are timed in turns, so that a busy machine slows
both. Value, gradient and Hessian-vector product go from four parameters through Klein's map to the log-likelihood.
"""

import argparse
import importlib
import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy
import scipy.linalg
from timing import DOCS, markdown, medians, replace_between

from jaxlqr import estimation

jax.config.update("jax_enable_x64", True)

MODELS = Path(__file__).resolve().parent.parent / "tests" / "estimation" / "dsge"
NAMES = ("rbc", "rbc_sv", "sgu", "fvgq", "sw07pfeifer")
_SMALL = ("rbc", "rbc_sv", "sgu")
_NOISE = 1e-4  # variance of the measurements
Row = list[str]


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(MODELS / f"{name}.npz") as file:
        return {key: file[key] for key in file}


def density(model: dict[str, np.ndarray], num_steps: int) -> Callable[[jax.Array], jax.Array]:
    """The log-likelihood of four parameters: the size of the shocks, and three directions in which B moves."""
    num_states, num_shocks = model["shock"].shape
    rng = np.random.default_rng(0)
    y = jnp.asarray(rng.normal(size=(num_steps, min(num_shocks, len(model["g_x"])))))
    directions = jnp.asarray(1e-4 * model["B"] * rng.normal(size=(3, *model["B"].shape)))

    def value(params: jax.Array) -> jax.Array:
        B = model["B"] + jnp.tensordot(params[1:], directions, 1)
        g_x, h_x, _ = estimation.solve_linear_re(model["A"], B, num_states)
        loading = jnp.exp(params[0]) * model["shock"]
        R = _NOISE * jnp.eye(y.shape[1])
        return estimation.log_likelihood(y, h_x, g_x[: y.shape[1]], loading @ loading.T, R)

    return value


def row(work: str, against: str, times: dict[str, float], scale: float = 1.0) -> Row:
    theirs = times["theirs"] * scale
    return [work, against, f"{times['ours']:.3g}", f"{theirs:.3g}", f"{theirs / times['ours']:.3g}"]


def likelihood_rows(name: str, draws: int, num_steps: int, repeats: int) -> list[Row]:
    model = load(name)
    value = density(model, num_steps)
    params = 1e-2 * jnp.asarray(np.random.default_rng(1).normal(size=(draws, 4)))

    def product(params: jax.Array) -> jax.Array:
        return jax.jvp(jax.grad(value), (params,), (jnp.ones_like(params),))[1]

    functions = {"value": value, "gradient": jax.value_and_grad(value), "Hessian-vector product": product}
    compiled = {key: partial(jax.jit(jax.vmap(f)), params) for key, f in functions.items()}
    times = medians(compiled, repeats)
    rows = [
        row(f"{name}, {key}, {draws} draws", "value", {"ours": times[key], "theirs": times["value"]})
        for key in functions
    ]
    if draws == 1:
        rows += filter_rows(name, model, num_steps, repeats)
    return rows


def filter_rows(name: str, model: dict[str, np.ndarray], num_steps: int, repeats: int) -> list[Row]:
    """The filter alone, with settled gains and without, and statsmodels' one."""
    num_measured = min(model["shock"].shape[1], len(model["g_x"]))
    y = np.random.default_rng(0).normal(size=(num_steps, num_measured))
    A, C, Q = model["h_x"], model["g_x"][:num_measured], model["shock"] @ model["shock"].T
    R = _NOISE * np.eye(num_measured)
    arrays = [jnp.asarray(array) for array in (y, A, C, Q, R)]
    runs: dict[str, Callable[[], object]] = {
        method: partial(jax.jit(partial(estimation.log_likelihood, method=method)), *arrays)
        for method in ("auto", "exact")
    }
    runs["the same call without jit"] = partial(estimation.log_likelihood, *arrays)
    try:
        from statsmodels.tsa.statespace.kalman_filter import KalmanFilter
    except ImportError:
        print("statsmodels is not installed: its row is left out")
    else:
        peer = KalmanFilter(num_measured, len(A), k_posdef=len(A))
        peer.bind(y.copy())
        peer["transition"], peer["design"], peer["selection"] = A, C, np.eye(len(A))
        peer["state_cov"], peer["obs_cov"] = Q, R

        def theirs() -> float:
            peer.initialize_stationary()
            return peer.loglike()

        runs["statsmodels"] = theirs
    times = medians(runs, repeats)
    return [
        row(f"{name}, filter, one draw", other, {"ours": times["auto"], "theirs": times[other]})
        for other in runs if other != "auto"
    ]  # fmt: skip


def kronecker(a: jax.Array, q: jax.Array) -> jax.Array:
    return jnp.linalg.solve(jnp.eye(a.size) - jnp.kron(a, a), q.ravel()).reshape(q.shape)


def in_pytensor(a: jax.Array, q: jax.Array) -> Callable[[], object] | None:
    """The same sum and gradient by PyTensor's JAX mode as it comes, without our solvers in it."""
    try:
        pytensor: Any = importlib.import_module("pytensor")
        pt: Any = importlib.import_module("pytensor.tensor")
    except ImportError:
        print("PyTensor is not installed: its row is left out")
        return None
    symbols = [pt.matrix(f"x{k}", shape=array.shape) for k, array in enumerate((a, q))]
    total = pt.sum(pt.linalg.solve_discrete_lyapunov(*symbols))
    compiled = pytensor.function(symbols, [total, *pt.grad(total, symbols)], mode="JAX")
    return partial(compiled, np.asarray(a), np.asarray(q))


def lyapunov_rows(name: str, repeats: int) -> list[Row]:
    model = load(name)
    a, q = jnp.asarray(model["h_x"]), jnp.asarray(model["shock"] @ model["shock"].T)

    def total(solve: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[[], object]:
        return partial(jax.jit(jax.value_and_grad(lambda a, q: jnp.sum(solve(a, q)), argnums=(0, 1))), a, q)

    candidates = {"ours": total(estimation.stationary_covariance), "Kronecker in JAX": total(kronecker)}
    peer = in_pytensor(a, q)
    if peer is not None:
        candidates["PyTensor's JAX mode"] = peer
    times = medians(candidates, repeats)
    return [
        row(f"{name}, Lyapunov with gradient, n = {len(a)}", against, {"ours": times["ours"], "theirs": times[against]})
        for against in candidates
        if against != "ours"
    ]


def klein_row(name: str, draws: int, repeats: int) -> Row:
    model = load(name)
    num_states = len(model["h_x"])
    factors = np.exp(1e-4 * np.random.default_rng(2).normal(size=(draws, 1, 1)))
    A, B = np.broadcast_to(model["A"], (draws, *model["A"].shape)), factors * model["B"]
    shown = min(draws, 50)  # the loop is the same for every draw: time 50 and scale

    def theirs() -> float:
        total = 0.0
        for a, b in zip(A[:shown], B[:shown], strict=True):
            z = scipy.linalg.ordqz(-b, a, sort="iuc", output="complex")[-1]
            total += float(np.linalg.solve(z[:num_states, :num_states].T, z[num_states:, :num_states].T)[0, 0].real)
        return total

    ours = jax.jit(jax.vmap(lambda A, B: tuple(estimation.solve_linear_re(A, B, num_states))))
    times = medians({"ours": partial(ours, jnp.asarray(A), jnp.asarray(B)), "theirs": theirs}, repeats)
    return row(f"{name}, Klein's map, {draws} draws", "SciPy's ordered QZ in a loop", times, draws / shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--draws", type=int, default=4096, help="beside one draw")
    parser.add_argument("--steps", type=int, default=200, help="measurements")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks/likelihood.md")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.models:
        # A lane of the two large models works for milliseconds: fewer lanes say as much about each.
        many = min(options.draws, 4096 if name in _SMALL else 64)
        for draws in (1, many):
            rows += likelihood_rows(name, draws, options.steps, options.repeats)
        rows += [*lyapunov_rows(name, options.repeats), klein_row(name, many, options.repeats)]
        print(f"{name}: done", flush=True)
    text = f"JAX {jax.__version__}, SciPy {scipy.__version__}, Python {platform.python_version()}, one core, "
    text += f"T = {options.steps}.\n\n" + markdown(["work", "against", "ours, ms", "theirs, ms", "ratio"], rows)
    print(text)
    if options.write:
        replace_between(DOCS / "benchmarks" / "likelihood.md", "likelihood", text)


if __name__ == "__main__":
    main()
