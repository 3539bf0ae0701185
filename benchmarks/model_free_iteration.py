"""One outer iteration of model-free MAML-LQR (Algorithm 3 of toso2024): NumPy as released, NumPy vectorised, jaxlqr.

The work is the same: M = 10 tasks around the Boeing system, m = 20 directions, the estimates of gradient and Hessian at
K and of the gradient at the adapted gains, 1200 cost queries in the released code (K + U, K - U, K + U and K again for
the Hessian, and twice more after the adaptation). All three draw the same directions and must agree on the next gain.
jaxlqr needs 810 distinct queries for the same estimates, and sums to convergence where the others stop after 501 (as
released) or 512 steps.

    python benchmarks/model_free_iteration.py [--repeats 7] [--json FILE]

Run on one core (``taskset -c 0``). Repeats of the three are interleaved; medians and ratios are printed.
"""

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import jaxlqr  # noqa: E402
from jaxlqr.papers.toso2024.printed import PrintedOracle  # noqa: E402

NUM_TASKS, NUM_SAMPLES, RADIUS, STEP, HORIZON = 10, 20, 1e-2, 8e-6, 501


def plain_cost(K, A, B, Q, R, x0):
    """The released cost oracle: a simulation from x0, one gain and one task at a time."""
    closed, weight = A - B @ K, Q + K.T @ R @ K
    x, total = x0, 0.0
    for _ in range(HORIZON):
        total += x @ weight @ x
        x = closed @ x
    return total


def vectorised_cost(K, A, B, Q, R, x0):
    """The same simulation for stacks of gains and tasks [..., m, n] at once."""
    closed, weight = A - B @ K, Q + np.swapaxes(K, -1, -2) @ R @ K
    x = np.broadcast_to(x0[..., None], (*closed.shape[:-1], 1))
    total = np.zeros(closed.shape[:-2])
    for _ in range(HORIZON):
        total += np.sum(x * (weight @ x), axis=(-1, -2))
        x = closed @ x
    return total


def doubling_cost(K, A, B, Q, R, x0):
    """The best that NumPy does: the cost matrix by nine doublings, 512 steps, for stacks of gains and tasks."""
    power, P = A - B @ K, Q + np.swapaxes(K, -1, -2) @ R @ K
    for _ in range(9):
        P = P + np.swapaxes(power, -1, -2) @ P @ power
        power = power @ power
    return np.squeeze(x0[..., None, :] @ P @ x0[..., :, None], axis=(-1, -2))


def plain_iteration(K, tasks, directions):
    """Algorithm 3 with Python loops over tasks and directions."""
    n_u, n_x = K.shape
    step = np.zeros_like(K)
    for task in zip(*tasks, strict=True):
        gradient, hessian = np.zeros_like(K), np.zeros((n_u, n_u))
        for U in directions:
            gradient += (plain_cost(K + U, *task) - plain_cost(K - U, *task)) * U
        for U in directions:
            hessian += (plain_cost(K + U, *task) - plain_cost(K, *task)) * (U @ U.T - np.eye(n_u))
        gradient *= n_x * n_u / (2 * RADIUS**2 * NUM_SAMPLES)
        hessian *= n_u**2 / (RADIUS**2 * NUM_SAMPLES)
        adapted, outer = K - STEP * gradient, np.zeros_like(K)
        for U in directions:
            outer += (plain_cost(adapted + U, *task) - plain_cost(adapted - U, *task)) * U
        outer *= n_x * n_u / (2 * RADIUS**2 * NUM_SAMPLES)
        step += (np.eye(n_u) - STEP * hessian) @ outer / NUM_TASKS
    return K - STEP * step


def vectorised_iteration(K, tasks, directions, stacked_cost):
    """The same, vectorised over tasks and directions."""
    n_u, n_x = K.shape
    stacked = [array[:, None] for array in tasks]
    scale = n_x * n_u / (2 * RADIUS**2 * NUM_SAMPLES)

    def difference(centre):  # centre [tasks, 1, n_u, n_x]
        return stacked_cost(centre + directions, *stacked) - stacked_cost(centre - directions, *stacked)

    centre = np.broadcast_to(K, (NUM_TASKS, 1, n_u, n_x))
    gradient = scale * np.einsum("ts,sij->tij", difference(centre), directions)
    above = stacked_cost(centre + directions, *stacked)
    base = stacked_cost(np.broadcast_to(centre, (NUM_TASKS, NUM_SAMPLES, n_u, n_x)), *stacked)
    outer_products = directions @ np.swapaxes(directions, -1, -2) - np.eye(n_u)
    hessian = n_u**2 / (RADIUS**2 * NUM_SAMPLES) * np.einsum("ts,sij->tij", above - base, outer_products)
    adapted = K - STEP * gradient
    outer = scale * np.einsum("ts,sij->tij", difference(adapted[:, None]), directions)
    return K - STEP * np.mean((np.eye(n_u) - STEP * hessian) @ outer, axis=0)


@partial(jax.jit, static_argnames="iterations")
def jax_iterations(K, tasks, oracle, key, iterations):
    """As many iterations as asked for, each with the same key, from the same gain: only the last is returned."""

    def step(carry, _):
        # The gain depends on the previous result by a factor of zero, so that no iteration can be left out.
        gradient = jaxlqr.maml_gradient(
            jaxlqr.cost, K + 0 * carry, tasks, inner_step_size=STEP, oracle=oracle, key=key, perturbations="shared"
        )
        return K - STEP * gradient, None

    return jax.lax.scan(step, K, None, length=iterations)[0]


def released_directions(key, shape):
    """The directions that the oracle draws for ``key``."""
    seen = []

    def record(params, task):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)), params)
        return jnp.sum(params)

    oracle = jaxlqr.ZerothOrderOracle(num_samples=NUM_SAMPLES, radius=RADIUS)
    oracle.gradient(record, jnp.zeros(shape), None, key)
    jax.effects_barrier()
    return np.stack(seen[:NUM_SAMPLES])


def median_seconds(call, repeats):
    samples = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        samples.append(time.perf_counter() - began)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()

    K0 = jaxlqr.families.boeing_initial_gain()
    tasks = jaxlqr.families.perturb(jax.random.key(0), jaxlqr.families.boeing(), NUM_TASKS, level=0.01)
    # The released oracle samples x0 with entries N(0.5, 1e-3^2); here once for each task, so that all rows agree.
    states = 0.5 + 1e-3 * jax.random.normal(jax.random.key(2), tasks.A.shape[:2])
    tasks = replace(tasks, Sigma0=states[:, :, None] * states[:, None, :])
    key = jax.random.key(1)
    oracle = PrintedOracle(num_samples=NUM_SAMPLES, radius=RADIUS)
    directions = released_directions(key, K0.shape)
    host_tasks = [np.asarray(leaf) for leaf in (tasks.A, tasks.B, tasks.Q, tasks.R, states)]
    host_gain = np.asarray(K0)

    inside = 100  # iterations of one compiled loop, which is how meta_train runs them
    calls = {
        "numpy, as released": (lambda: plain_iteration(host_gain, host_tasks, directions), 1),
        "numpy, vectorised": (lambda: vectorised_iteration(host_gain, host_tasks, directions, vectorised_cost), 1),
        "numpy, vectorised doubling": (
            lambda: vectorised_iteration(host_gain, host_tasks, directions, doubling_cost),
            1,
        ),
        "jaxlqr, one call": (lambda: np.asarray(jax_iterations(K0, tasks, oracle, key, 1)), 1),
        "jaxlqr, in the training loop": (lambda: np.asarray(jax_iterations(K0, tasks, oracle, key, inside)), inside),
    }
    results = {name: call() for name, (call, _) in calls.items()}
    for name, gain in results.items():
        # Some K + U bring a task to a spectral radius of 0.99, where the released 501 steps leave out 1e-4 of the cost.
        np.testing.assert_allclose(gain, results["numpy, as released"], rtol=1e-4, err_msg=name)

    seconds = {name: [] for name in calls}
    for _ in range(arguments.repeats):
        for name, (call, per_call) in calls.items():
            trials = 1 if name == "numpy, as released" else 10
            seconds[name] += [sample / per_call for sample in median_seconds(call, trials)]
    medians = {name: float(np.median(samples)) for name, samples in seconds.items()}
    print(f"one outer iteration, M = {NUM_TASKS}, m = {NUM_SAMPLES}; medians")
    for name, median in medians.items():
        ratios = "".join(f"{medians[other] / median:12.1f}" for other in list(medians)[:3])
        print(f"{name:30s} {1e3 * median:10.3f} ms   ratio to the three NumPy rows: {ratios}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"median_seconds": medians}, indent=2) + "\n")


if __name__ == "__main__":
    main()
