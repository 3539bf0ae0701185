"""make_task and stack_tasks: what they accept, and one clear sentence for each thing they do not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import LQRTask, make_task, stack_tasks
from jaxlqr.lqr.stabilize import average_task, average_task_gain, check_stabilizes_all

A, B = np.array([[1.1, 0.3], [0.0, 0.5]]), np.array([[0.0], [1.0]])
EYE = np.eye(2)
NAN = np.full((2, 2), np.nan)

REFUSED = {
    "A not square": ({"A": np.ones((2, 3)), "B": B}, r"A must be a square matrix .*\(2, 3\)"),
    "A a vector": ({"A": np.ones(2), "B": B}, r"A must be a square matrix .*\(2,\)"),
    "A a batch": ({"A": np.ones((5, 2, 2)), "B": B}, r"A must be a square matrix .*stack_tasks"),
    "B wrong rows": ({"A": A, "B": np.ones((3, 1))}, r"B must have shape \[2, m\].*\(3, 1\)"),
    "B a vector": ({"A": A, "B": np.ones(2)}, r"B must have shape \[2, m\].*\(2,\)"),
    "B no columns": ({"A": A, "B": np.ones((2, 0))}, r"B must have shape .*m >= 1"),
    "Q wrong shape": ({"A": A, "B": B, "Q": np.eye(3)}, r"Q must have shape \(2, 2\), got \(3, 3\)"),
    "R wrong shape": ({"A": A, "B": B, "R": np.eye(2)}, r"R must have shape \(1, 1\), got \(2, 2\)"),
    "Sigma0 wrong shape": ({"A": A, "B": B, "Sigma0": np.eye(1)}, r"Sigma0 must have shape \(2, 2\)"),
    "Q asymmetric": ({"A": A, "B": B, "Q": [[1, 0.1], [0, 1]]}, r"Q must be symmetric, .*0\.1.*pass \(Q \+ Q\.T\) / 2"),
    "R asymmetric": ({"A": A, "B": EYE, "R": [[1, 0.1], [0, 1]]}, r"R must be symmetric"),
    "Sigma0 asymmetric": ({"A": A, "B": B, "Sigma0": [[1, 0.1], [0, 1]]}, r"Sigma0 must be symmetric"),
    "Q indefinite": ({"A": A, "B": B, "Q": np.diag([1.0, -0.5])}, r"Q must be positive semidefinite, .*-0\.5"),
    "Sigma0 indefinite": ({"A": A, "B": B, "Sigma0": -EYE}, r"Sigma0 must be positive semidefinite"),
    "R singular": ({"A": A, "B": EYE, "R": np.diag([1.0, 0.0])}, r"R must be positive definite, got a smallest"),
    "R negative": ({"A": A, "B": B, "R": [[-1.0]]}, r"R must be positive definite"),
    "R zero": ({"A": A, "B": B, "R": [[0.0]]}, r"R must be positive definite"),
    "A NaN": ({"A": NAN, "B": B}, r"A must be finite, got nan at index \(0, 0\)"),
    "B infinite": ({"A": A, "B": [[0.0], [np.inf]]}, r"B must be finite, got inf at index \(1, 0\)"),
    "Q NaN": ({"A": A, "B": B, "Q": NAN}, r"Q must be finite"),
    "R NaN": ({"A": A, "B": B, "R": [[np.nan]]}, r"R must be finite"),
    "Sigma0 NaN": ({"A": A, "B": B, "Sigma0": NAN}, r"Sigma0 must be finite"),
    "A text": ({"A": "matrix", "B": B}, r"A must be a real matrix"),
    "A ragged": ({"A": [[1.0], [1.0, 2.0]], "B": B}, r"A must be a real matrix"),
    "A complex": ({"A": 1j * EYE, "B": B}, r"A must be a real matrix, .*complex"),
    "unstabilizable": ({"A": A, "B": [[1.0], [0.0]], "Q": EYE} | {"A": np.diag([0.5, 1.2])}, r"stabilizable.*1\.2"),
    "Q mistyped beside a large entry": (
        {"A": A, "B": B, "Q": [[1e12, 0.5], [0.6, 1.0]]},
        r"Q must be symmetric, got 0\.5 at index \(0, 1\) and 0\.6 at \(1, 0\)",
    ),
    "Q indefinite in small units": (
        {"A": A, "B": B, "Q": [[1e-18, 0], [0, 1.0]] @ np.array([[-1.0, 0], [0, 1]])},
        r"Q must be positive semidefinite, .*-1e-18",
    ),
    "Q indefinite, scaled": (
        {"A": A, "B": B, "Q": [[1e12, 2.0], [2.0, 1e-12]]},
        r"Q must be positive semidefinite, .*-1 \(scaled to a unit diagonal\)",
    ),
    "Q with a coupling and no weight": ({"A": A, "B": B, "Q": [[0.0, 1.0], [1.0, 1.0]]}, r"Q must be positive semidef"),
    "R singular in large units": ({"A": A, "B": EYE, "R": [[1e12, 1e6], [1e6, 1.0]]}, r"R must be positive definite"),
    "on the unit circle": ({"A": np.diag([1.0, 0.5]), "B": B}, r"stabilizable.*unit circle"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_one_sentence(case):
    arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        make_task(**arguments)
    assert "\n" not in str(caught.value)


def test_what_is_allowed():
    assert make_task(A, np.ones((2, 5))).R.shape == (5, 5)  # more inputs than states
    assert make_task(A, B, Q=np.zeros((2, 2))).Q.shape == (2, 2)  # semidefinite
    assert make_task(A, B, Sigma0=np.diag([1.0, 0.0])).Sigma0.shape == (2, 2)
    assert make_task(np.diag([0.9, 1.2]), B).A.shape == (2, 2)  # a stable mode that no input reaches
    assert make_task([[1]], [[1]]).A.dtype == jnp.float64  # integers


UNITS = np.array([1e9, 1e-9, 1.0, 1e4]), np.array([1e-7, 1e8])
ROTATION = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]
# The third and fourth state are beyond the inputs in the first four plants; the last entry says whether A needs them.
BEYOND = np.array([[0.5, 0.1, 0.3, 1.0], [-0.2, 1.3, 0.2, 0.1], [0, 0, 1.1, 0.4], [0, 0, 0, 0.2]])
INPUTS = np.array([[1.0, 0.0], [0.5, 2.0], [0, 0], [0, 0]])
STABILIZABLE = {
    "unreached": (BEYOND, INPUTS, False),
    "unreached, rotated": (ROTATION @ BEYOND @ ROTATION.T, ROTATION @ INPUTS, False),
    "one input for two equal modes": (1.2 * np.eye(4), np.ones((4, 2)), False),
    "integrator": (BEYOND / 1.1 * (1 - np.diag([0, 0, 1, 0])) + np.diag([0, 0, 1, 0]), INPUTS, False),
    "unreached but stable": (BEYOND - np.diag([0, 0, 0.2, 0]), INPUTS, True),
    "one input for modes 1e-6 apart": (np.diag(1.2 + 1e-6 * np.arange(4)), np.ones((4, 2)), True),
    "chain of weak couplings": (np.eye(4) + np.diag([1e-7, 1e-5, 1e-9], 1), np.eye(4)[:, 2:], True),
    "weak input": (np.diag([1.5, 1.4, 1.3, 1.2]), 1e-12 * np.ones((4, 2)) + np.eye(4)[:, :2], True),
}


@pytest.mark.parametrize("case", STABILIZABLE)
@pytest.mark.parametrize("units", [False, True])
def test_stabilizability_does_not_depend_on_units(case, units):
    a, b, allowed = STABILIZABLE[case]
    if units:
        a, b = a * UNITS[0][:, None] / UNITS[0], b * UNITS[0][:, None] * UNITS[1]
    if allowed:
        assert make_task(a, b).A.shape == (4, 4)
    else:
        with pytest.raises(ValueError, match="must be stabilizable"):
            make_task(a, b)


def test_plants_that_the_riccati_solver_solves_are_accepted():
    # A mass of 1e4 kg, sampled at 10 us; and inputs whose costs differ by 1e13. Gains from 120 digits.
    heavy = make_task([[1, 1e-5], [0, 1]], [[5e-15], [1e-9]])
    np.testing.assert_allclose(jaxlqr.optimal_gain(heavy), [[0.9999999292875567, 141.42488672652246]], rtol=1e-6)
    two = make_task([[1, 0.1], [0, 1]], [[0, 0.005], [0.1, 0.1]], R=np.diag([1e-6, 1e7]))
    expected = [[9.511545648813044, 10.950249869872614], [5.257244750594699e-09, 5.267719423182132e-10]]
    np.testing.assert_allclose(jaxlqr.optimal_gain(two), expected, rtol=1e-6)
    scales = np.array([1e-6, 1e6, 1.0, 1e-3])
    factor = np.random.default_rng(0).standard_normal((4, 2)) * scales[:, None]
    for dtype in (np.float64, np.float32):
        cost = (factor.astype(dtype) @ factor.T.astype(dtype)).astype(dtype)  # semidefinite to rounding
        assert make_task(0.5 * np.eye(4), np.eye(4), Q=cost).Q.shape == (4, 4)


@pytest.mark.parametrize("radius", [1 - 9e-16, 1 - 2.0**-53, 1.0])
def test_stabilizable_is_what_a_gain_can_make_stable(radius):
    a, b, gain = np.diag([1.2, radius]), np.array([[1.0], [0.0]]), jnp.array([[0.7, 0.0]])
    task = LQRTask(*(jnp.asarray(matrix) for matrix in (a, b, EYE, np.eye(1), EYE)))
    assert bool(jaxlqr.is_stabilizing(gain, task)) == (radius < 1)
    if radius < 1:
        make_task(a, b)
    else:
        with pytest.raises(ValueError, match="must be stabilizable"):
            make_task(a, b)


@pytest.mark.parametrize("name", ["A", "B", "Q", "R", "Sigma0"])
def test_masked_arrays_are_refused(name):
    arguments = {"A": 0.5 * EYE, "B": EYE, "Q": EYE, "R": EYE, "Sigma0": EYE}
    masked = np.ma.array(arguments[name], mask=[[False, True], [False, False]])
    for value in (masked, list(masked)):
        with pytest.raises(TypeError, match=f"{name} must be an array without a mask"):
            make_task(**arguments | {name: value})


def test_defaults_are_identities():
    task = make_task(A, B)
    for matrix, size in ((task.Q, 2), (task.R, 1), (task.Sigma0, 2)):
        np.testing.assert_array_equal(matrix, np.eye(size))


def test_inside_jit_it_says_what_to_do():
    with pytest.raises(TypeError, match=r"A and cannot run inside jit.*construct LQRTask"):
        jax.jit(lambda a: make_task(a, B))(A)


def test_a_task_is_a_frozen_pytree():
    task = make_task(A, B)
    assert len(jax.tree.leaves(task)) == 5
    doubled = jax.tree.map(lambda leaf: 2 * leaf, task)
    assert isinstance(doubled, LQRTask)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.A = doubled.A


def test_stacks():
    task = make_task(A, B)
    assert stack_tasks([task, task, task]).B.shape == (3, 2, 1)
    assert stack_tasks(task for _ in range(2)).A.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="tasks must hold at least one task"):
        stack_tasks([])
    with pytest.raises(ValueError, match=r"tasks must all have the same numbers.*\(1, 1\), \(2, 1\)"):
        stack_tasks([task, make_task([[0.5]], [[1.0]])])


def test_average_task_and_its_gain():
    tasks = stack_tasks([make_task(A, B), make_task(3 * A, B)])
    np.testing.assert_allclose(average_task(tasks).A, 2 * A, rtol=1e-15)  # rounding
    np.testing.assert_allclose(average_task_gain(tasks), jaxlqr.optimal_gain(make_task(2 * A, B)), rtol=1e-12)


def test_a_gain_that_does_not_stabilise_is_reported_with_tasks_and_radii():
    tasks = stack_tasks([make_task([[a]], [[1.0]]) for a in (0.5, 1.5, 0.9, 2.0)])
    check_stabilizes_all(jnp.array([[1.2]]), tasks)
    with pytest.raises(ValueError, match=r"K0 .*2 of 4 .*task 1: 1\.5000, task 3: 2\.0000"):
        check_stabilizes_all(jnp.array([[0.0]]), tasks)
    with pytest.raises(ValueError, match=r"task 1: 1\.5000 and 1 more"):
        check_stabilizes_all(jnp.array([[0.0]]), tasks, limit=1)
    with pytest.raises(ValueError, match=r"gain must have shape \(1, 1\).*got \(2, 1\)"):
        check_stabilizes_all(jnp.zeros((2, 1)), tasks, name="gain")
    with pytest.raises(ValueError, match="K0 must be finite"):
        check_stabilizes_all(jnp.array([[jnp.nan]]), tasks)
