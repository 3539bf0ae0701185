"""Does a default test fail where the mathematics is wrong? Twenty mistakes, each in a copy of the package.

    python .ci/mutations.py            # all of them, some minutes on two cores
    python .ci/mutations.py hessian    # those whose name contains one of the words

Each mistake is one changed place of the numerical core: a sign, a factor, a transpose, an off-by-one. Of the default
tests (none that is marked slow) a few are run against it, and at least one must fail; without a mistake all of them
must pass. The table names the first test that fails. The exit status is 1 where a mistake is not seen.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Most programs are those of the package without a mistake: all runs share what is compiled.
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"jaxlqr-mutations-{os.getpid()}"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


class Mutation(NamedTuple):
    """``old``, found once in ``file``, becomes ``new``; one of ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "Smith doubling without the transpose",
        "matrix_equations/doubling.py",
        "x + self.product(self.product(power, x), self.adjoint(power))",
        "x + self.product(self.product(power, x), power)",
        "tests/matrix_equations/test_gramians.py::test_value_gradient_and_hessian_vector_product_are_those_of_the_dense_solve[3]",
    ),
    Mutation(
        "gradient of the Gramian trace without its factor of two",
        "matrix_equations/gramians.py",
        "jnp.sum(x * s), 2 * jnp.sum(",
        "jnp.sum(x * s), jnp.sum(",
        "tests/matrix_equations/test_gramians.py::test_value_gradient_and_hessian_vector_product_are_those_of_the_dense_solve[3]",
    ),
    Mutation(
        "second derivative of the Gramian trace with a sign",
        "matrix_equations/gramians.py",
        "ds + dy + dy.T)",
        "ds - dy - dy.T)",
        "tests/matrix_equations/test_gramians.py::test_value_gradient_and_hessian_vector_product_are_those_of_the_dense_solve[3]",
    ),
    Mutation(
        "adjoint of the discrete Lyapunov equation not transposed",
        "matrix_equations/lyapunov.py",
        "lambda x: x - matmul(a, x, adjoint(a)),\n        q,\n        solve=lambda _, rhs: solver(a, rhs).value,\n"
        "        transpose_solve=lambda _, rhs: solver(a.T, rhs).value",
        "lambda x: x - matmul(a, x, adjoint(a)),\n        q,\n        solve=lambda _, rhs: solver(a, rhs).value,\n"
        "        transpose_solve=lambda _, rhs: solver(a, rhs).value",
        "tests/matrix_equations/test_derivatives.py::test_discrete_lyapunov_gradient_is_the_adjoint_equation",
    ),
    Mutation(
        "sign of the cross term in the discrete gain",
        "matrix_equations/riccati_solvers.py",
        "matmul(b_p, a) + adjoint(s))",
        "matmul(b_p, a) - adjoint(s))",
        "tests/matrix_equations/test_exam.py::test_generalised_riccati[solve_discrete_are-discrete_residual-1.5e-11-1.0]",
    ),
    Mutation(
        "adjoint of the Sylvester equation not transposed",
        "matrix_equations/sylvester.py",
        "solver(a.T, b.T, rhs).value",
        "solver(a, b.T, rhs).value",
        "tests/matrix_equations/test_derivatives.py::test_complex_derivatives[Sylvester]",
    ),
    Mutation(
        "observability Gramian of the transposed system",
        "systems/_gramians.py",
        "return gramian(system.A.T, matmul(system.C.T, system.C), discrete=system.is_discrete)",
        "return gramian(system.A, matmul(system.C.T, system.C), discrete=system.is_discrete)",
        "tests/systems/test_gramians.py::test_gramians_are_those_of_scipy",
    ),
    Mutation(
        "turn of the balancing directions with a sign",
        "systems/_hankel.py",
        "even = jnp.where(total > 0, (x - y)",
        "even = jnp.where(total > 0, (x + y)",
        "tests/systems/test_reduction.py::test_derivatives_of_values",
    ),
    Mutation(
        "hold over twice the time, one term once",
        "systems/_hold.py",
        "(1 + diagonal)[:, None] * inputs + product(others, inputs)",
        "diagonal[:, None] * inputs + product(others, inputs)",
        "tests/systems/test_hold.py::test_every_entry_is_right[precession]",
    ),
    Mutation(
        "impulse response one step early",
        "systems/_responses.py",
        "jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])",
        "jnp.concatenate([states[1:], states[-1:]])",
        "tests/systems/test_responses.py::test_step_and_impulse_responses_are_those_of_control[impulse]",
    ),
    Mutation(
        "log-likelihood without half of its determinant",
        "estimation/steps.py",
        "math.log(2 * math.pi) + log_determinant + square) / 2",
        "math.log(2 * math.pi) + log_determinant / 2 + square) / 2",
        "tests/estimation/test_likelihood.py::test_near_a_unit_root_against_50_digits",
    ),
    Mutation(
        "derivative of the map of rational expectations, one factor missing",
        "estimation/linear_re.py",
        "return (g, h), (dg, r + matmul(t, dg, h))",
        "return (g, h), (dg, r + matmul(t, dg))",
        "tests/estimation/test_linear_re.py::test_a_first_derivative",
    ),
    Mutation(
        "the cost of the controls left out",
        "lqr/cost.py",
        "return task.Q + matmul(K.mT, task.R, K)",
        "return task.Q + 0 * matmul(K.mT, task.R, K)",
        "tests/lqr/test_cost.py::test_cost_agrees_with_extended_precision[scalar]",
    ),
    Mutation(
        "closed form of the Hessian, one of two equal terms",
        "lqr/closed_form.py",
        "matmul(metric, X) - 2 * change",
        "matmul(metric, X) - change",
        "tests/lqr/test_derivatives.py::test_three_orders_of_hessian_vector_product_agree_with_both_closed_forms[scalar]",
    ),
    Mutation(
        "meta-gradient of a process without a discount",
        "mdp/gradient.py",
        "second = inner_step_size * mdp.gamma * horizon",
        "second = inner_step_size * horizon",
        "tests/mdp/test_gradient.py::test_closed_form_equals_automatic_differentiation_of_the_generic_core[linear-0]",
    ),
    Mutation(
        "visitation without its factor 1 - gamma",
        "mdp/evaluation.py",
        "states = (1 - mdp.gamma) * resolvent.solve_transposed(start)",
        "states = resolvent.solve_transposed(start)",
        "tests/mdp/test_model.py::test_visitation_is_the_discounted_sum_it_is_defined_as",
    ),
    Mutation(
        "zeroth-order Hessian with d squared for d (d + 2)",
        "oracles/zeroth_order.py",
        "d * (d + 2) / self.radius**4",
        "d * d / self.radius**4",
        "tests/oracles/test_statistics.py::test_stein_hessian_is_unbiased_on_quadratics_at_any_radius",
    ),
    Mutation(
        "meta-gradient with the first inner step left out of the chain rule",
        "meta/estimate.py",
        "in reversed(steps) if not first_order",
        "in reversed(steps[1:]) if not first_order",
        "tests/meta/test_objective.py::test_gradient_is_the_gradient_of_the_objective[network-1]",
    ),
    Mutation(
        "backtracking that accepts a step too long",
        "training/steps.py",
        "<= here - trial * slope",
        "<= here + trial * slope",
        "tests/training/test_steps.py::test_a_large_fraction_of_the_promised_decrease_is_demanded",
    ),
    Mutation(
        "value function of the backward pass, a sign",
        "trajectory/linear_quadratic.py",
        "matmul(K.mT, action.qu) - matmul(QuuK.mT, k)",
        "matmul(K.mT, action.qu) + matmul(QuuK.mT, k)",
        "tests/trajectory/test_tvlqr.py::test_solution_is_that_of_the_dense_kkt_system[0-sequential]",
    ),
    Mutation(
        "perturbed tasks without the nominal one",
        "families/heterogeneity.py",
        "first = 1 if include_nominal else 0",
        "first = 0",
        "tests/families/test_heterogeneity.py",
    ),
]


def pytest_in(tree: Path, arguments: list[str]) -> subprocess.CompletedProcess:
    """The default tests named by ``arguments``, with the package of ``tree``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]
    environment = CACHE | os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def copied(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in ("jaxlqr", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def failing_test(mutation: Mutation) -> str | None:
    """The first default test that fails with the mutation; None where all pass."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = copied(Path(scratch))
        path = tree / "jaxlqr" / mutation.file
        path.write_text(path.read_text(encoding="utf-8").replace(mutation.old, mutation.new), encoding="utf-8")
        done = pytest_in(tree, ["-x", *mutation.tests.split()])
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutation.name}: the tests could not be run:\n{done.stdout}{done.stderr}")
    found = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else None


def main(words: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.name for word in words)]
    texts = {mutation: (ROOT / "jaxlqr" / mutation.file).read_text(encoding="utf-8") for mutation in chosen}
    stale = [f"{mutation.file}: {mutation.old!r}" for mutation, text in texts.items() if text.count(mutation.old) != 1]
    if stale:
        raise SystemExit(
            "these files must contain once what is to be changed; update .ci/mutations.py:\n" + "\n".join(stale)
        )
    with tempfile.TemporaryDirectory() as scratch:
        tree = copied(Path(scratch))
        done = pytest_in(tree, list(dict.fromkeys(test for mutation in chosen for test in mutation.tests.split())))
        if done.returncode != 0:
            raise SystemExit(f"without a mistake all tests must pass:\n{done.stdout[-3000:]}")
    unseen = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        for mutation, failure in zip(chosen, pool.map(failing_test, chosen), strict=True):
            unseen += failure is None
            seen = f"`{failure}`" if failure else "NOT SEEN"
            print(f"| {mutation.name} | `{mutation.file}` | {seen} |", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    finally:
        shutil.rmtree(CACHE["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
