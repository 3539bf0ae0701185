"""Matrix equations on hostile coefficients: a documented status, or a value that 80 digits confirm."""

import jax
import numpy as np

import jaxlqr
from jaxlqr import SolveStatus
from tests.numerical.checks import about, call_beside_sick_lanes, fuzz
from tests.numerical.exact import exact, largest, lyapunov, separation, sylvester
from tests.numerical.strategies import EPS, TINY, lanes, matrices

N, M = 3, 2
HAS_VALUE = (SolveStatus.SOLVED, SolveStatus.ILL_CONDITIONED, SolveStatus.INACCURATE)


def well(result):
    return np.isin(result.status, (SolveStatus.SOLVED, SolveStatus.ILL_CONDITIONED))


def check(result, solution, operator, inputs, size):
    """Hold one lane against its documentation.

    Arguments: ``solution()`` in 80 digits or None, the linear ``operator`` [n n, n n] in floats, ``size`` of the sum of
    the terms of which the operator consists.
    """
    status = SolveStatus(int(result.status))
    finite = all(np.all(np.isfinite(array)) for array in inputs)
    assert (status == SolveStatus.NOT_FINITE) == (not finite), status
    gap = separation(operator) * np.max(np.abs(operator)) if finite else 0.0
    if status not in HAS_VALUE:
        # The solution itself may overflow.
        too_large = finite and gap < 1e6 * np.max(np.abs(inputs[-1])) / np.finfo(float).max
        assert np.all(np.isnan(result.value)), "a status without a value, with one"
        if finite and not too_large and np.max(np.abs(operator)) > TINY:  # else flushed to zero
            assert gap <= 1e3 * EPS * size, f"{status.name}, but the separation is {gap / size:.1e} of the operator"
        return
    assert np.all(np.isfinite(result.value)), f"{status.name}, but {result.value}"
    if status != SolveStatus.SOLVED:
        return
    truth = solution()
    if truth is None:  # exactly singular: rounding of the coefficients makes a solution, whose condition says so
        assert result.condition > 1e-3 / EPS
        return
    if gap == 0:
        return  # the inverse of the operator overflows: a coefficient that is flushed to zero may move the solution so
    condition = max(float(result.condition), 1.0)
    # What is smaller than the smallest normal number, on the way or in the end, counts as zero.
    error, scale = largest(exact(result.value) - truth), largest(truth)
    lost = exact(TINY)[()] * (1 + (1 + scale) / exact(gap)[()])
    assert error <= 1e3 * condition * (EPS * scale + lost), f"error {float(error / scale):.1e}, {condition:.1e}"


discrete = jax.jit(jax.vmap(jaxlqr.discrete_lyapunov_result))
continuous = jax.jit(jax.vmap(jaxlqr.continuous_lyapunov_result))
sylvester_equations = jax.jit(jax.vmap(jaxlqr.sylvester_result))


def norm(a):
    """Frobenius norm to within the square root of the size, whose squares neither overflow nor vanish."""
    return len(a) * np.max(np.abs(a))


def built(batch, *sizes):
    return [np.stack([lane[i].build(n) for lane in batch]) for i, n in enumerate(sizes)]


def lane_of(result, i):
    return jax.tree.map(lambda leaf: leaf[i], result)


@fuzz(2, 130, lanes(matrices(), matrices()))
def test_discrete_lyapunov(batch):
    a, q = built(batch, N, N)
    result = call_beside_sick_lanes(discrete, well, a, q)
    for i in range(len(batch)):
        with about(batch[i]):
            with np.errstate(all="ignore"):
                operator = np.eye(N * N) - np.kron(a[i], a[i])
                size = 1 + norm(a[i]) ** 2
            check(lane_of(result, i), lambda i=i: lyapunov(exact(a[i]), exact(q[i])), operator, (a[i], q[i]), size)


@fuzz(0, 100, lanes(matrices(), matrices()))
def test_continuous_lyapunov(batch):
    a, q = built(batch, N, N)
    result = call_beside_sick_lanes(continuous, well, a, q)
    for i in range(len(batch)):
        with about(batch[i]):
            with np.errstate(all="ignore"):
                operator = np.kron(a[i], np.eye(N)) + np.kron(np.eye(N), a[i])
                size = 2 * norm(a[i])
            truth = lambda i=i: sylvester(exact(a[i]), exact(a[i]).T, exact(q[i]))  # noqa: E731
            check(lane_of(result, i), truth, operator, (a[i], q[i]), size)


@fuzz(0, 100, lanes(matrices(), matrices(), matrices()))
def test_sylvester(batch):
    a, b, q = built(batch, N, M, N)
    q = q[:, :, :M]
    result = call_beside_sick_lanes(sylvester_equations, well, a, b, q)
    for i in range(len(batch)):
        with about(batch[i]):
            with np.errstate(all="ignore"):
                operator = np.kron(a[i], np.eye(M)) + np.kron(np.eye(N), b[i].T)
                size = norm(a[i]) + norm(b[i])
            truth = lambda i=i: sylvester(exact(a[i]), exact(b[i]), exact(q[i]))  # noqa: E731
            check(lane_of(result, i), truth, operator, (a[i], b[i], q[i]), size)
