"""Static mistakes raise at once and say which argument, what was expected, what was got and what to do."""

import jax.numpy as jnp
import pytest

import jaxlqr

pytestmark = pytest.mark.usefixtures("unchecked")
I2, I3 = jnp.eye(2), jnp.eye(3)
LYAPUNOV = [
    jaxlqr.solve_discrete_lyapunov,
    jaxlqr.solve_continuous_lyapunov,
    jaxlqr.discrete_lyapunov_result,
    jaxlqr.continuous_lyapunov_result,
]
RICCATI = [
    jaxlqr.solve_discrete_are,
    jaxlqr.solve_continuous_are,
    jaxlqr.discrete_are_result,
    jaxlqr.continuous_are_result,
]


@pytest.mark.parametrize("solve", LYAPUNOV)
def test_lyapunov(solve):
    with pytest.raises(ValueError, match=rf"{solve.__name__}: argument a must be a square matrix .* \(3, 2\)"):
        solve(jnp.ones((3, 2)), I3)
    with pytest.raises(
        ValueError, match=r"argument q must have shape \[n, n\] with n = 2 as in argument a, .* \(3, 3\)"
    ):
        solve(I2, I3)
    with pytest.raises(ValueError, match=r"argument a must be a matrix.*jax\.vmap"):
        solve(jnp.ones((4, 2, 2)), I2)
    with pytest.raises(TypeError, match=r"argument q must have a floating dtype, got int64; write 1\.0"):
        solve(I2, jnp.eye(2, dtype=int))
    with pytest.raises(TypeError, match="same precision, got a float64, q float32; convert"):
        solve(I2, I2.astype(jnp.float32))
    with pytest.raises(ValueError, match='method must be "auto"'):
        solve(I2, I2, method="bilinear")


@pytest.mark.parametrize("solve", [jaxlqr.solve_sylvester, jaxlqr.sylvester_result])
def test_sylvester(solve):
    with pytest.raises(ValueError, match=r"argument q must have shape \[n, m\] with n = 2 as in argument a"):
        solve(I2, I3, jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="method must be"):
        solve(I2, I3, jnp.ones((2, 3)), method="doubling")


@pytest.mark.parametrize("solve", RICCATI)
def test_riccati(solve):
    b = jnp.ones((2, 1))
    with pytest.raises(ValueError, match="argument r must be a square matrix"):
        solve(I2, b, I2, jnp.ones((1, 2)))
    with pytest.raises(ValueError, match=r"argument r must have shape \[m, m\] with m = 1 as in argument b"):
        solve(I2, b, I2, I2)
    with pytest.raises(ValueError, match=r"argument s must have shape \[n, m\]"):
        solve(I2, b, I2, jnp.eye(1), s=I2)
    with pytest.raises(ValueError, match=r"argument e must have shape \[n, n\] with n = 2"):
        solve(I2, b, I2, jnp.eye(1), e=I3)
    with pytest.raises(ValueError, match=r"argument r must be a matrix.*\[\[x\]\]"):
        solve(I2, b, I2, 1.0)
    with pytest.raises(ValueError, match=r"argument b must have at least one .* use solve_discrete_lyapunov"):
        solve(I2, jnp.ones((2, 0)), I2, jnp.ones((0, 0)))
    with pytest.raises(TypeError, match="same precision"):
        solve(I2, b, I2, jnp.eye(1, dtype=jnp.float32))


def test_real_and_complex_arguments_mix():
    x = jaxlqr.solve_discrete_lyapunov(0.5 * I2, 1j * I2)
    assert x.dtype == jnp.complex128


def test_lists_take_the_precision_of_arrays():
    x = jaxlqr.solve_discrete_lyapunov(jnp.array([[0.5]], jnp.float32), [[3.0]])  # type: ignore[arg-type]  # lists are taken too
    assert x.dtype == jnp.float32
    assert float(x[0, 0]) == 4.0


def test_equations_without_unknowns_are_solved_by_the_empty_matrix():
    empty = jnp.zeros((0, 0))
    for solve, count in (
        (jaxlqr.discrete_lyapunov_result, 2),
        (jaxlqr.continuous_lyapunov_result, 2),
        (jaxlqr.sylvester_result, 3),
    ):
        found = solve(*[empty] * count).check(allow_ill_conditioned=False)
        assert found.value.shape == (0, 0)
        assert float(found.residual) == 0
