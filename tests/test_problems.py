"""The problem bank is what it says it is."""

import numpy as np
import pytest

from tests.problems import bank, by_name
from tests.references import long_gradient

RADII = {"n=1 near one": 1 - 1e-7, "radius 0.999": 0.999, "radius 0.9999999": 1 - 1e-7}


def closed_loop(problem):
    A, B, K = (np.asarray(x) for x in (problem.task.A, problem.task.B, problem.K))
    return A - B @ K


@pytest.mark.parametrize("problem", bank(), ids=by_name)
def test_each_gain_stabilises_and_is_far_from_optimal(problem):
    radius = np.max(np.abs(np.linalg.eigvals(closed_loop(problem))))
    assert radius < 1
    if problem.name in RADII:
        # The distance to the boundary itself holds to a relative 1e-6: it is computed to 1e-16 of 1e-7.
        np.testing.assert_allclose(1 - radius, 1 - RADII[problem.name], rtol=1e-6)
    assert np.max(np.abs(long_gradient(problem.K, problem.task))) > 0.1


def test_the_bank_has_the_shapes_asked_for():
    shapes = {problem.task.B.shape for problem in bank()}
    assert {(1, 1), (2, 5), (3, 3), (12, 1), (50, 7)} <= shapes


def test_the_non_normal_problem_grows_a_thousandfold_before_it_decays():
    a = closed_loop(next(p for p in bank() if p.name == "non-normal"))
    growth = [np.linalg.norm(np.linalg.matrix_power(a, k), 2) for k in range(100)]
    assert max(growth) > 1e3
    assert growth[-1] < 1e-3


def test_one_mode_is_nearly_uncontrollable():
    task = next(p for p in bank() if p.name == "nearly uncontrollable").task
    A, B = np.asarray(task.A), np.asarray(task.B)
    reach = [np.linalg.svd(np.hstack([A - v * np.eye(4), B]), compute_uv=False)[-1] for v in np.linalg.eigvals(A)]
    assert min(reach) < 1e-5
