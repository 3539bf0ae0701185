"""PyTensor's operations by our solvers, against SciPy; gradients against differences. Needs the extra pytensor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxlqr import estimation
from jaxlqr.matrix_equations import register_in_pytensor, solve_discrete_are, solve_sylvester

RNG = np.random.default_rng(0)
A, B = 0.4 * RNG.normal(size=(3, 3)), RNG.normal(size=(3, 2))
HALF = RNG.normal(size=(3, 3))
Q, R = HALF @ HALF.T, np.eye(2)
# Arguments, and which of them are symmetric.
CASES = {
    "solve_discrete_lyapunov": ((A, Q), (1,)),
    "solve_continuous_lyapunov": ((A - np.eye(3), Q), (1,)),
    "solve_sylvester": ((A, np.diag([2.0, 3.0]), B), ()),
    "solve_discrete_are": ((A, B, Q, R), (2, 3)),
}


@pytest.fixture(scope="module")
def pytensor():
    module = pytest.importorskip("pytensor")
    register_in_pytensor()
    register_in_pytensor()  # a second call changes nothing
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, pytensor):
    import pytensor.tensor as pt

    arrays, symmetric = CASES[name]
    weights = RNG.normal(size=getattr(scipy.linalg, name)(*arrays).shape)
    symbols = [pt.matrix(f"x{k}", shape=array.shape) for k, array in enumerate(arrays)]
    value = getattr(pt.linalg, name)(*symbols)
    total = pt.sum(weights * value)
    compiled = pytensor.function(symbols, [value, *pt.grad(total, symbols)], mode="JAX")
    found, *gradients = compiled(*arrays)
    np.testing.assert_allclose(found, getattr(scipy.linalg, name)(*arrays), rtol=1e-10, atol=1e-12)  # condition 1e2
    step = 1e-6
    for k, gradient in enumerate(gradients):
        direction = RNG.normal(size=arrays[k].shape)
        direction = direction + direction.T if k in symmetric else direction
        shifted = [[a + s * step * direction if j == k else a for j, a in enumerate(arrays)] for s in (1, -1)]
        values = [np.sum(weights * getattr(scipy.linalg, name)(*each)) for each in shifted]
        difference = (values[0] - values[1]) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(difference, rel=1e-6, abs=1e-6)  # of differences


@pytest.mark.slow
def test_ours_computes_them(pytensor):
    from pytensor.link.jax.dispatch.basic import jax_funcify
    from pytensor.tensor.linalg.solvers import linear_control

    for operation, solver in (("SolveSylvester", solve_sylvester), ("SolveDiscreteARE", solve_discrete_are)):
        assert jax_funcify.dispatch(getattr(linear_control, operation))(None) is solver


@pytest.mark.slow
def test_batches_and_the_equation_beyond_stability(pytensor):
    import pytensor.tensor as pt

    a, q = pt.tensor("a", shape=(2, 3, 3)), pt.tensor("q", shape=(2, 3, 3))
    compiled = pytensor.function([a, q], pt.linalg.solve_discrete_lyapunov(a, q), mode="JAX")
    stack = np.stack([A, 3 * A])
    for found, each in zip(compiled(stack, np.stack([Q, Q])), stack, strict=True):
        np.testing.assert_allclose(found, scipy.linalg.solve_discrete_lyapunov(each, Q), rtol=1e-9)


@pytest.mark.slow
def test_a_likelihood_by_wrap_jax(pytensor):
    """What the how-to shows: one decorator, with gradients."""
    import pytensor.tensor as pt

    y = np.sin(np.arange(20.0))[:, None]

    def value(params):
        return estimation.log_likelihood(y, params[:1, None], np.eye(1), jnp.exp(params[1:, None]), np.eye(1))

    params = pt.vector("params", shape=(2,))
    total = pytensor.wrap_jax(value)(params)
    compiled = pytensor.function([params], [total, pt.grad(total, params)], mode="JAX")
    point = np.array([0.5, 0.1])
    found, gradient = compiled(point)
    expected = jax.value_and_grad(value)(jnp.asarray(point))
    np.testing.assert_allclose(found, expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-10)
