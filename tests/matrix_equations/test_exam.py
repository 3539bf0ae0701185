"""SciPy's own solver tests and python-control's, taken by this package: every case that SciPy passes must pass."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import SolveStatus

exam = pytest.importorskip("scipy.linalg.tests.test_solvers", reason="this SciPy wheel ships no tests")


def as_inputs(*arrays):
    """Matrices of one floating dtype: SciPy's cases mix integers, numbers and matrix objects."""
    return [jnp.asarray(np.atleast_2d(np.asarray(x)).astype(complex if np.iscomplexobj(x) else float)) for x in arrays]


def adjoint(x):
    return x.conj().T


# SciPy's Lyapunov and Sylvester tests ask for assert_array_almost_equal, six decimals.
SIX_DECIMALS = 1.5e-6
# "auto" contains both the doubling and the Schur method; every case compiles anew, a second each.
METHODS = ["auto", *(pytest.param(method, marks=pytest.mark.slow) for method in ("schur", "kronecker"))]


@pytest.mark.parametrize("index", range(len(exam.TestSolveLyapunov.cases)))
@pytest.mark.parametrize("method", METHODS)
def test_discrete_lyapunov(index, method):
    a, q = as_inputs(*exam.TestSolveLyapunov.cases[index])
    x = jaxlqr.solve_discrete_lyapunov(a, q, method=method)
    np.testing.assert_allclose(a @ x @ adjoint(a) - x, -q, rtol=0, atol=SIX_DECIMALS)


@pytest.mark.parametrize("index", range(len(exam.TestSolveLyapunov.cases)))
@pytest.mark.parametrize("method", METHODS)
def test_continuous_lyapunov(index, method):
    a, q = as_inputs(*exam.TestSolveLyapunov.cases[index])
    x = jaxlqr.solve_continuous_lyapunov(a, q, method=method)
    np.testing.assert_allclose(a @ x + x @ adjoint(a), q, rtol=0, atol=SIX_DECIMALS)


@pytest.mark.parametrize("index", range(len(exam.TestSolveSylvester.cases)))
@pytest.mark.parametrize("method", ["auto", pytest.param("kronecker", marks=pytest.mark.slow)])
def test_sylvester(index, method):
    a, b, q = as_inputs(*exam.TestSolveSylvester.cases[index])
    q = q.reshape(len(a), len(b))  # np.atleast_2d keeps empty shapes; SciPy's trivial case is 2-D already
    x = jaxlqr.solve_sylvester(a, b, q, method=method)
    np.testing.assert_allclose(a @ x + x @ b, q, rtol=0, atol=SIX_DECIMALS)


def discrete_residual(x, a, b, q, r, e, s):
    cross = adjoint(a) @ x @ b + s
    return adjoint(a) @ x @ a - adjoint(e) @ x @ e + q - cross @ np.linalg.solve(r + adjoint(b) @ x @ b, adjoint(cross))


def continuous_residual(x, a, b, q, r, e, s):
    cross = adjoint(e) @ x @ b + s
    return adjoint(a) @ x @ e + adjoint(e) @ x @ a + q - cross @ np.linalg.solve(r, adjoint(cross))


def check_riccati(solve, residual, arrays, tolerance, e=None, s=None):
    a, b, q, r = as_inputs(*arrays)
    x = solve(a, b, q, r, e, s)
    e = np.eye(len(a)) if e is None else e
    s = np.zeros(b.shape) if s is None else s
    error = residual(*(np.asarray(v) for v in (x, a, b, q, r, e, s)))
    np.testing.assert_allclose(error, np.zeros_like(error), rtol=0, atol=tolerance)


# In the default run: every 2 x 2 case, among them the complex ones and singular R, and the closed loops at 0.999982 and
# 1 - 2e-8. Every other size compiles anew, for two seconds.
DISCRETE = [
    pytest.param(i, marks=pytest.mark.slow) if i in (3, 10, 9, 12, 13, 14, 16, 18) else i
    for i in range(len(exam.TestSolveDiscreteAre.cases))
]


@pytest.mark.parametrize("index", DISCRETE)
def test_discrete_riccati(index):
    *arrays, known_failure = exam.TestSolveDiscreteAre.cases[index]
    assert known_failure is None
    tolerance = exam.TestSolveDiscreteAre.max_tol[index]
    check_riccati(jaxlqr.solve_discrete_are, discrete_residual, arrays, tolerance)


# The small and middling cases compile for two seconds each, and n = 421 of case 19 takes most of a minute.
CONTINUOUS = [
    i if i in (1, 10, 13) else pytest.param(i, marks=pytest.mark.slow)
    for i in range(len(exam.TestSolveContinuousAre.cases))
]


# Where SciPy marks its own case as failing ("bad residual accuracy") the solution is asked to be good relative to the
# terms of the equation instead.
@pytest.mark.parametrize("index", CONTINUOUS)
def test_continuous_riccati(index):
    *arrays, known_failure = exam.TestSolveContinuousAre.cases[index]
    if known_failure is None:
        tolerance = 1.5 * 10.0 ** -exam.TestSolveContinuousAre.min_decimal[index]
        check_riccati(jaxlqr.solve_continuous_are, continuous_residual, arrays, tolerance)
        return
    result = jaxlqr.continuous_are_result(*as_inputs(*arrays))
    assert result.status in (SolveStatus.SOLVED, SolveStatus.ILL_CONDITIONED)
    # 1e3 roundings: what n = 421 leaves at a closed loop with eigenvalues from 1e-2 to 1e6.
    assert result.residual < 1e3 * np.finfo(float).eps


GENERAL = ([[2.769230e-01, 8.234578e-01, 9.502220e-01], [4.617139e-02, 6.948286e-01, 3.444608e-02],
            [9.713178e-02, 3.170995e-01, 4.387444e-01]],
           [[3.815585e-01, 1.868726e-01], [7.655168e-01, 4.897644e-01], [7.951999e-01, 4.455862e-01]],
           [[6.463130e-01, 2.760251e-01, 1.626117e-01], [7.093648e-01, 6.797027e-01, 1.189977e-01],
            [7.546867e-01, 6.550980e-01, 4.983641e-01]])  # fmt: skip
# The cases live inside SciPy's test functions, out of reach of an import; these are their numbers and tolerances.


@pytest.mark.parametrize("entry", [0.0, 1.0])
@pytest.mark.parametrize(
    ("solve", "residual", "tolerance"),
    [
        (jaxlqr.solve_continuous_are, continuous_residual, 1.5e-10),
        (jaxlqr.solve_discrete_are, discrete_residual, 1.5e-11),
    ],
)
def test_generalised_riccati(solve, residual, tolerance, entry):
    a, b, e = (np.array(x) for x in GENERAL)
    check_riccati(solve, residual, (a, b, np.eye(3), np.eye(2)), tolerance, e=e, s=np.full((3, 2), entry))


def test_generalised_riccati_reported_by_a_user():
    data = exam._load_data("gendare_20170120_data.npz")
    arrays = [data[name] for name in "ABQR"]
    check_riccati(jaxlqr.solve_discrete_are, discrete_residual, arrays, 3.5e-16, s=data["S"])


@pytest.mark.parametrize("solve", [jaxlqr.solve_continuous_are, jaxlqr.solve_discrete_are])
def test_cross_term_without_e(solve):
    a, b, q, r = as_inputs([[-0.9, 0.25], [0, -1.1]], [[0.23], [0.45]], np.eye(2), 0.45)
    s = jnp.array([[0.1], [0.2]])
    np.testing.assert_allclose(solve(a, b, q, r, s=s), solve(a, b, q, r, jnp.eye(2), s), rtol=1e-13)


def test_infeasible_riccati_gets_a_status_and_nan():
    a = np.triu(np.ones((3, 3)))
    a[0, 1] = -1
    q = np.full_like(a, -2) + np.diag([8, -1, -1.9])
    arrays = as_inputs(a, np.array([[1, 1, 0], [0, 0, 1]]).T, q, np.diag([-10, 0.1]))
    result = jaxlqr.continuous_are_result(*arrays)
    assert result.status == SolveStatus.NO_STABILIZING_SOLUTION
    assert bool(jnp.all(jnp.isnan(result.value)))
    with pytest.raises(ArithmeticError, match="stabilis"):
        result.check()
    # The discrete equation with the same data does have a stabilising solution, and SciPy finds it too.
    check_riccati(jaxlqr.solve_discrete_are, discrete_residual, arrays, 1e-11)


UNSTABILISABLE = [
    (2.0 * np.eye(1), np.zeros((1, 1)), np.eye(1), np.eye(1)),
    (np.diag([0.5, 2.0]), np.array([[1.0], [0.0]]), np.eye(2), np.eye(1)),
    # Stabilisable, but q does not see the mode on the boundary: the least solution does not stabilise.
    (np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([[0.0], [1.0]]), -np.eye(2), np.eye(1)),
]


@pytest.mark.parametrize("arrays", UNSTABILISABLE)
@pytest.mark.parametrize("solve", [jaxlqr.discrete_are_result, jaxlqr.continuous_are_result])
def test_without_a_stabilising_solution(solve, arrays):
    result = solve(*as_inputs(*arrays))
    assert result.status == SolveStatus.NO_STABILIZING_SOLUTION
    assert bool(jnp.all(jnp.isnan(result.value)))


ROTATION = [[0.0, 1.0], [-1.0, 0.0]]
MIXED = np.array([[1.0, 2.0], [3.0, 4.0]])  # an arbitrary basis


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "a",
    [[[1.0]], [[-1.0]], ROTATION, np.diag([0.5, 2.0]), MIXED @ np.diag([0.5, 2.0]) @ np.linalg.inv(MIXED)],
    ids=["one", "minus one", "rotation", "reciprocal", "reciprocal, mixed"],
)
def test_singular_discrete_lyapunov_is_flagged(a, method):
    a = jnp.asarray(a)
    result = jaxlqr.discrete_lyapunov_result(a, jnp.eye(len(a)), method=method)
    assert result.status == SolveStatus.SINGULAR
    assert bool(jnp.all(jnp.isnan(result.value)))
    assert bool(jnp.isinf(result.condition))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("a", [[[0.0]], ROTATION, np.diag([0.5, -0.5])])
def test_singular_continuous_lyapunov_is_flagged(a, method):
    a = jnp.asarray(a)
    result = jaxlqr.continuous_lyapunov_result(a, jnp.eye(len(a)), method=method)
    assert result.status == SolveStatus.SINGULAR
    assert bool(jnp.all(jnp.isnan(result.value)))


@pytest.mark.parametrize("method", ["auto", "kronecker"])
def test_singular_sylvester_is_flagged(method):
    a, b = jnp.diag(jnp.array([1.0, 2.0])), jnp.diag(jnp.array([-2.0, 5.0, 6.0]))
    result = jaxlqr.sylvester_result(a, b, jnp.ones((2, 3)), method=method)
    assert result.status == SolveStatus.SINGULAR
    assert bool(jnp.all(jnp.isnan(result.value)))


def test_nearly_singular_is_called_ill_conditioned():
    a = jnp.diag(jnp.array([0.5, 2.0 + 1e-13]))  # 1 - 0.5 (2 + 1e-13) = -5e-14, condition 1e14: below 1/eps
    result = jaxlqr.discrete_lyapunov_result(a, jnp.eye(2))
    assert result.status == SolveStatus.SOLVED
    assert 1e13 < result.condition < 1e16
    # Of radius 1 - 1e-16: condition 1e16. (The 1e6 is a matter of units alone, and its condition at 1 - 1e-9 is 1e9.)
    wide = jnp.array([[0.5, 1e6], [0.0, 1 - 2.0**-53]])
    result = jaxlqr.discrete_lyapunov_result(wide.at[1, 1].set(1 - 1e-9), jnp.eye(2))
    assert result.status == SolveStatus.SOLVED
    assert 1e8 < result.condition < 1e11
    result = jaxlqr.discrete_lyapunov_result(wide, jnp.eye(2))
    assert result.status == SolveStatus.ILL_CONDITIONED
    result.check()
    with pytest.raises(ArithmeticError, match="ILL_CONDITIONED"):
        result.check(allow_ill_conditioned=False)
