"""Batches: vmap equals a loop, lanes do not see each other, loops end, and the stable path compiles for GPUs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import SolveStatus


def stable_batch(seed, count, n, radius=0.9):
    a = np.random.default_rng(seed).normal(size=(count, n, n))
    return jnp.asarray(a * (radius / np.max(np.abs(np.linalg.eigvals(a)), axis=1))[:, None, None])


# Both layouts of the doubling kernel: task-last in two blocks and a padded third, and matrix products above n = 10.
@pytest.mark.parametrize(("count", "n"), [(130, 4), pytest.param(5, 12, marks=pytest.mark.slow)])
def test_vmap_equals_loop(count, n):
    a = stable_batch(0, count, n)
    batched = jax.jit(jax.vmap(lambda a: jaxlqr.solve_discrete_lyapunov(a, jnp.eye(n))))(a)
    single = jax.jit(lambda a: jaxlqr.solve_discrete_lyapunov(a, jnp.eye(n)))
    np.testing.assert_allclose(batched, jnp.stack([single(x) for x in a]), rtol=1e-11)


def test_nested_vmap_equals_flat_vmap():
    a, q = stable_batch(0, 6, 3), jnp.stack([jnp.eye(3), jnp.ones((3, 3))])
    nested = jax.vmap(lambda a: jax.vmap(lambda q: jaxlqr.solve_discrete_lyapunov(a, q))(q))(a)
    for i in range(6):
        for j in range(2):
            np.testing.assert_allclose(nested[i, j], jaxlqr.solve_discrete_lyapunov(a[i], q[j]), rtol=1e-12)


SPOILED = {
    "unstable": lambda n: 3.0 * jnp.eye(n),
    "on the boundary": lambda n: jnp.eye(n),
    "NaN": lambda n: jnp.full((n, n), jnp.nan),
    "infinite": lambda n: jnp.full((n, n), jnp.inf),
    "huge": lambda n: jnp.full((n, n), 1e300),
}


# Compiled once for all kinds.
@jax.jit
@jax.vmap
def lyapunov_lanes(a):
    return jaxlqr.solve_discrete_lyapunov(a, jnp.eye(4))


@jax.jit
@jax.vmap
def riccati_lanes(a):
    return jaxlqr.solve_discrete_are(a, jnp.ones((4, 1)), jnp.eye(4), jnp.eye(1))


@pytest.mark.parametrize(
    "kind", [kind if kind in ("unstable", "NaN") else pytest.param(kind, marks=pytest.mark.slow) for kind in SPOILED]
)
def test_a_bad_lane_changes_no_bit_of_the_others_and_cannot_hang_them(kind):
    a = stable_batch(1, 70, 4)
    spoiled = a.at[3].set(SPOILED[kind](4))
    others = jnp.array([i for i in range(70) if i != 3])
    np.testing.assert_array_equal(lyapunov_lanes(spoiled)[others], lyapunov_lanes(a)[others])
    np.testing.assert_array_equal(riccati_lanes(spoiled)[others], riccati_lanes(a)[others])
    if kind in ("on the boundary", "NaN", "infinite"):
        assert bool(jnp.all(jnp.isnan(lyapunov_lanes(spoiled)[3])))


def test_every_lane_has_its_status():
    a = jnp.stack([0.5 * jnp.eye(2), jnp.eye(2), jnp.full((2, 2), jnp.nan), 3.0 * jnp.eye(2)])
    result = jax.vmap(lambda a: jaxlqr.discrete_lyapunov_result(a, jnp.eye(2)))(a)
    assert [SolveStatus(int(s)).name for s in result.status] == ["SOLVED", "SINGULAR", "NOT_FINITE", "SOLVED"]
    np.testing.assert_allclose(result.value[3], jnp.eye(2) / (1 - 9), rtol=1e-13)
    with pytest.raises(ArithmeticError, match=r"1 of 4 matrix equations NOT_FINITE \(first: \[2\]\)"):
        result.check()
    doubling = jax.vmap(lambda a: jaxlqr.discrete_lyapunov_result(a, jnp.eye(2), method="doubling"))(a)
    assert doubling.status[3] == SolveStatus.NOT_STABLE


def cost(a, q):
    return jnp.trace(jaxlqr.matrix_equations.stable_discrete_lyapunov(a, q)[0])


def pairing(a, q):
    return jaxlqr.matrix_equations.gramian_trace(a, q, jnp.eye(len(a)))


def riccati_cost(a, q):
    return jnp.trace(jaxlqr.solve_discrete_are(a, jnp.ones((len(a), 1)), q, jnp.eye(1)))


def continuous_cost(a, q):
    return jnp.trace(jaxlqr.solve_continuous_are(a, jnp.ones((len(a), 1)), q, jnp.eye(1)))


def lyapunov_cost(a, q):
    return jnp.trace(jaxlqr.solve_continuous_lyapunov(a, -q, method="doubling"))


def equation(a, q):
    return jnp.trace(jaxlqr.solve_discrete_lyapunov(a, q))


@pytest.mark.parametrize("f", [cost, pairing, riccati_cost, continuous_cost, lyapunov_cost, equation])
def test_compiles_for_gpus(f):
    a, q = stable_batch(2, 3, 4), jnp.stack([jnp.eye(4)] * 3)

    def hessian_vector_product(a, q):
        return jax.jvp(jax.grad(f), (a, q), (a, q))[1]

    for g in (f, jax.grad(f), hessian_vector_product):
        for h, args in ((g, (a[0], q[0])), (jax.vmap(g), (a, q))):
            text = jax.jit(h).trace(*args).lower(lowering_platforms=("cuda",)).as_text()
            assert "callback" not in text
            if f in (cost, pairing):
                # Matrix products only: no decomposition of any library.
                assert "custom_call" not in text


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_single_precision(dtype):
    a = stable_batch(3, 1, 5)[0].astype(dtype)
    q, b, r = jnp.eye(5, dtype=dtype), jnp.ones((5, 2), dtype), jnp.eye(2, dtype=dtype)
    for result in (
        jaxlqr.discrete_lyapunov_result(a, q),
        jaxlqr.continuous_lyapunov_result(a - 2 * q, q),
        jaxlqr.sylvester_result(a + 2 * q, r, b),
        jaxlqr.discrete_are_result(2 * a, b, q, r),
        jaxlqr.continuous_are_result(a, b, q, r),
    ):
        assert result.status == SolveStatus.SOLVED
        assert result.value.dtype == dtype
        # n eps = 6e-7, times a few for the decompositions and, for Riccati, the closed loop.
        assert result.residual < 2e-5


def test_status_and_value_agree_with_the_solver():
    a = stable_batch(4, 1, 3)[0]
    result = jaxlqr.discrete_lyapunov_result(a, jnp.eye(3))
    np.testing.assert_allclose(result.value, jaxlqr.solve_discrete_lyapunov(a, jnp.eye(3)), rtol=1e-14)
    assert result.iterations > 0
    # The estimate is from below; the exact condition number in the Frobenius norm from the dense operator.
    operator = np.eye(9) - np.kron(a, a)
    exact = (1 + np.linalg.norm(a) ** 2) / np.linalg.svd(operator, compute_uv=False)[-1]
    assert 0.1 * exact < result.condition <= exact * (1 + 1e-9)
    assert result.check() is result


def test_condition_bounds_the_forward_error():
    a = stable_batch(5, 1, 6, radius=1 - 1e-8)[0]
    result = jaxlqr.discrete_lyapunov_result(a, jnp.eye(6))
    moved = jaxlqr.solve_discrete_lyapunov(a * (1 + 2.0**-52), jnp.eye(6))
    error = float(jnp.linalg.norm(moved - result.value) / jnp.linalg.norm(result.value))
    assert 1e-11 < error < 2**-52 * float(result.condition) * 10


@pytest.mark.cpu
def test_non_normal_coefficients_take_the_schur_path():
    rotation = np.array([[0.8, -0.6], [0.6, 0.8]])
    a = jnp.asarray(rotation @ np.array([[0.9, 1e4], [0.0, -0.45]]) @ rotation.T)
    result = jax.jit(lambda a: jaxlqr.discrete_lyapunov_result(a, jnp.eye(2)))(a)
    doubling = jax.jit(lambda a: jaxlqr.discrete_lyapunov_result(a, jnp.eye(2), method="doubling"))(a)
    assert result.iterations == doubling.iterations
    # Measured: 3e-11 against 7e-8.
    assert result.residual < doubling.residual / 10
    assert result.residual < 1e-9


@pytest.mark.cpu
def test_a_batch_of_kronecker_systems_is_not_in_memory_at_once():
    """Each of the 40 systems has 576 x 576 numbers, 2.7 MB; all of them with their factors would be above 200 MB."""
    a = stable_batch(0, 40, 24)
    solve = jax.jit(jax.vmap(lambda a: jaxlqr.solve_discrete_lyapunov(a, jnp.eye(24), method="kronecker")))
    assert solve.lower(a).compile().memory_analysis().temp_size_in_bytes < 40e6
    np.testing.assert_allclose(
        solve(a), jax.vmap(lambda a: jaxlqr.solve_discrete_lyapunov(a, jnp.eye(24)))(a), rtol=1e-9, atol=1e-12
    )
