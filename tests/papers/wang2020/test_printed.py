"""The gradients of wang2020 as printed and of first order, beside the exact one: erratum W1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.mdp import ExactValues, ProximalLoss, SampledProximalLoss, meta_gradient
from jaxlqr.mdp.gradient import anatomy
from jaxlqr.papers.wang2020.printed import OtherGradientLoss, printed_meta_gradient
from tests.mdp.settings import ETA, random_tasks
from tests.mdp.test_gradient import assert_equal
from tests.mdp.test_sampling import HORIZON, assert_unbiased, sampled_gradients, short_tasks


def objective(theta, tasks, gradient="exact"):
    """The meta-objective (3.4), by the generic core."""
    loss = ProximalLoss(ETA) if gradient == "exact" else OtherGradientLoss(ETA, gradient=gradient)
    return -jaxlqr.maml_loss(loss, theta, tasks, inner_step_size=0.0, num_inner_steps=0)


# One compiled function for all seeds.
automatic = jax.jit(jax.grad(objective), static_argnums=2)
closed, printed_closed = jax.jit(meta_gradient), jax.jit(printed_meta_gradient)


def test_the_printed_gradient_is_another_direction():
    """Erratum W1: the printed formula lacks 1/(1-gamma) twice; with unequal discounts it is not even parallel."""
    errors, cosines = [], []
    for seed in range(40):
        theta, tasks = random_tasks(seed)
        exact, printed = (np.asarray(formula(theta, tasks, ETA)) for formula in (closed, printed_closed))
        errors.append(np.linalg.norm(printed - exact) / np.linalg.norm(exact))
        cosines.append(exact @ printed / np.linalg.norm(exact) / np.linalg.norm(printed))
    assert np.median(errors) > 0.3
    assert min(cosines) < 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_the_printed_loss_has_the_printed_gradient(seed):
    theta, tasks = random_tasks(seed)
    assert_equal(automatic(theta, tasks, "printed"), printed_closed(theta, tasks, ETA))
    assert float(objective(theta, tasks, "printed")) == pytest.approx(float(objective(theta, tasks)), rel=1e-14)


def test_first_order_is_the_gradient_with_the_values_held_fixed():
    theta, tasks = random_tasks(3)
    first = automatic(theta, tasks, "first_order")
    exact = automatic(theta, tasks)
    assert np.linalg.norm(first - exact) > 0.05 * np.linalg.norm(exact)

    # Without its second term the closed form is first-order: as if eta vanished there, but not in the adapted policy.
    def density(task):
        parts = anatomy(task.logits(theta), task.mdp, ETA)
        return parts.sigma * parts.after / (1 - task.mdp.gamma) / task.temperature

    D_mean = jax.vmap(density)(tasks).mean(0)
    assert_equal(first, jnp.tensordot(D_mean, tasks.features[0], 2))


def test_the_printed_gradient_is_not_what_is_estimated():
    """What tests/mdp/test_sampling.py finds unbiased is not the printed formula, which lacks factors (W1)."""
    theta, tasks = short_tasks(0)
    loss = SampledProximalLoss(step_size=ETA, num_visits=2000, horizon=HORIZON, values=ExactValues())
    with pytest.raises(AssertionError):
        assert_unbiased(sampled_gradients(loss, theta, tasks, 80), printed_meta_gradient(theta, tasks, ETA))


def test_an_unknown_gradient_is_refused():
    with pytest.raises(ValueError, match='gradient must be "printed" or "first_order", got \'free\''):
        OtherGradientLoss(1.0, gradient="free")
