"""The derivative of Adam's step in the task weights: corrected it is autodiff's, printed it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlqr.papers.nguyen2023.theory import adam_action_jacobian

RNG = np.random.default_rng(0)
RATE, COUNT = 0.1, 3
WEIGHTS = jnp.full(4, 0.25)
ROWS = jnp.asarray(0.1 * RNG.normal(size=(6, 4)))
MEMORY = jnp.asarray(0.03 * RNG.normal(size=6)), jnp.asarray(1e-3 * RNG.uniform(0.1, 1.0, size=6))


def of_optax(optimizer, memory, count):
    adam, rest = optimizer.init(jnp.zeros(6))
    before = (adam._replace(count=jnp.asarray(count - 1, jnp.int32), mu=memory[0], nu=memory[1]), rest)
    return jax.jacfwd(lambda u: optimizer.update(ROWS @ u, before)[0])(WEIGHTS)


def jacobians(epsilon, memory=MEMORY, count=COUNT):
    """By autodiff through optax's own Adam, corrected, and printed."""
    exact = of_optax(optax.adam(RATE, eps=0.0, eps_root=epsilon), memory, count)
    given = (ROWS, WEIGHTS, *memory, count)
    forms = (
        adam_action_jacobian(*given, learning_rate=RATE, epsilon=epsilon, form=f) for f in ("corrected", "printed")
    )
    return exact, *forms


ZERO = (jnp.zeros(6), jnp.zeros(6))


@pytest.mark.parametrize(("memory", "count"), [(MEMORY, COUNT), (ZERO, 1)], ids=["later", "first"])
def test_corrected_is_the_derivative_of_the_step(memory, count):
    exact, corrected, _ = jacobians(1e-3, memory, count)
    np.testing.assert_allclose(corrected, exact, rtol=0, atol=1e-14 * float(jnp.abs(exact).max()))


def test_printed_is_not_unless_epsilon_is_negligible():
    exact, _, printed = jacobians(1e-3, ZERO, 1)
    assert 0.1 < float(jnp.linalg.norm(printed - exact) / jnp.linalg.norm(exact)) < 1
    exact, _, printed = jacobians(1e-16)
    np.testing.assert_allclose(printed, exact, rtol=1e-9)


def test_the_printed_derivative_is_exact_if_epsilon_is_outside_the_root():
    """Erratum N4: brackets lost in print, or in the extraction of the text, would explain (97) and (102) together."""
    exact = of_optax(optax.adam(RATE, eps=1e-3, eps_root=0.0), MEMORY, COUNT)
    outside = adam_action_jacobian(ROWS, WEIGHTS, *MEMORY, COUNT, learning_rate=RATE, epsilon=1e-3, form="outside")
    np.testing.assert_allclose(outside, exact, rtol=0, atol=1e-14 * float(jnp.abs(exact).max()))  # rounding


def test_at_zero_gradients_the_printed_one_is_nan():
    def none(form):
        zero = jnp.zeros(6)
        return adam_action_jacobian(0 * ROWS, WEIGHTS, zero, zero, 1, learning_rate=RATE, epsilon=1e-3, form=form)

    assert np.isnan(none("printed")).all()
    np.testing.assert_array_equal(none("corrected"), np.zeros((6, 4)))


def test_unknown_form_is_named():
    with pytest.raises(ValueError, match="form must be"):
        adam_action_jacobian(ROWS, WEIGHTS, *MEMORY, 1, learning_rate=RATE, epsilon=1e-3, form="other")
