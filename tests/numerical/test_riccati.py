"""Riccati equations on hostile coefficients: a documented status, or a stabilising solution that 80 digits confirm."""

import jax
import numpy as np
from hypothesis import strategies as st

import jaxlqr
from jaxlqr import SolveStatus
from tests.numerical.checks import about, call_beside_sick_lanes, fuzz
from tests.numerical.exact import exact, largest, solve
from tests.numerical.strategies import EPS, TINY, definite, lanes, matrices

N, M = 3, 2
# Units: of the cost, and of the inputs. They change the solution by a factor, and the gain by another.
UNITS = (0,) * 6 + (-140, 140, -60, 60, -3, 3)
INPUTS = (0,) * 6 + (-30, 30, -3, 3)


def residual_discrete(x, a, b, q, r):
    """Residual of the equation in 80 digits, and the largest entry of its terms."""
    gain = solve(r + b.T @ x @ b, b.T @ x @ a)
    terms = (a.T @ x @ a, -x, -(a.T @ x @ b) @ gain, q)
    return sum(terms), max(largest(term) for term in terms), a - b @ gain


def residual_continuous(x, a, b, q, r):
    gain = solve(r, b.T @ x)
    terms = (a.T @ x, x @ a, -(x @ b) @ gain, q)
    return sum(terms), max(largest(term) for term in terms), a - b @ gain


def well(result):
    return np.isin(result.status, (SolveStatus.SOLVED, SolveStatus.ILL_CONDITIONED))


def built(batch):
    """a [n, n], b [n, m], q [n, n], r [m, m] of each lane, and the exponents of its units."""
    made = []
    for a, b, q, r, cost_unit, input_unit in batch:
        columns = b.build(N)[:, :M] * float(f"1e{input_unit}")
        made.append((a.build(N), columns, q.build(N, cost_unit), r.build(M, cost_unit + 2 * input_unit)))
    return [np.stack(arrays) for arrays in zip(*made, strict=True)]


def is_clean(a, b, q, r):
    """Whether nothing but the units is extreme: in base units all is of size one and well conditioned."""
    return (
        b.kind == "dense" and a.kind != "graded"
        and all(each.scale == 0 and each.spoilt == "no" for each in (a, b))
        and b.radius in (0.5, 0.9, 2.0)
        and all(each.scale == 0 and each.condition <= 3 and not each.deficient for each in (q, r))
        and np.linalg.norm(a.build(N)) < 100
    )  # fmt: skip


def check(result, residual, stable, arrays, clean):
    status = SolveStatus(int(result.status))
    finite = all(np.all(np.isfinite(array)) for array in arrays)
    assert (status == SolveStatus.NOT_FINITE) == (not finite), status
    assert not clean or status == SolveStatus.SOLVED, f"a plain equation is {status.name}"
    if status in (SolveStatus.NOT_FINITE, SolveStatus.NO_STABILIZING_SOLUTION):
        assert np.all(np.isnan(result.value))
        return
    assert np.all(np.isfinite(result.value)), status.name
    np.testing.assert_array_equal(result.value, result.value.T)
    if status != SolveStatus.SOLVED:  # of what is ill-conditioned, the residual is small in floating point only
        return
    error, size, closed = residual(exact(result.value), *map(exact, arrays))
    # The threshold above which the status is INACCURATE, from another norm.
    assert largest(error) <= 10 * np.sqrt(EPS) * size + TINY * 1e3, f"{status.name}, {float(largest(error) / size):.1e}"
    closed = closed.astype(float)
    # Eigenvalues are good to the n-th root of what rounding moves the matrix by (Elsner).
    slack = np.linalg.norm(closed) ** (1 - 1 / N) * (1e3 * np.sqrt(EPS) * np.linalg.norm(closed)) ** (1 / N)
    assert stable(np.linalg.eigvals(closed), slack)


discrete = jax.jit(jax.vmap(jaxlqr.discrete_are_result))
continuous = jax.jit(jax.vmap(jaxlqr.continuous_are_result))
_UNITS = (st.sampled_from(UNITS), st.sampled_from(INPUTS))
CHOICES = lanes(matrices(), matrices(), definite(), definite(deficient=(False, False, True)), *_UNITS)


@fuzz(0, 120, CHOICES)
def test_discrete_riccati(batch):
    arrays = built(batch)
    result = call_beside_sick_lanes(discrete, well, *arrays)
    for i, lane in enumerate(batch):
        with about(batch[i]):
            each = jax.tree.map(lambda leaf, i=i: leaf[i], result)
            check(each, residual_discrete, lambda e, s: np.max(np.abs(e)) < 1 + s, [x[i] for x in arrays],
                  is_clean(*lane[:4]))  # fmt: skip


@fuzz(0, 120, CHOICES)
def test_continuous_riccati(batch):
    arrays = built(batch)
    result = call_beside_sick_lanes(continuous, well, *arrays)
    for i, lane in enumerate(batch):
        with about(batch[i]):
            each = jax.tree.map(lambda leaf, i=i: leaf[i], result)
            check(
                each, residual_continuous, lambda e, s: np.max(e.real) < s, [x[i] for x in arrays], is_clean(*lane[:4])
            )
