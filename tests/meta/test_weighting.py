"""Weights of tasks against SciPy's SLSQP, in the limits, and in their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import minimize

from jaxlqr.meta.weighting import exploitation, exploration, uniform

LOSSES = jnp.array([0.3, 2.0, 1.1, 0.31, 5.0])
RULES = {exploration: -1.0, exploitation: 1.0}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kappa", [1.2, 5.0])
def test_weights_are_those_of_slsqp(rule, kappa):
    losses, sign = np.asarray(LOSSES), RULES[rule]
    found = minimize(
        lambda w: sign * w @ losses - (kappa - 1) * np.sum(np.log(w)),
        np.full(5, 0.2),
        jac=lambda w: sign * losses - (kappa - 1) / w,
        method="SLSQP",
        bounds=[(1e-6, 1)] * 5,
        constraints={"type": "eq", "fun": lambda w: np.sum(w) - 1, "jac": lambda w: np.ones(5)},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    weights = rule(LOSSES, kappa=kappa)
    np.testing.assert_allclose(weights, found.x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(weights), 1, rtol=1e-14)
    # Stationarity to rounding, which SLSQP does not reach: the gradient is a multiple of the vector of ones.
    multipliers = sign * LOSSES - (kappa - 1) / weights
    np.testing.assert_allclose(multipliers, multipliers[0], rtol=1e-12)


def test_order_and_limits():
    assert jnp.all(jnp.argsort(exploration(LOSSES)) == jnp.argsort(LOSSES))
    assert jnp.all(jnp.argsort(exploitation(LOSSES)) == jnp.argsort(-LOSSES))
    np.testing.assert_allclose(exploration(LOSSES, kappa=1e6), uniform(LOSSES), rtol=1e-5)
    np.testing.assert_allclose(exploration(LOSSES, kappa=1 + 1e-6)[4], 1, rtol=1e-5)
    np.testing.assert_allclose(exploration(jnp.full(7, 3.0)), jnp.full(7, 1 / 7), rtol=1e-14)
    np.testing.assert_allclose(exploration(LOSSES + 1e6), exploration(LOSSES), rtol=1e-8)
    np.testing.assert_allclose(exploration(LOSSES[:1]), 1.0, rtol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_derivatives(rule):
    check_grads(lambda losses, kappa: rule(losses, kappa=kappa), (LOSSES, jnp.array(1.7)), order=2)
    jacobian = jax.jacobian(rule)(LOSSES)
    np.testing.assert_allclose(jnp.sum(jacobian, axis=0), 0, atol=1e-14)
    assert np.all(np.sign(jnp.diag(jacobian)) == -RULES[rule])


def test_batches_and_lanes_that_are_not_finite():
    batch = jnp.stack([LOSSES, LOSSES.at[2].set(jnp.nan)])
    weights = jax.jit(jax.vmap(exploration))(batch)
    np.testing.assert_allclose(weights[0], exploration(LOSSES), rtol=1e-14)
    assert np.isnan(weights[1]).all()


@pytest.mark.parametrize("kappa", [1.0, 0.2, jnp.nan, jnp.inf])
def test_kappa_of_one_or_less_is_refused(kappa):
    with pytest.raises(ValueError, match="kappa must be a number above 1"):
        exploration(LOSSES, kappa=kappa)


@pytest.mark.parametrize("losses", [jnp.zeros(0), jnp.zeros((2, 3)), jnp.arange(3)])
@pytest.mark.parametrize("rule", [uniform, *RULES])
def test_losses_must_be_a_vector(rule, losses):
    with pytest.raises(ValueError, match="losses must be a floating vector"):
        rule(losses)
