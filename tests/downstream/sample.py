"""A project that uses jaxlqr, as its checker sees it: .ci/releases runs it, and pyright checks it in strict mode.

Every public name is used here once, with the types that a caller relies on written out; were one of them unknown,
strict mode would refuse this file.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import jaxlqr


def one_task() -> jaxlqr.LQRTask:
    B, R = np.array([[0.0], [1.0]]), np.eye(1)
    task: jaxlqr.LQRTask = jaxlqr.make_task([[1.1, 0.2], [0.0, 0.9]], B, R=R)
    held: jaxlqr.LQRTask = jaxlqr.make_task(A=[[0.0, 1.0], [0.0, 0.0]], B=[[0.0], [1.0]], dt=0.1)
    A_d, B_d = jaxlqr.zero_order_hold(np.zeros((2, 2)), np.ones((2, 1)), 0.1)
    both: jaxlqr.LQRTask = jaxlqr.stack_tasks([task, held])
    shapes: list[tuple[int, ...]] = [A_d.shape, B_d.shape, both.A.shape]
    assert shapes == [(2, 2), (2, 1), (2, 2, 2)]
    return task


def costs(task: jaxlqr.LQRTask) -> Array:
    K: Array = jaxlqr.optimal_gain(task)
    value: Array = jaxlqr.cost(K, task)
    gap: Array = value - jaxlqr.optimal_cost(task)
    product: Array = jaxlqr.hessian_vector_product(K, K, task)
    gradient: Array = jaxlqr.closed_form.gradient(K, task)
    stable: Array = jaxlqr.is_stabilizing(K, task) & (jaxlqr.spectral_radius(K, task) < 1)
    assert bool(stable)
    assert abs(float(gap)) < 1e-3 * float(value)
    assert product.shape == gradient.shape == K.shape
    return K


def equations(task: jaxlqr.LQRTask) -> None:
    q: Array = task.Q
    a: Array = 0.5 * q
    solutions: list[Array] = [
        jaxlqr.solve_discrete_lyapunov(a, q),
        jaxlqr.solve_continuous_lyapunov(-a, q),
        jaxlqr.solve_sylvester(a, a, q),
        jaxlqr.solve_discrete_are(task.A, task.B, task.Q, task.R),
        jaxlqr.solve_continuous_are(task.A, task.B, task.Q, task.R),
        jaxlqr.discrete_lqr(task.A, task.B, task.Q, task.R).gain,
        jaxlqr.continuous_lqr(task.A, task.B, task.Q, task.R).solution,
    ]
    results: list[jaxlqr.EquationResult] = [
        jaxlqr.discrete_lyapunov_result(a, q),
        jaxlqr.continuous_lyapunov_result(-a, q),
        jaxlqr.sylvester_result(a, a, q),
        jaxlqr.discrete_are_result(task.A, task.B, task.Q, task.R),
        jaxlqr.continuous_are_result(task.A, task.B, task.Q, task.R),
    ]
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in solutions)
    statuses: list[jaxlqr.SolveStatus] = [jaxlqr.SolveStatus(int(result.check().status)) for result in results]
    assert set(statuses) == {jaxlqr.SolveStatus.SOLVED}


def learning(task: jaxlqr.LQRTask, K: Array) -> None:
    key = jax.random.key(0)
    tasks: jaxlqr.LQRTask = jaxlqr.families.perturb(key, task, 3, level=0.01)
    oracle = jaxlqr.ZerothOrderOracle(num_samples=4, radius=1e-2)
    rolled = jaxlqr.RolloutCost(horizon=10, num_rollouts=2)
    exact: Array = jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-4, oracle=jaxlqr.ExactOracle())
    adapted: Array = jaxlqr.adapt(jaxlqr.cost, K, task, 1e-4)
    loss: Array = jaxlqr.maml_loss(jaxlqr.cost, adapted, tasks, inner_step_size=1e-4)
    assert exact.shape == K.shape
    assert bool(jnp.isfinite(loss) & jnp.isfinite(rolled(K, task)))
    trained: jaxlqr.TrainingResult = jaxlqr.meta_train(
        jaxlqr.cost,
        1.1 * K,
        tasks,
        num_steps=3,
        objective=jaxlqr.Maml(inner_step_size=1e-4),
        optimizer=optax.adam(1e-3),
        oracle=oracle,
        key=key,
    )
    plain: jaxlqr.TrainingResult = jaxlqr.policy_gradient(jaxlqr.cost, 1.1 * K, task, num_steps=3, step_size=1e-3)
    history: dict[str, Array] = plain.history
    assert history["gap"].shape == (4,)
    assert jaxlqr.SolveStatus(int(trained.status)) is jaxlqr.SolveStatus.COMPLETED


if __name__ == "__main__":
    the_task = one_task()
    the_gain = costs(the_task)
    equations(the_task)
    learning(the_task, the_gain)
    print(f"jaxlqr {jaxlqr.__version__} on JAX {jax.__version__}: the downstream sample runs")
