"""The same numbers on an accelerator as on the CPU: ``pytest -m gpu`` where JAX sees one (``.ci/accelerator``)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.matrix_equations import (
    solve_continuous_lyapunov,
    solve_discrete_are,
    solve_discrete_lyapunov,
    solve_sylvester,
)
from jaxlqr.mdp import make_tasks, meta_gradient
from jaxlqr.trajectory import ilqr
from jaxlqr.trajectory.problems import PROBLEMS

# On a CPU alone each test would compare it with itself.
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() == "cpu", reason="compares an accelerator with the CPU; JAX sees none"),
]
KEY = jax.random.key(0)


@pytest.fixture
def on_both():
    """A function that compiles another for the CPU and for the accelerator, and compares what they say."""

    def compare(function, *arguments, rtol=1e-9):
        found = []
        for place in (jax.devices("cpu")[0], jax.devices()[0]):
            with jax.default_device(place):
                found.append(jax.tree.leaves(jax.jit(function)(*jax.device_put(arguments, place))))
        for cpu, gpu in zip(*found, strict=True):
            scale = float(np.max(np.abs(cpu)))
            assert np.all(np.isfinite(cpu))
            np.testing.assert_allclose(gpu, np.asarray(cpu), rtol=0, atol=rtol * scale)

    return compare


def matrices(count: int, n: int, radius: float) -> jax.Array:
    a = jax.random.normal(KEY, (count, n, n))
    return a * (radius / jnp.max(jnp.linalg.norm(a, ord=2, axis=(1, 2))))


@pytest.mark.parametrize("method", ["auto", "kronecker"])
@pytest.mark.parametrize(("count", "n", "radius"), [(50, 4, 0.9), (50, 4, 3.0), (3, 30, 0.9), (1, 64, 2.0)])
def test_discrete_lyapunov_equations(on_both, method, count, n, radius):
    """Stable or not: an accelerator has no Schur form, and takes Kronecker products where doubling fails."""
    solve = jax.vmap(lambda a: solve_discrete_lyapunov(a, jnp.eye(n), method=method))
    on_both(solve, matrices(count, n, radius), rtol=1e-8)


def test_continuous_lyapunov_and_sylvester_equations(on_both):
    a = jax.vmap(lambda a: a - jnp.eye(6))(matrices(10, 6, 0.5))
    on_both(jax.vmap(lambda a: solve_continuous_lyapunov(a, jnp.eye(6))), a)
    on_both(jax.vmap(lambda a: solve_sylvester(a, a.T - jnp.eye(6), jnp.ones((6, 6)))), a)


def test_the_second_attempt_of_a_large_batch_takes_no_memory_of_its_own(on_both):
    """The Kronecker systems of a thousand matrices of 64 rows would be 134 GB; all are stable and need none."""
    on_both(jax.vmap(lambda a: solve_discrete_lyapunov(a, jnp.eye(64))), matrices(1000, 64, 0.9))


def test_riccati_equations(on_both):
    B, Q, R = jax.random.normal(KEY, (20, 6, 2)), jnp.eye(6), jnp.eye(2)
    on_both(jax.vmap(lambda a, b: solve_discrete_are(a, b, Q, R)), matrices(20, 6, 1.2), B, rtol=1e-8)


def test_meta_gradients_of_regulators(on_both):
    tasks = jaxlqr.families.perturb(KEY, jaxlqr.families.boeing(), 50, level=0.01)
    K = jaxlqr.families.boeing_initial_gain()
    sampled = jaxlqr.ZerothOrderOracle(num_samples=4, radius=1e-3)
    on_both(lambda K, tasks: jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-7), K, tasks)
    on_both(
        lambda K, tasks: jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-7, oracle=sampled, key=KEY),
        K,
        tasks,
        rtol=1e-6,
    )


def test_meta_gradients_of_decision_processes(on_both):
    tasks = make_tasks(jaxlqr.families.garnet(KEY, 5, 60, 4), features=jax.random.normal(KEY, (60, 4, 8)))
    on_both(lambda theta, tasks: meta_gradient(theta, tasks, 10.0), jnp.ones(8), tasks)


def test_trajectories(on_both):
    p = PROBLEMS["pendulum"]()

    def costs(starts, U0, params):
        def cost(x0):
            return ilqr(p.cost, p.dynamics, x0, U0, params=params, final_cost=p.final_cost).cost

        return jax.vmap(cost)(starts)

    on_both(costs, jnp.tile(p.x0, (3, 1)) + 0.1 * jax.random.normal(KEY, (3, 2)), p.U0, p.params)
