"""Gramians and the H2 norm: against SciPy, SLICOT and 50 digits, in both times, and all derivatives."""

import dataclasses

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

from jaxlqr import systems
from tests.systems.cases import fortran, in_other_units, random_system

TIMES = pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])


def scipy_gramian(a, q, discrete):
    if discrete:
        return scipy.linalg.solve_discrete_lyapunov(a, q)
    return scipy.linalg.solve_continuous_lyapunov(a, -q)


def norm_in_50_digits(system):
    """H2 norm by the Lyapunov equation as one dense system of n^2 equations."""
    with mpmath.workdps(50):
        a, b, c, d = (mpmath.matrix(np.asarray(leaf).tolist()) for leaf in (system.A, system.B, system.C, system.D))
        n, q = a.rows, b * b.T
        operator, right = mpmath.matrix(n * n, n * n), mpmath.matrix(n * n, 1)
        for i in range(n):
            for j in range(n):
                right[i * n + j] = -q[i, j]
                for k in range(n):
                    if system.is_discrete:
                        for l in range(n):
                            operator[i * n + j, k * n + l] += a[i, k] * a[j, l]
                    else:
                        operator[i * n + j, k * n + j] += a[i, k]
                        operator[i * n + j, i * n + k] += a[j, k]
                if system.is_discrete:
                    operator[i * n + j, i * n + j] -= 1
        x = mpmath.lu_solve(operator, right)
        p = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                p[i, j] = x[i * n + j]
        output = c * p * c.T + (d * d.T if system.is_discrete else 0 * d * d.T)
        return float(mpmath.sqrt(sum(output[i, i] for i in range(c.rows))))


@TIMES
def test_gramians_are_those_of_scipy(discrete):
    system = random_system(0, 6, discrete=discrete)
    a, b, c, _ = fortran(system)
    p, q = systems.controllability_gramian(system), systems.observability_gramian(system)
    # Two backward stable solvers of a well-conditioned equation: some n^2 roundings.
    np.testing.assert_allclose(p, scipy_gramian(a, b @ b.T, discrete), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(q, scipy_gramian(a.T, c.T @ c, discrete), rtol=1e-11, atol=1e-12)
    assert jnp.array_equal(p, p.T)


@TIMES
def test_norm_is_that_of_slicot_and_does_not_depend_on_units(discrete):
    ctrlsys = pytest.importorskip("ctrlsys")
    system = random_system(1, 6, discrete=discrete)
    norm, _, _, info = ctrlsys.ab13bd("D" if discrete else "C", "H", *fortran(system), 0.0)
    assert info == 0
    assert float(systems.h2_norm(system)) == pytest.approx(norm, rel=1e-12)  # a hundred roundings
    scaled, factor = in_other_units(system)
    # Powers of ten round each entry once: a change of the matrices by a few eps.
    assert float(systems.h2_norm(scaled)) == pytest.approx(factor * norm, rel=1e-11)
    assert float(systems.h2_norm(scaled)) == pytest.approx(norm_in_50_digits(scaled), rel=1e-11)


@TIMES
@pytest.mark.parametrize("distance", [1e-3, 1e-8])
def test_nearly_unstable_systems_keep_the_digits_that_their_condition_leaves(discrete, distance):
    system = random_system(2, 3, discrete=discrete, margin=distance)
    # The norm changes by eps / distance when the matrices change by eps.
    assert float(systems.h2_norm(system)) == pytest.approx(norm_in_50_digits(system), rel=1e-14 / distance)


@pytest.mark.parametrize("discrete", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_derivatives_of_both_orders_in_both_modes(discrete):
    system = random_system(3, 3, discrete=discrete)
    arrays = (system.A, system.B, system.C, system.D) if discrete else (system.A, system.B, system.C)

    def norm(*arrays):
        return systems.h2_norm(dataclasses.replace(system, **dict(zip("ABCD", arrays, strict=False))))

    check_grads(norm, arrays, order=2, rtol=1e-4, atol=1e-4)  # finite differences of step 1e-4
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.grad(norm, tuple(range(len(arrays))))(*arrays))


@pytest.mark.slow
@TIMES
def test_derivatives_of_gramians(discrete):
    system = random_system(4, 2, discrete=discrete)

    def both(a, b, c):
        changed = dataclasses.replace(system, A=a, B=b, C=c)
        return systems.controllability_gramian(changed), systems.observability_gramian(changed)

    check_grads(both, (system.A, system.B, system.C), order=2, rtol=1e-4, atol=1e-4)  # as above


@TIMES
def test_one_bad_lane_leaves_the_others_alone(discrete):
    good = random_system(5, 3, discrete=discrete)
    stack = systems.stack_systems([good, dataclasses.replace(good, A=good.A + 2 * jnp.eye(3)), good])
    norms, gradients = jax.vmap(jax.value_and_grad(systems.h2_norm))(stack)
    single = jax.grad(systems.h2_norm)(good)
    assert jnp.isposinf(norms[1])
    assert bool(jnp.all(jnp.isnan(gradients.A[1])))
    np.testing.assert_allclose(norms[::2], float(systems.h2_norm(good)), rtol=1e-13)  # rounding of another layout
    np.testing.assert_allclose(gradients.A[2], single.A, rtol=1e-11, atol=1e-12)  # as above
    grams = jax.vmap(systems.controllability_gramian)(stack)
    assert bool(jnp.all(jnp.isnan(grams[1])))
    assert bool(jnp.all(jnp.isfinite(grams[::2])))


def test_float32_keeps_its_digits():
    system = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), random_system(1, 6))
    norm = systems.h2_norm(system)
    assert norm.dtype == jnp.float32
    # Some hundred roundings of 6e-8.
    assert float(norm) == pytest.approx(float(systems.h2_norm(random_system(1, 6))), rel=1e-5)


def test_edges_of_the_norm():
    silent = systems.ss([[-1.0]], [[0.0]], [[1.0]])
    assert float(systems.h2_norm(silent)) == 0
    assert all(bool(jnp.all(leaf == 0)) for leaf in jax.tree.leaves(jax.grad(systems.h2_norm)(silent)))
    assert jnp.isposinf(systems.h2_norm(systems.ss([[-1.0]], [[1.0]], [[1.0]], [[1.0]])))
    assert float(systems.h2_norm(systems.ss([[0.0]], [[1.0]], [[1.0]], [[1.0]], dt=1.0))) == pytest.approx(2**0.5)
    gain = systems.ss([], [], [], [[3.0, 4.0]], dt=1.0)
    assert float(systems.h2_norm(gain)) == 5
    assert systems.controllability_gramian(gain).shape == (0, 0)
    with pytest.raises(ValueError, match="system must be one system"):
        systems.h2_norm(systems.stack_systems([silent, silent]))
