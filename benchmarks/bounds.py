"""All bounds of toso2024 for 10,000 random families of tasks: jaxlqr in one call, and the loop a user would write.

Each family has five tasks with four states and two inputs and a gain near the optimum of the first. For each: the
constants of Lemmas 3, 5 and 6 and the heterogeneity bound of Lemma 4, as printed and as corrected, step sizes, radii,
samples, iterations and bounds (6) and (7), NaN where the gain does not stabilise a task. The loop has the corrected
constants and the heterogeneity bound only, with SciPy's Lyapunov and Riccati solvers, for a sample of the families, and
must agree.

    python benchmarks/bounds.py [--families 10000] [--repeats 5] [--write]

``--write`` puts the table into docs/benchmarks/lqr.md.
"""

import argparse
import time

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402
from timing import DOCS, markdown, replace_between  # noqa: E402

from jaxlqr.papers.toso2024 import theory as toso2024  # noqa: E402
from jaxlqr.papers.toso2024.theory.instances import draw, instance  # noqa: E402

NUM_STATES, NUM_INPUTS, NUM_TASKS, SAMPLE = 4, 2, 5, 40
EPSILON, DELTA = 0.1, 0.05  # relative to the norms, as in the report
BLOCK = 500  # families at once


def family(key):
    K, tasks, _ = instance(draw(key, NUM_STATES, NUM_INPUTS, NUM_TASKS))
    return K, tasks


def everything(K, tasks):
    """All bounds of one family in both forms."""
    found = {}
    for form in ("printed", "corrected"):
        h, q = toso2024.constants(K, tasks, form=form), toso2024.quantities(K, tasks)
        spread, parts = toso2024.gradient_heterogeneity_bound(K, tasks, form=form)
        steps = toso2024.step_size_limits(h, NUM_INPUTS)
        aims = EPSILON * h.h_G, EPSILON * h.h_H
        radius = [toso2024.smoothing_radius(h, aim, K.shape, form=form)[i] for i, aim in enumerate(aims)]
        found[form] = {
            "constants": h,
            "spread": spread,
            "parts": parts,
            "steps": steps,
            "model_free_steps": toso2024.step_size_limits(h, NUM_INPUTS, model_free=True),
            "radius": radius,
            "samples": [
                toso2024.num_samples(h, q.J_max, K.shape, radius[i], aim, DELTA, form=form)[i]
                for i, aim in enumerate(aims)
            ],
            "iterations": toso2024.iterations(h, q.gap, steps.outer, EPSILON * q.gap),
            "bounds": toso2024.optimality_bounds(K, tasks, form=form),
        }
    return found


@jax.jit
def sweep(gains, families):
    return jax.lax.map(lambda pair: everything(*pair), (gains, families), batch_size=BLOCK)


def loop_one(K, A, B, Q, R, Sigma0):
    """Corrected constants of one family, as one would write them from the paper and the errata: a dictionary."""
    norm, least = (lambda x: np.linalg.norm(x, 2)), (lambda x: np.linalg.eigvalsh(x)[0])
    rows = []
    for a, b, q, r, s in zip(A, B, Q, R, Sigma0, strict=True):
        closed = a - b @ K
        P = scipy.linalg.solve_discrete_lyapunov(closed.T, q + K.T @ r @ K)
        best = scipy.linalg.solve_discrete_are(a, b, q, r)
        K_best = np.linalg.solve(r + b.T @ best @ b, b.T @ best @ a)
        Sigma = scipy.linalg.solve_discrete_lyapunov(a - b @ K_best, s)
        rows.append(
            (
                np.trace(P @ s),
                np.trace(best @ s),
                norm(P),
                norm(r + b.T @ P @ b),
                norm(closed),
                b.T @ P @ a,
                norm(Sigma),
            )
        )
    J, J_best, P, weight, closed, BPA, Sigma = zip(*rows, strict=True)
    J_max, J_min, mu = max(J), min(J_best), min(map(least, Sigma0))
    sigma_Q, sigma_R, weight, closed = min(map(least, Q)), min(map(least, R)), max(weight), max(closed)
    b, k, m, n = max(map(norm, B)), norm(K), *K.shape
    nu, spread, h_0 = J_max / (sigma_Q * mu), J_max / sigma_Q, np.sqrt(weight * max(J_max - J_min, 0) / mu)
    h_delta = sigma_Q * mu / (4 * b * J_max * (closed + 1))
    covariance = 4 * spread**2 * b * (closed + 1) / mu
    operator, reach = b * (2 * closed + b * h_delta), closed + b * h_delta
    value = 2 * nu * (2 * h_0 + weight * h_delta)
    residual = weight + b * reach * value
    change = 4 * nu * residual + 4 * nu**2 * h_0 * operator
    first = 4 * spread * b**2 * value + 2 * weight * covariance
    second = 2 * spread * (change * reach + 2 * nu * h_0 * b) + 2 * nu * h_0 * closed * covariance
    levels = [max(norm(x - y) for x in stack for y in stack) for stack in (A, B, Q, R)]
    a, q, r, p = (max(map(norm, stack)) for stack in (A, Q, R, [np.diag([x]) for x in P]))
    folded = 4 * closed**2 * (q + k**2 * r) * nu**2
    states = 4 * (r * k + J_max * (b**2 * k + b * a) / mu) * nu**2 * closed * max(map(norm, Sigma0))
    parts = [
        spread * b * (p + folded) + states,
        spread * (closed * p + b * p * k + b * k * folded) + k * states,
        spread * b * closed * nu,
        spread * (k + k**2 * b * closed * nu),
    ]
    return {
        "h_G": 2 * spread * h_0,
        "h_H": np.sqrt(m * n) * (2 * weight + 8 * b * closed * nu * h_0) * spread,
        "h_c": (h_0 + max(map(np.linalg.norm, BPA))) / sigma_R,
        "h_Delta": h_delta,
        "h_cost": 2 / sigma_Q * (2 * h_0 + np.sqrt(min(m, n)) * weight * h_delta),
        "h_grad": 4 * spread * residual + 2 * h_0 * covariance,
        "h_hess": np.sqrt(m * n) * (first + 4 * b * second),
        "gradient_domination": 4 * mu**2 * np.array([least(x) for x in R]) / np.array(Sigma),
        "spread": 2 * float(np.dot(levels, parts)),
    }


def timed(call):
    began = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--families", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks/lqr.md")
    arguments = parser.parse_args()

    keys = jax.random.split(jax.random.key(0), arguments.families)
    gains, families = jax.block_until_ready(jax.jit(lambda k: jax.lax.map(family, k, batch_size=BLOCK))(keys))
    first, found = timed(lambda: sweep(gains, families))
    seconds = float(np.median([timed(lambda: sweep(gains, families))[0] for _ in range(arguments.repeats)]))

    corrected = found["corrected"]
    stable = np.flatnonzero(np.isfinite(np.asarray(corrected["constants"].h_G)))
    sample = stable[:: max(1, len(stable) // SAMPLE)][:SAMPLE]
    host = [[np.asarray(getattr(families, name))[i] for name in ("A", "B", "Q", "R", "Sigma0")] for i in sample]
    rows, spent = [], []
    for i, matrices in zip(sample, host, strict=True):
        began = time.perf_counter()
        rows.append(loop_one(np.asarray(gains[i]), *matrices))
        spent.append(time.perf_counter() - began)
    for name in rows[0]:
        batch = corrected["spread"] if name == "spread" else getattr(corrected["constants"], name)
        # Near the optimum J_max - J_min cancels in the loop, which the batch avoids.
        np.testing.assert_allclose(
            np.stack([row[name] for row in rows]), np.asarray(batch)[sample], rtol=1e-4, err_msg=name
        )

    table = markdown(
        ["", "value"],
        [
            [
                f"families ({NUM_TASKS} tasks, n = {NUM_STATES}, m = {NUM_INPUTS}); share that the gain stabilises",
                f"{arguments.families}; {len(stable) / arguments.families:.0%}",
            ],
            ["jaxlqr, all bounds in both forms, s", f"{seconds:.2f}"],
            ["the first call, with compilation, s", f"{first:.1f}"],
            ["families a second", f"{arguments.families / seconds:.0f}"],
            ["SciPy loop, corrected constants only, ms for a family", f"{1e3 * np.median(spent):.2f}"],
            [
                "SciPy loop for as many families, times as long",
                f"{np.median(spent) * arguments.families / seconds:.0f}",
            ],
        ],
    )
    print(table)
    if arguments.write:
        replace_between(DOCS / "benchmarks" / "lqr.md", "bounds", table)


if __name__ == "__main__":
    main()
