"""The search for an acceptable fraction of a step: order, limits, resumption, batches, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.iterations.shortening import before_trials, first_accepted


def below(limit, **options):
    """The first fraction below a limit, and the number of attempts, each of which adds ten to the value."""

    def attempt(fraction, total):
        return total + 10, fraction < limit

    return first_accepted(attempt, before_trials(jnp.asarray(0), float), **options)


@pytest.mark.parametrize(
    ("limit", "options", "expected"),
    [
        # limit, options, (fraction, accepted, count)
        (2.0, {"max_backtracks": 5}, (1.0, True, 1)),
        (0.3, {"max_backtracks": 5}, (0.25, True, 3)),
        (0.3, {"max_backtracks": 3}, (0.25, True, 3)),
        (0.3, {"max_backtracks": 2}, (0.5, False, 2)),
        (0.3, {"max_backtracks": 2, "then_none": True}, (0.0, True, 3)),
        (-1.0, {"max_backtracks": 2, "then_none": True}, (0.0, False, 3)),
        (0.02, {"max_backtracks": 5, "factor": 0.1}, (0.01, True, 3)),
        (2.0, {"max_backtracks": 0}, (0.0, False, 0)),
        (2.0, {"max_backtracks": 5, "wanted": jnp.asarray(False)}, (0.0, False, 0)),
    ],
)
def test_the_first_acceptable_fraction_is_found(limit, options, expected):
    trial = below(limit, **options)
    fraction, accepted, count = expected
    assert float(trial.fraction) == pytest.approx(fraction, rel=1e-15)  # 0.1 squared is rounded
    assert (bool(trial.accepted), int(trial.attempts), int(trial.value)) == (accepted, count, 10 * count)


def test_a_search_goes_on_from_a_trial():
    first = below(0.9, max_backtracks=5)
    then = first_accepted(
        lambda fraction, _: (fraction, fraction < 0.2), first._replace(value=0.0, accepted=False), max_backtracks=5
    )
    assert (float(first.fraction), float(then.fraction), int(then.attempts)) == (0.5, 0.125, 4)


def test_lanes_keep_what_they_accepted_and_an_attempt_is_traced_once():
    traces = []

    def one(limit):
        def attempt(fraction, _):
            traces.append(None)
            return fraction * limit, fraction < limit

        return first_accepted(attempt, before_trials(jnp.zeros(()), float), max_backtracks=30)

    limits = jnp.array([2.0, 0.3, 0.01])
    traced = jax.jit(jax.vmap(one))
    together = traced(limits)
    assert len(traces) <= 2  # once for the types and once for the loop
    np.testing.assert_array_equal(together.fraction, [1.0, 0.25, 2.0**-7])
    np.testing.assert_array_equal(together.value, together.fraction * limits)
    np.testing.assert_array_equal(together.attempts, [1, 3, 8])
