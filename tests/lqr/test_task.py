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
