"""The meta-objective on a plane through the gain space: jaxlqr, and the loops that a user would write instead.

A 400 x 400 plane through the gains of eleven tasks around the Boeing system (n = 4, m = 2, eight entries), along two
leading eigenvectors of the meta-Hessian at the optimum of the average task, within the bounds of the stabilising set:
cost, exact gradient step and cost again for each of 1.76 million pairs of a gain and a task, infinite where the gain or
the adapted one does not stabilise. The loops run on a sample spread over the same points, on one core as they are
written, and must agree with the map: SciPy's `solve_discrete_lyapunov` three times for a pair, none where eigenvalues
say that the gain does not stabilise; and the best that NumPy does, doublings of stacked matrices.

    python benchmarks/landscape.py [--repeats 5] [--json FILE]

Run on two idle cores. Prints medians, ratios, by how much the map raised the peak of memory, and how long the same
products would take at the speed of a large matrix product on all cores (``seconds_at_peak``).
"""

import argparse
import json
import resource
import time
from functools import partial
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402

import jaxlqr  # noqa: E402
from jaxlqr.lqr.stabilize import average_task_gain  # noqa: E402
from jaxlqr.meta import landscape  # noqa: E402

SIDE, NUM_TASKS, SAMPLE = 400, 11, 60
# Products of 2 n^3 flops that the map needs: in each doubling the power and two for each of both Gramians at the gain,
# and at the adapted gain the power and two for one; and some 15 for A - B K, the weights and the gradient.
PRODUCTS_PER_DOUBLING, OTHER_PRODUCTS = 8, 15


def scipy_value(K, A, B, Q, R, Sigma0, step):
    """Cost after one exact gradient step, one gain and one task, as written from the textbook."""

    def closed_loop(K):
        closed = A - B @ K
        return closed if np.max(np.abs(np.linalg.eigvals(closed))) < 1 else None

    if (closed := closed_loop(K)) is None:
        return np.inf
    P = scipy.linalg.solve_discrete_lyapunov(closed.T, Q + K.T @ R @ K)
    Sigma = scipy.linalg.solve_discrete_lyapunov(closed, Sigma0)
    moved = K - step * 2 * (R @ K - B.T @ P @ closed) @ Sigma
    if (closed := closed_loop(moved)) is None:
        return np.inf
    return np.trace(scipy.linalg.solve_discrete_lyapunov(closed.T, Q + moved.T @ R @ moved) @ Sigma0)


def numpy_values(gains, A, B, Q, R, Sigma0, step, doublings=30):
    """The same for all pairs at once [points, tasks], by doublings of stacked matrices."""
    gains = gains[:, None]
    turned = lambda x: np.swapaxes(x, -1, -2)  # noqa: E731

    def gramians(K):
        power = A - B @ K
        P, S = Q + turned(K) @ R @ K, np.broadcast_to(Sigma0, power.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(doublings):
                P, S = P + turned(power) @ P @ power, S + power @ S @ turned(power)
                power = power @ power
        return P, S, np.max(np.abs(power), axis=(-1, -2)) < 1e-8

    P, S, stable = gramians(gains)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = gains - step * 2 * (R @ gains - turned(B) @ P @ (A - B @ gains)) @ S
    P, _, after = gramians(np.where(stable[..., None, None], moved, 0))
    finite = (stable & after)[..., None, None]
    return np.where(stable & after, np.trace(np.where(finite, P, 0) @ Sigma0, axis1=-2, axis2=-1), np.inf)


def timed(call):
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def doublings_of(tasks, gains):
    """Mean number of doublings until the powers of A - B K are decided, as the kernel counts them, on a sample."""
    from jaxlqr.lqr.cost import closed_loop
    from jaxlqr.matrix_equations.doubling import doubling_sum

    def count(K, task):
        return doubling_sum(closed_loop(K, task), task.Q).iterations

    counts = jax.jit(jax.vmap(jax.vmap(count, (None, 0)), (0, None)))(jnp.asarray(gains), tasks)
    return float(jnp.mean(counts))


def peak_flops():
    """Flops per second of a large matrix product on all cores."""
    a = np.random.default_rng(0).standard_normal((1500, 1500))
    np.matmul(a, a)
    return 2 * 1500**3 / min(timed(lambda: a @ a)[0] for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()

    tasks = jaxlqr.families.perturb(jax.random.key(0), jaxlqr.families.boeing(), NUM_TASKS, level=0.01)
    step = 1e-4
    plane = landscape.plane_of_curvature(jaxlqr.cost, average_task_gain(tasks), tasks, step)
    left, right, bottom, top = landscape.extent(jaxlqr.cost, plane, tasks, step, num_inner_steps=0)
    gains = plane.points(np.linspace(left, right, SIDE), np.linspace(bottom, top, SIDE))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first, first_values = timed(lambda: np.asarray(landscape.evaluate(jaxlqr.cost, gains, tasks, step)))
    seconds, values = [], first_values
    for _ in range(arguments.repeats):
        spent, values = timed(lambda: np.asarray(landscape.evaluate(jaxlqr.cost, gains, tasks, step)))
        seconds.append(spent)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    # A sample that is feasible as often as the plane is: every so many points.
    sample = np.linspace(0, len(gains) - 1, SAMPLE).astype(int)
    many = np.linspace(0, len(gains) - 1, 20 * SAMPLE).astype(int)
    host = [np.asarray(getattr(tasks, name)) for name in ("A", "B", "Q", "R", "Sigma0")]

    def in_a_loop() -> list[list[float]]:
        of_task = [[leaf[t] for leaf in host] for t in range(NUM_TASKS)]
        return [[scipy_value(gains[i], a, b, q, r, s, step) for a, b, q, r, s in of_task] for i in sample]

    loop = {"scipy": [], "numpy": []}
    found, stacked = np.empty(0), np.empty(0)
    for _ in range(max(1, arguments.repeats // 2)):
        spent, found = timed(in_a_loop)
        loop["scipy"].append(spent / SAMPLE)
        spent, stacked = timed(partial(numpy_values, gains[many], *host, step))
        loop["numpy"].append(spent / len(many))
    for reference, index in ((np.mean(found, axis=1), sample), (np.mean(stacked, axis=1), many)):
        np.testing.assert_array_equal(np.isfinite(reference), np.isfinite(values[index]))
        inside = np.isfinite(reference)
        np.testing.assert_allclose(values[index][inside], reference[inside], rtol=1e-7)

    median = float(np.median(seconds))
    pairs = len(gains) * NUM_TASKS
    doublings = doublings_of(tasks, gains[:: len(gains) // 500])
    flops = pairs * 2 * 4**3 * (PRODUCTS_PER_DOUBLING * doublings + OTHER_PRODUCTS)
    peak = peak_flops()
    result = {
        "plane": f"{SIDE} x {SIDE}, {NUM_TASKS} tasks, n = 4, m = 2",
        "feasible_share": float(np.mean(np.isfinite(values))),
        "first_call_seconds": first,
        "seconds": median,
        "points_per_second": len(gains) / median,
        "microseconds_per_pair": 1e6 * median / pairs,
        "peak_memory_growth_mb": memory,
        "ratio_to_scipy_loop": float(np.median(loop["scipy"])) * len(gains) / median,
        "ratio_to_stacked_numpy": float(np.median(loop["numpy"])) * len(gains) / median,
        "mean_doublings": doublings,
        "gflops": flops / median / 1e9,
        "peak_gflops": peak / 1e9,
        "seconds_at_peak": flops / peak,
    }
    for name, value in result.items():
        print(f"{name:26s} {value if isinstance(value, str) else f'{value:.4g}'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
