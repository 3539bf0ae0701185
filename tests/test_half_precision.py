"""Half precision and masked arrays at the public doors: one sentence each, and no value that looks like a result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import closed_form, estimation, families, matrix_equations, mdp, trajectory
from jaxlqr.supervised import make_supervised_tasks

A, B = np.array([[0.9, 0.1], [0.0, 0.8]]), np.ones((2, 1))
TASK = jaxlqr.make_task(A, B)
MDP = families.bandit([0.0, 1.0])


def halved(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def drift(x, u, t, params):
    return 0.9 * x + u


def stage_cost(x, u, t, params):
    return jnp.sum(x * x) + jnp.sum(u * u)


# Functions of a matrix A [2, 2], B [2, 1], Q [2, 2], R [1, 1], a gain [1, 2] and a task.
DOORS = {
    "solve_discrete_lyapunov": lambda a, b, q, r, k, t: jaxlqr.solve_discrete_lyapunov(a, q),
    "solve_continuous_lyapunov": lambda a, b, q, r, k, t: jaxlqr.solve_continuous_lyapunov(a, q),
    "solve_sylvester": lambda a, b, q, r, k, t: jaxlqr.solve_sylvester(a, a, q),
    "solve_discrete_are": lambda a, b, q, r, k, t: jaxlqr.solve_discrete_are(a, b, q, r),
    "solve_continuous_are": lambda a, b, q, r, k, t: jaxlqr.solve_continuous_are(a, b, q, r),
    "discrete_are_result": lambda a, b, q, r, k, t: jaxlqr.discrete_are_result(a, b, q, r),
    "discrete_lqr": lambda a, b, q, r, k, t: jaxlqr.discrete_lqr(a, b, q, r),
    "solve_quadratic_matrix_equation": lambda a, b, q, r, k, t: matrix_equations.solve_quadratic_matrix_equation(
        a, q, q
    ),
    "solve_linear_re": lambda a, b, q, r, k, t: estimation.solve_linear_re(a, q, 1),
    "steady_state_kalman": lambda a, b, q, r, k, t: estimation.steady_state_kalman(a, k, q, r),
    "log_likelihood": lambda a, b, q, r, k, t: estimation.log_likelihood(b, a, k, q, r),
    "zero_order_hold": lambda a, b, q, r, k, t: jaxlqr.zero_order_hold(a, b, 0.1),
    "zero_order_hold, dt": lambda a, b, q, r, k, t: jaxlqr.zero_order_hold(A, B, jnp.asarray(a)[0, 0]),
    "cost": lambda a, b, q, r, k, t: jaxlqr.cost(k, t),
    "cost of a gain alone": lambda a, b, q, r, k, t: jaxlqr.cost(k, TASK),
    "gradient": lambda a, b, q, r, k, t: jax.grad(jaxlqr.cost)(k, t),
    "hessian_vector_product": lambda a, b, q, r, k, t: jaxlqr.hessian_vector_product(k, k, t),
    "is_stabilizing": lambda a, b, q, r, k, t: jaxlqr.is_stabilizing(k, t),
    "spectral_radius": lambda a, b, q, r, k, t: jaxlqr.spectral_radius(k, t),
    "optimal_gain": lambda a, b, q, r, k, t: jaxlqr.optimal_gain(t),
    "closed_form.gradient": lambda a, b, q, r, k, t: closed_form.gradient(k, t),
    "RolloutCost": lambda a, b, q, r, k, t: jaxlqr.RolloutCost(horizon=3, num_rollouts=1)(k, t),
    "perturb": lambda a, b, q, r, k, t: families.perturb(jax.random.key(0), t, 2, 0.01),
    "meta_train": lambda a, b, q, r, k, t: jaxlqr.meta_train(
        jaxlqr.cost,
        k,
        jaxlqr.stack_tasks([TASK]),
        num_steps=1,
        objective=jaxlqr.Maml(inner_step_size=0.1),
        outer_step_size=0.1,
    ),
    "policy_gradient": lambda a, b, q, r, k, t: jaxlqr.policy_gradient(
        jaxlqr.cost, k, TASK, num_steps=1, step_size=0.1
    ),
    "tvlqr": lambda a, b, q, r, k, t: trajectory.tvlqr(a[None], b[None], jnp.stack([q, q]), r[None], k[0]),
    "ilqr": lambda a, b, q, r, k, t: trajectory.ilqr(stage_cost, drift, k[0], jnp.stack([k[0]])),
    "mdp.evaluate": lambda a, b, q, r, k, t: mdp.evaluate(
        halved(MDP, a.dtype), jnp.full(MDP.r.shape, 1 / MDP.r.shape[1], a.dtype)
    ),
}


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_refused_at_every_door(dtype):
    matrices = halved((A, B, np.eye(2), np.eye(1), jnp.full((1, 2), 0.1), TASK), dtype)
    for door, call in DOORS.items():
        with pytest.raises(TypeError, match=rf"precision of float32 or float64, got {jnp.dtype(dtype)}; ") as caught:
            call(*matrices)
        assert "\n" not in str(caught.value), door


def test_where_values_are_converted_half_precision_is_allowed():
    half = np.array([[0.5, 0.25], [0.0, 0.5]], np.float16)
    assert jaxlqr.make_task(half, np.eye(2)).A.dtype == jnp.result_type(float)


def test_masked_arrays_are_refused():
    masked = np.ma.array(A, mask=[[False, True], [False, False]])
    for call in (
        lambda: jaxlqr.solve_discrete_lyapunov(masked, np.eye(2)),
        lambda: jaxlqr.solve_discrete_are(A, np.ma.array(B, mask=[[True], [False]]), np.eye(2), np.eye(1)),
        lambda: jaxlqr.zero_order_hold(masked, B, 0.1),
        lambda: mdp.make_mdp(np.ma.array([[[1.0], [1.0]]]), [[0.0, 1.0]], gamma=0.9),
        lambda: make_supervised_tasks(np.ma.zeros((2, 5, 3)), np.zeros((2, 5))),
        lambda: families.files.parse_tasks({"nominal": {"A": masked, "B": B}}),
        lambda: families.files.parse_tasks({"nominal": {"A": A, "B": B}, "initial": {"K0": np.ma.zeros((1, 2))}}),
    ):
        with pytest.raises(TypeError, match="must be an array without a mask"):
            call()
