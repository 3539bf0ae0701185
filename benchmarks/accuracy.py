# The peers it compares with are optional, and not installed where types are checked.
# pyright: reportMissingImports=false
"""Accuracy of the solvers against SciPy and a 50-digit reference; writes the tables of docs/numerics.md.

    python benchmarks/accuracy.py [--quick] [--write]

A 50-digit solution of a dense Lyapunov equation is out of reach at n = 500, so the problem is made from its solution:
a = v t v^-1 with exactly representable factors, and the reference is computed by doubling in 50 digits up to n = 20;
above that the right-hand side is manufactured from a known x in extended precision and rounded once.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import scipy.linalg

import jaxlqr

jax.config.update("jax_enable_x64", True)
mpmath.mp.dps = 50
ROOT = Path(__file__).resolve().parent.parent
LARGEST_EXACT = 20


def coefficient(n: int, radius: float, nonnormality: float) -> np.ndarray:
    """Upper triangular a, hidden by a reflection, with the given spectral radius and size of off-diagonal entries."""
    rng = np.random.default_rng(n)
    a = np.diag(radius * np.linspace(1.0, -0.5, n)) + nonnormality * np.triu(rng.normal(size=(n, n)), 1) / n
    v = rng.normal(size=n)
    reflection = np.eye(n) - 2 * np.outer(v, v) / (v @ v)
    return reflection @ a @ reflection


def exact_solution(a: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """Sum of the series in 50 digits, rounded to float64; None when the rounded a is not stable."""
    power, x = mpmath.matrix(a.tolist()), mpmath.matrix(q.tolist())
    for _ in range(60):
        x = x + power * x * power.T
        power = power * power
        size = mpmath.mnorm(power, 1)
        if size < mpmath.mpf(10) ** -30:
            return np.array(x.tolist(), dtype=float)
        if size > mpmath.mpf(10) ** 60:
            return None
    return None


def reference_problem(n: int, radius: float, nonnormality: float) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    a = coefficient(n, radius, nonnormality)
    if n <= LARGEST_EXACT:
        q = np.eye(n)
        return a, q, exact_solution(a, q)
    x = np.eye(n) + 0.1 * np.cos(np.add.outer(np.arange(n), np.arange(n)))
    wide, wide_x = a.astype(np.longdouble), x.astype(np.longdouble)
    return a, np.asarray(wide_x - wide @ wide_x @ wide.T, dtype=float), x


def errors(x: np.ndarray, a: np.ndarray, q: np.ndarray, reference: np.ndarray | None) -> tuple[str, str]:
    x = np.asarray(x, dtype=float)
    if not np.all(np.isfinite(x)):
        return "none", "none"
    terms = (a @ x @ a.T, x, q)
    residual = np.linalg.norm(terms[0] - x + q) / sum(np.linalg.norm(term) for term in terms)
    forward = (
        "no reference" if reference is None else f"{np.linalg.norm(x - reference) / np.linalg.norm(reference):.0e}"
    )
    return f"{residual:.0e}", forward


def line(n: int, radius: float, nonnormality: float) -> list[str]:
    a, q, reference = reference_problem(n, radius, nonnormality)
    cells = [str(n), f"1 - {1 - radius:.0e}" if radius > 0.9 else f"{radius:g}", f"{nonnormality:.0e}"]
    result = jaxlqr.discrete_lyapunov_result(jnp.asarray(a), jnp.asarray(q))
    cells += [f"{float(result.condition):.0e}"]
    try:
        theirs = scipy.linalg.solve_discrete_lyapunov(a, q)
    except np.linalg.LinAlgError:
        theirs = np.full_like(a, np.nan)
    solutions = [theirs, result.value]
    solutions += [jaxlqr.solve_discrete_lyapunov(jnp.asarray(a), jnp.asarray(q), method="schur")]
    single = jnp.asarray(a, jnp.float32), jnp.asarray(q, jnp.float32)
    solutions += [jaxlqr.solve_discrete_lyapunov(*single)]
    for x in solutions:
        cells += [" / ".join(errors(x, a, q, reference))]
    return cells


def riccati_line(name: str, arrays: list[np.ndarray]) -> list[str]:
    a, b, q, r = (np.atleast_2d(np.asarray(x, dtype=complex if np.iscomplexobj(x) else float)) for x in arrays)
    result = jaxlqr.discrete_are_result(*map(jnp.asarray, (a, b, q, r)))

    def residual(x: np.ndarray) -> str:
        cross = a.conj().T @ x @ b
        error = a.conj().T @ x @ a - x + q - cross @ np.linalg.solve(r + b.conj().T @ x @ b, cross.conj().T)
        return f"{np.linalg.norm(error) / (np.linalg.norm(x) + np.linalg.norm(q)):.0e}"

    return [name, str(len(a)), f"{float(result.condition):.0e}",
            residual(scipy.linalg.solve_discrete_are(a, b, q, r)), residual(np.asarray(result.value))]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out n = 500 and the 50-digit n = 20")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/numerics.md")
    options = parser.parse_args()
    sizes = (2, 4, 10, 100) if options.quick else (2, 4, 10, 20, 100, 500)
    grid = [(n, radius, 1.0) for n in sizes for radius in (0.5, 0.99, 1 - 1e-6, 1 - 1e-10)]
    grid += [(n, 0.9, nonnormality) for n in (2, 4, 10) for nonnormality in (1e2, 1e4, 1e6)]
    from matrix_equations import markdown, replace_between

    header = ["n", "radius", "off-diagonal", "condition", "SciPy", "auto", "schur", "auto, float32"]
    tables = [markdown(header, [line(*point) for point in grid])]
    try:
        from scipy.linalg.tests.test_solvers import TestSolveDiscreteAre
    except ImportError:
        print("this SciPy wheel ships no tests: no Riccati table")
    else:
        lines = [riccati_line(f"SciPy's case {i}", list(case[:4])) for i, case in enumerate(TestSolveDiscreteAre.cases)]
        tables.append(markdown(["discrete Riccati", "n", "condition", "SciPy", "jaxlqr"], lines))
    text = "\n\n".join(tables)
    print(text)
    if options.write:
        replace_between(ROOT / "docs" / "numerics.md", "accuracy", text)


if __name__ == "__main__":
    main()
