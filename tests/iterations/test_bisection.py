"""Bisection: one bit a step, brackets that lanes do not share, and brackets without an upper end."""

import jax.numpy as jnp
import numpy as np

from jaxlqr.iterations.bisection import bisect


def test_each_step_halves_every_bracket():
    roots, low, high = jnp.array([0.3, 0.7]), jnp.zeros(2), jnp.ones(2)
    for num_steps in (1, 2, 10):
        below, above = bisect(lambda x: x < roots, low, high, num_steps=num_steps)
        np.testing.assert_array_equal(above - below, 2.0**-num_steps)
        assert bool(jnp.all((below < roots) & (roots <= above)))


def test_a_bracket_without_an_upper_end_grows_first():
    low, high = bisect(lambda x: x <= 5.0, jnp.asarray(0.0), jnp.asarray(jnp.inf), num_steps=60, reach=1e-3)
    # Sixty evaluations less those of the growth leave the last bit.
    np.testing.assert_allclose((low, high), 5.0, rtol=1e-12)
    assert float(low) <= 5.0 < float(high)


def test_ends_that_are_no_bracket_stay():
    low, high = bisect(lambda x: x < 2.0, jnp.asarray(0.0), jnp.asarray(1.0), num_steps=50)
    assert float(high) == 1.0
    assert float(low) > 1 - 1e-14
    low, high = bisect(lambda x: x < -1.0, jnp.asarray(0.0), jnp.asarray(1.0), num_steps=50)
    assert float(low) == 0.0
    assert float(high) < 1e-14
