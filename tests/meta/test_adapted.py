"""The loss with adaptation inside, against the steps by hand, for parameters of several layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr.meta.adapted import AdaptedLoss
from jaxlqr.meta.maml import maml_loss

PARAMS = {"first": jnp.array([[0.3, -0.2], [0.5, 0.1]]), "second": (jnp.array([0.7, -0.4]), jnp.array(0.2))}
STEP = 0.5
TASK = {"support": (jnp.array([1.0, -0.5]), jnp.array(0.3)), "query": (jnp.array([0.2, 0.9]), jnp.array(-0.6))}


def output(params, x):
    return params["second"][0] @ jnp.tanh(params["first"] @ x) + params["second"][1]


def support_loss(params, task):
    x, y = task["support"]
    return (output(params, x) - y) ** 2


def query_loss(params, task):
    x, y = task["query"]
    return jnp.cosh(output(params, x) - y)


def by_hand(params, steps, *, only=None):
    """The steps in NumPy, the gradient of the network written out; ``only`` one of the layers moves if given."""
    first, second, shift = np.array(params["first"]), np.array(params["second"][0]), float(params["second"][1])
    x, y = (np.asarray(part) for part in TASK["support"])
    for _ in range(steps):
        hidden = np.tanh(first @ x)
        slope = 2 * (second @ hidden + shift - y)
        change = slope * np.outer(second * (1 - hidden**2), x), slope * hidden, slope
        moves = [only in (None, name) for name in ("first", "second", "second")]
        first, second, shift = (
            a - STEP * b * moved for a, b, moved in zip((first, second, shift), change, moves, strict=True)
        )
    return {"first": first, "second": (second, shift)}


@pytest.mark.parametrize("steps", [1, 3])
def test_every_layer_is_adapted_by_gradient_steps_on_the_support(steps):
    loss = AdaptedLoss(query_loss, support_loss, STEP, steps)
    wanted = by_hand(PARAMS, steps)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), loss.adapted(PARAMS, TASK), wanted)
    np.testing.assert_allclose(loss(PARAMS, TASK), query_loss(wanted, TASK), rtol=1e-13)
    # A layer that stays where it is gives another loss, so each one's adaptation is seen above.
    for name in ("first", "second"):
        assert abs(float(query_loss(by_hand(PARAMS, steps, only=name), TASK) - loss(PARAMS, TASK))) > 1e-5


def test_derivatives_go_through_the_adaptation():
    loss = AdaptedLoss(query_loss, support_loss, 0.1, 2)
    check_grads(lambda params: loss(params, TASK), (PARAMS,), order=2)
    first_order = jax.grad(query_loss)(loss.adapted(PARAMS, TASK), TASK)
    exact = jax.grad(loss)(PARAMS, TASK)
    for one, other in zip(jax.tree.leaves(first_order), jax.tree.leaves(exact), strict=True):
        assert float(jnp.abs(one - other).max()) > 1e-3


def test_with_one_loss_for_both_it_is_that_of_maml():
    loss = AdaptedLoss(support_loss, support_loss, 0.1, 2)
    tasks = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), TASK)
    each = jax.vmap(lambda task: loss(PARAMS, task))(tasks)
    np.testing.assert_allclose(
        maml_loss(support_loss, PARAMS, tasks, inner_step_size=0.1, num_inner_steps=2), jnp.mean(each), rtol=1e-14
    )
    np.testing.assert_allclose(
        maml_loss(loss, PARAMS, tasks, inner_step_size=0.1, num_inner_steps=0), jnp.mean(each), rtol=1e-14
    )


def test_equal_parts_make_equal_losses():
    assert AdaptedLoss(query_loss, support_loss, 0.1, 2) == AdaptedLoss(query_loss, support_loss, 0.1, 2)
    assert len({AdaptedLoss(query_loss, support_loss, size) for size in (0.1, 0.1, 0.2)}) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"num_inner_steps": 0},
            "argument num_inner_steps must be an integer of at least 1, got 0; without",
        ),
        ({"num_inner_steps": 1.0}, "num_inner_steps must be an integer"),
        ({"num_inner_steps": True}, "num_inner_steps must be an integer"),
        ({"inner_step_size": 0.0}, r"argument inner_step_size must be positive, got 0\.0"),
        ({"inner_step_size": float("nan")}, "argument inner_step_size must be positive, got nan"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        AdaptedLoss(**{"loss": query_loss, "support_loss": support_loss, "inner_step_size": 0.1} | change)
