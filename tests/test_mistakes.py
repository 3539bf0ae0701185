"""What is written wrongly, and the sentence that says so; what is meant clearly, and works."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlqr
from jaxlqr.lqr import closed_form
from jaxlqr.lqr.rollout import rollout

TASK = jaxlqr.make_task([[0.9, 0.1], [0.0, 0.5]], [[0.0], [1.0]])
PAIR = jaxlqr.stack_tasks([TASK, TASK])  # as many tasks as states: what used to give a wrong number
SQUARE = jaxlqr.make_task([[0.9, 0.1], [0.0, 0.5]], np.eye(2))  # as many inputs as states
K, KK = jnp.array([[0.1, 0.2]]), jnp.array([[0.1, 0.2], [0.0, 0.1]])
DEEP = jax.tree.map(lambda leaf: leaf[:, None], PAIR)
MANY = {"outer_step_size": 1e-3, "num_steps": 2, "output": jaxlqr.Output(progress=False)}

ONE_TASK = r"task must be one task, whose A is a matrix, got a stack with A of shape \(2, 2, 2\); .*jax\.vmap"
MISTAKES = {
    "cost of a stack": (lambda: jaxlqr.cost(K, PAIR), ONE_TASK),
    "cost of a square stack": (lambda: jaxlqr.cost(KK, jaxlqr.stack_tasks([SQUARE, SQUARE])), ONE_TASK),
    "gradient of a stack": (lambda: jax.grad(jaxlqr.cost)(K, PAIR), ONE_TASK),
    "cost of a stack in jit": (lambda: jax.jit(jaxlqr.cost)(K, PAIR), ONE_TASK),
    "Hessian of a stack": (lambda: jaxlqr.hessian_vector_product(K, K, PAIR), ONE_TASK),
    "verdict on a stack": (lambda: jaxlqr.is_stabilizing(K, PAIR), ONE_TASK),
    "radius of a stack": (lambda: jaxlqr.spectral_radius(K, PAIR), ONE_TASK),
    "optimum of a stack": (lambda: jaxlqr.optimal_gain(PAIR), ONE_TASK),
    "optimal cost of a stack": (lambda: jaxlqr.optimal_cost(PAIR), ONE_TASK),
    "closed form of a stack": (lambda: closed_form.gradient(K, PAIR), ONE_TASK),
    "rollout of a stack": (lambda: rollout(K, PAIR, jnp.ones(2), jnp.ones((3, 2))), ONE_TASK),
    "rollout cost of a stack": (lambda: jaxlqr.RolloutCost(horizon=2, num_rollouts=1)(K, PAIR), ONE_TASK),
    "perturbed stack": (lambda: jaxlqr.families.perturb(0, PAIR, 3, 0.1), ONE_TASK),
    "descent on a stack": (lambda: jaxlqr.policy_gradient(jaxlqr.cost, K, PAIR, num_steps=2, step_size=0.1), ONE_TASK),
    "a list of tasks": (lambda: jaxlqr.cost(K, [TASK, TASK]), r"task must be one task, got a list of 2; .*jax\.vmap"),
    "no task": (lambda: jaxlqr.cost(K, jnp.eye(2)), r"task must be a task with arrays A, B.*make_task"),
    "a batch of gains": (lambda: jaxlqr.cost(K[None], TASK), r"K must have shape \(1, 2\).*got \(1, 1, 2\); .*vmap"),
    "a turned gain": (lambda: jaxlqr.cost(K.T, TASK), r"K must have shape \(1, 2\).*got \(2, 1\); write K\.T"),
    "a turned direction": (lambda: closed_form.hessian_vector_product(K, K.T, TASK), r"X must have shape \(1, 2\)"),
    "an uneven list": (lambda: jaxlqr.cost([[0.1], [0.2, 0.3]], TASK), "K must be an array"),
    "text": (lambda: jaxlqr.cost("K", TASK), "K must be an array .* got str"),
    "integers": (lambda: jaxlqr.cost(jnp.ones((1, 2), int), TASK), "K must have a floating dtype, got int"),
    "noise of another size": (lambda: rollout(K, TASK, jnp.ones(2), jnp.ones((5, 3))), "x0 and noise must have shapes"),
    "one task for many": (
        lambda: jaxlqr.maml_loss(jaxlqr.cost, K, TASK, inner_step_size=0.1),
        r"got one task .*stack_tasks\(\[task\]\)",
    ),
    "a square task for many": (
        lambda: jaxlqr.maml_gradient(jaxlqr.cost, KK, SQUARE, inner_step_size=0.1),
        r"got one task .*stack_tasks",
    ),
    "a deep stack": (
        lambda: jaxlqr.maml_gradient(jaxlqr.cost, K, DEEP, inner_step_size=0.1),
        r"got A of shape \(2, 1, 2, 2\); take out",
    ),
    "a deep stack in training": (
        lambda: jaxlqr.meta_train(jaxlqr.cost, K, DEEP, objective=jaxlqr.Maml(inner_step_size=0.1), **MANY),
        r"got A of shape \(2, 1, 2, 2\); take out",
    ),
    "one stack for several runs": (
        lambda: jaxlqr.meta_train(
            jaxlqr.cost, jnp.stack([K, K]), PAIR, objective=jaxlqr.Maml(inner_step_size=0.1), batched=True, **MANY
        ),
        r"tasks must be a stack for each run .* got A of shape \(2, 2, 2\)",
    ),
    "a name for an oracle": (
        lambda: jaxlqr.maml_gradient(jaxlqr.cost, K, PAIR, inner_step_size=0.1, oracle="zeroth-order", key=0),
        r"oracle must be an oracle, got 'zeroth-order'; .*ZerothOrderOracle\(num_samples=50",
    ),
    "a class for an oracle": (
        lambda: jaxlqr.meta_train(
            jaxlqr.cost, K, PAIR, objective=jaxlqr.Maml(inner_step_size=0.1), oracle=jaxlqr.ExactOracle, **MANY
        ),
        r"oracle must be an oracle, .*ExactOracle\(\)",
    ),
    "a name for an optimiser": (
        lambda: jaxlqr.meta_train(
            jaxlqr.cost, K, PAIR, optimizer="adam", num_steps=2, objective=jaxlqr.Maml(inner_step_size=0.1)
        ),
        r"optimizer must be an optax optimiser, got 'adam'; .*optax\.adam\(1e-3\)",
    ),
    "text for a key": (lambda: jaxlqr.families.perturb("0", TASK, 3, 0.1), r"key must be a random key .* got str"),
    "a number for a key": (
        lambda: jaxlqr.families.perturb(0.5, TASK, 3, 0.1),
        r"key must be a random key .* got float",
    ),
    "text for a step": (
        lambda: jaxlqr.maml_loss(jaxlqr.cost, K, PAIR, inner_step_size="big"),
        "inner_step_size must be a number, got 'big'",
    ),
    "no inner step": (lambda: jaxlqr.maml_loss(jaxlqr.cost, K, PAIR), "inner_step_size must be a number, got None"),
    "text for an outer step": (
        lambda: jaxlqr.meta_train(
            jaxlqr.cost, K, PAIR, num_steps=2, objective=jaxlqr.Maml(inner_step_size=0.1), outer_step_size="big"
        ),
        r"the \(outer\) step size must be a number, got 'big'",
    ),
    "a chosen step beside an optimiser": (
        lambda: jaxlqr.meta_train(
            jaxlqr.cost,
            K,
            PAIR,
            num_steps=2,
            objective=jaxlqr.Maml(inner_step_size=0.1),
            outer_step_size="auto",
            optimizer=optax.adam(0.1),
        ),
        r'the \(outer\) step size "auto" is that of plain gradient descent',
    ),
    "a fraction of inner steps": (
        lambda: jaxlqr.adapt(jaxlqr.cost, K, TASK, 0.1, num_inner_steps=1.5),
        "num_inner_steps must be an integer",
    ),
    "text for dt": (
        lambda: jaxlqr.make_task([[1.0]], [[1.0]], dt="0.01"),
        "dt must be a number.* got '0.01'; write dt=0.01",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_sentence(case):
    call, sentence = MISTAKES[case]
    with pytest.raises((ValueError, TypeError), match=sentence) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_what_is_meant_clearly_works():
    np.testing.assert_array_equal(jaxlqr.cost([[0.1, 0.2]], TASK), jaxlqr.cost(K, TASK))
    assert jaxlqr.cost([[1, 0]], TASK) == jaxlqr.cost(jnp.array([[1.0, 0.0]]), TASK)
    stacked = jaxlqr.maml_loss(jaxlqr.cost, K, PAIR, inner_step_size=0.1)
    np.testing.assert_array_equal(
        jaxlqr.maml_loss(jaxlqr.cost, [[0.1, 0.2]], [TASK, TASK], inner_step_size=0.1), stacked
    )
    plain = jaxlqr.maml_loss(jaxlqr.cost, K, PAIR, num_inner_steps=0)
    np.testing.assert_allclose(plain, jaxlqr.cost(K, TASK), rtol=1e-15)  # rounding of a mean of two
    by_key = [jaxlqr.families.perturb(key, TASK, 3, 0.1).A for key in (7, np.int64(7), jax.random.key(7))]
    np.testing.assert_array_equal(by_key[0], by_key[2])
    np.testing.assert_array_equal(by_key[1], by_key[2])
    trained = jaxlqr.meta_train(jaxlqr.cost, K, [TASK, TASK], objective=jaxlqr.Mean(), key=0, oracle="exact", **MANY)
    assert trained.history["cost"].shape == (3, 2)
    assert repr(trained).startswith("TrainingResult(params=float64[1, 2], history={")
    assert "status=COMPLETED" in repr(trained)


def test_a_repr_is_one_short_line():
    assert (
        repr(TASK)
        == "LQRTask(A=float64[2, 2], B=float64[2, 1], Q=float64[2, 2], R=float64[1, 1], Sigma0=float64[2, 2])"
    )
    result = jaxlqr.discrete_lyapunov_result(TASK.A, jnp.eye(2))
    assert re.fullmatch(r"EquationResult\(value=float64\[2, 2\], status=\w+, iterations=\d+, .*\)", repr(result))
    both = jax.vmap(jaxlqr.discrete_lyapunov_result)(PAIR.A, PAIR.Q)
    assert "status=[2 " in repr(both)
    assert jax.jit(lambda task: repr(task).count("LQRTask(A="))(TASK) == 1


def test_rooms_are_found_without_an_import_of_their_own():
    code = (
        "import sys, jaxlqr\n"
        "print('jaxlqr.trajectory' in sys.modules or 'jaxlqr.plots' in sys.modules)\n"
        "print({'plots', 'trajectory', 'cost'} <= set(dir(jaxlqr)))\n"
        "print(callable(jaxlqr.trajectory.ilqr), callable(jaxlqr.plots.plot_poles))\n"
        "print(callable(jaxlqr.meta.landscape.certify), callable(jaxlqr.meta.weighting.uniform))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["False", "True", "True", "True", "True", "True"]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jaxlqr.nothing
