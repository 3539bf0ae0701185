"""Use each room of an installed jaxlqr without extras; the caller sets up the environment.

Run with the Python of an environment into which ``pip install .`` alone installed jaxlqr, from outside the source tree.
Two public functions of every room are called as in tests/eager_calls.py, a few values are compared with SciPy, and what
needs an extra must name the extra.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0")
ROOT = Path(__file__).resolve().parents[1]

import jax  # noqa: E402  # XLA reads the flags when it is imported
import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402

import jaxlqr  # noqa: E402

ABSENT = ("matplotlib", "typer", "rich", "tqdm", "orbax-checkpoint", "filelock")
CALLS_OF_A_ROOM = 2  # all would compile for minutes, as the tests do
#: Public functions that need an extra, as their errors say.
NEEDS_AN_EXTRA = {"to_control"}


def check_environment() -> None:
    """This is the base install: jaxlqr is in site-packages, and no extra beside it."""
    assert "site-packages" in Path(jaxlqr.__file__).parts, jaxlqr.__file__
    assert (Path(jaxlqr.__file__).parent / "py.typed").exists()
    for name in ABSENT:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        raise AssertionError(f"the base install brings {name} {found.version}")


def call_every_room() -> int:
    """Call public functions of every room of the library, all of whose modules are imported; return how many calls."""
    sys.path.append(str(ROOT))  # last, and jaxlqr is imported by now: it stays the installed one
    from tests.eager_calls import ROOMS

    count = 0
    for module, calls in ROOMS.values():
        if module.__name__.startswith("jaxlqr.papers."):
            continue
        of_room = [call for name, call in calls().items() if name not in NEEDS_AN_EXTRA]
        for call in of_room[:CALLS_OF_A_ROOM]:
            jax.block_until_ready(call())
            count += 1
    return count


def compare_with_scipy() -> None:
    """Lyapunov and Riccati equations to rounding, and a training run that lowers the gap."""
    random = np.random.default_rng(0)
    a, b, q, r = 0.3 * random.normal(size=(4, 4)), random.normal(size=(4, 2)), np.eye(4), np.eye(2)
    for ours, theirs in (
        (jaxlqr.solve_discrete_lyapunov(a, q), scipy.linalg.solve_discrete_lyapunov(a, q)),
        (jaxlqr.solve_continuous_lyapunov(a - 2 * q, q), scipy.linalg.solve_continuous_lyapunov(a - 2 * q, q)),
        (jaxlqr.solve_discrete_are(a, b, q, r), scipy.linalg.solve_discrete_are(a, b, q, r)),
        (jaxlqr.solve_continuous_are(a, b, q, r), scipy.linalg.solve_continuous_are(a, b, q, r)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)  # four well-conditioned states in float64
    task = jaxlqr.make_task(a, b)
    K = 0.5 * jaxlqr.optimal_gain(task)
    trained = jaxlqr.policy_gradient(jaxlqr.cost, K, task, num_steps=20, step_size=1e-2).check()
    gap = np.asarray(trained.history["gap"])
    assert gap[-1] < 0.9 * gap[0], gap


def check_errors() -> None:
    """What needs an extra raises one sentence that names the extra."""
    for need, extra in (
        (lambda: jaxlqr.plots.new_figure(), "plots"),
        (lambda: jaxlqr.plots.plot_weights([[0.5, 0.5]]), "plots"),
        (lambda: jaxlqr.training.Checkpoints(folder="unused"), "checkpoints"),
        (lambda: __import__("jaxlqr.commands"), "cli"),
        (lambda: jaxlqr.lqr.make_task([[0.5]], [[1.0]]).to_control(dt=1.0), "control"),
    ):
        said = ""
        try:
            need()
        except ImportError as error:
            said = str(error)
        assert f"pip install 'jaxlqr[{extra}]'" in said, f"the error must name the extra {extra}, got {said!r}"


if __name__ == "__main__":
    check_environment()
    jax.config.update("jax_enable_x64", True)
    compare_with_scipy()
    check_errors()
    print(f"the base install works: {call_every_room()} calls of public functions, in {jaxlqr.__file__}")
