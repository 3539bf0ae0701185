"""The cases of python-control's mateqn_test.py, solved here and by python-control side by side."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr

control = pytest.importorskip("control")

# Two answers of backward stable methods to well-conditioned equations of size 2.
RTOL = 1e-10


def compare(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize(("a", "q"), [([[-1.0, 1], [-1, 0]], np.eye(2)), ([[1.0, 2], [-3, -4]], [[3.0, 1], [1, 1]])])
def test_lyap(a, q):
    a, q = np.array(a), np.array(q)
    compare(jaxlqr.solve_continuous_lyapunov(a, -q), control.lyap(a, q))


@pytest.mark.parametrize("q", [np.eye(2), [[3.0, 1], [1, 1]]])
def test_dlyap(q):
    a, q = np.array([[-0.6, 0], [-0.1, -0.4]]), np.array(q)
    compare(jaxlqr.solve_discrete_lyapunov(a, q), control.dlyap(a, q))


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        ([[5.0]], [[4.0, 3], [4, 3]], [[2.0, 1]]),
        ([[2.0, 1], [1, 2]], [[1.0, 2], [0.5, 0.1]], [[1.0, 0], [0, 1]]),
    ],
)
def test_lyap_sylvester(a, b, c):
    a, b, c = np.array(a), np.array(b), np.array(c)
    compare(jaxlqr.solve_sylvester(a, b, -c), control.lyap(a, b, c))


def check_riccati(solve, reference, arrays, s=None, e=None):
    a, b, q, r = (np.array(x, dtype=float) for x in arrays)
    s, e = (None if x is None else np.array(x, dtype=float) for x in (s, e))
    compare(solve(a, b, q, r, e, s), reference(a, b, q, r, s, e)[0])


CARE = ([[-2, -1], [-1, -1]], [[1, 0], [0, 4]], [[0, 0], [0, 1]], np.eye(2))
DARE = ([[-0.6, 0], [-0.1, -0.4]], [[2, 1], [0, 1]], [[2, 1], [1, 0]], np.eye(2))
E = [[2, 1], [1, 2]]


@pytest.mark.parametrize(
    ("arrays", "s", "e"),
    [
        (CARE, None, None),
        ((CARE[0], CARE[1], CARE[2], [[2, 0], [0, 1]]), np.zeros((2, 2)), E),
        ((CARE[0], [[1], [0]], CARE[2], [[1]]), [[1], [0]], E),
    ],
)
def test_care(arrays, s, e):
    check_riccati(jaxlqr.solve_continuous_are, control.care, arrays, s, e)


@pytest.mark.parametrize(
    ("arrays", "s", "e"),
    [
        (DARE, None, None),
        (([[1, 0], [-1, 1]], [[1], [0]], [[0, 1], [1, 1]], [[2]]), None, None),
        ((DARE[0], [[1, 5], [2, 4]], [[2, 1], [1, 3]], np.eye(2)), [[1, 0], [2, 0]], E),
        ((DARE[0], [[1], [2]], [[2, 1], [1, 3]], [[1]]), [[1], [2]], E),
    ],
)
def test_dare(arrays, s, e):
    check_riccati(jaxlqr.solve_discrete_are, control.dare, arrays, s, e)


@pytest.mark.parametrize(
    ("solve", "reference"), [(jaxlqr.discrete_lqr, control.dlqr), (jaxlqr.continuous_lqr, control.lqr)]
)
def test_gain(solve, reference):
    a, b = np.array([[0.9, 1.0], [0.0, 1.1]]), np.array([[0.0], [1.0]])
    q, r, s = np.diag([1.0, 2.0]), np.array([[0.5]]), np.array([[0.1], [-0.2]])
    gain, solution = solve(*map(jnp.asarray, (a, b, q, r, s)))
    expected_gain, expected_solution, _ = reference(a, b, q, r, s)
    compare(gain, expected_gain)
    compare(solution, expected_solution)
