"""Repeated star products: the limit against its fixed-point equation, and when there is none."""

import jax
import numpy as np
import pytest

from jaxlqr.matrix_equations.star import star_limit

LIMIT = jax.jit(star_limit)  # one compilation for all cases


def blocks(seed, slowest_state, slowest_jump):
    """Diagonal e and f with these largest entries, weakly coupled by g and h."""
    rng = np.random.default_rng(seed)
    e = np.diag([slowest_state, 0.5, -0.2])
    f = np.diag([slowest_jump, 0.3])
    return e, 0.1 * rng.normal(size=(3, 2)), f, 0.1 * rng.normal(size=(2, 3))


@pytest.mark.parametrize("seed", range(3))
def test_the_limit_is_a_fixed_point(seed):
    e, g, f, h = blocks(seed, 0.9, 0.8)
    x = LIMIT(e, g, f, h)
    assert x.converged
    fixed = h + f @ x.value @ np.linalg.solve(np.eye(3) - g @ x.value, e)
    np.testing.assert_allclose(x.value, fixed, rtol=0, atol=1e-14)  # entries below one, a few roundings


@pytest.mark.parametrize(("state", "jump"), [(1.2, 0.1), (0.1, 1.2), (1.0, 0.5)])
def test_a_root_on_the_wrong_side_is_seen(state, jump):
    """Also where the product of e and f vanishes: the number of stable roots is wrong, and h is another solution."""
    e, g, f, h = blocks(0, state, jump)
    assert not LIMIT(e, 0 * g, f, h).converged
