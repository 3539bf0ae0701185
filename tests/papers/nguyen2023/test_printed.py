"""Algorithm 2 as printed never accepts a step: errata N1 and N2."""

from functools import partial

import numpy as np
import pytest

from jaxlqr import SolveStatus
from jaxlqr.meta.trajectory_weighting import tow
from jaxlqr.papers.nguyen2023.printed import printed
from tests.meta.test_trajectory_weighting import SGD, M, loss, setting


@pytest.mark.parametrize("beta", [10.0, 1.5])
def test_as_printed_no_step_is_ever_accepted_and_corrected_it_is(beta):
    _, state, batches = setting(SGD)
    run = partial(tow, loss, state.params, batches, optimizer=SGD, beta=beta, terminal=True, num_steps=2)
    refused = run(method=printed)
    assert int(refused.status) == SolveStatus.NOT_IMPROVED
    np.testing.assert_array_equal(refused.step_lengths, 0)
    np.testing.assert_allclose(refused.weights, 1 / M, rtol=1e-14)
    assert int(run(method="ilqr").status) == SolveStatus.SOLVED
