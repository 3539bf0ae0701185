"""First derivatives against complex steps of formulas in NumPy that are analytic: no difference cancels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxlqr import systems

_STEP = 1e-30  # its square vanishes beside one: the derivative has all digits of the formula
_RNG = np.random.default_rng(0)
_A = np.array([[-1.0, 0.7, 0.0], [-0.4, -0.6, 0.3], [0.2, 0.0, -1.5]])
_B, _C = _RNG.normal(size=(3, 2)), _RNG.normal(size=(2, 3))
_DT = 0.3


def lyapunov(a, q):
    """x of a x + x a^T + q = 0, without conjugates."""
    eye = np.eye(len(a))
    return np.linalg.solve(np.kron(a, eye) + np.kron(eye, a), -q.ravel()).reshape(q.shape)


def stein(a, q):
    """x of x = a x a^T + q, without conjugates."""
    return np.linalg.solve(np.eye(a.size) - np.kron(a, a), q.ravel()).reshape(q.shape)


def h2_continuous(a, b, c):
    return np.sqrt(np.trace(c @ lyapunov(a, b @ b.T) @ c.T))


def h2_discrete(a, b, c):
    a = scipy.linalg.expm(a)
    return np.sqrt(np.trace(c @ stein(a, b @ b.T) @ c.T))


def hankel_sum(a, b, c):
    return np.sum(np.sqrt(np.linalg.eigvals(lyapunov(a, b @ b.T) @ lyapunov(a.T, c.T @ c))))


def gain(s, a, b, c):
    return c @ np.linalg.solve(s * np.eye(len(a)) - a, b)


def sampled(a, b, c):
    block = np.zeros((5, 5), dtype=np.result_type(a, b))
    block[:3, :3], block[:3, 3:] = a, b
    exponential = scipy.linalg.expm(_DT * block)[:3]
    return np.sum(np.sin(exponential[:, :3])) + np.sum(np.cos(exponential[:, 3:])) + 0 * c.sum()


def peak(a, b, c):
    """u^H G v with the singular vectors of the unperturbed peak: to first order neither they nor the peak move."""
    omega = float(systems.hinf_peak(systems.ss(_A, _B, _C)).frequency)
    u, _, v = np.linalg.svd(gain(1j * omega, _A, _B, _C))
    # Real and imaginary parts side by side: their formulas are analytic in the entries.
    eye = omega * np.eye(len(a))
    block = np.linalg.solve(np.block([[-a, -eye], [eye, -a]]), scipy.linalg.block_diag(b, b))
    left, right = u[:, 0], v[0].conj()
    parts = scipy.linalg.block_diag(c, c) @ block @ np.concatenate([right.real, right.imag])
    return np.concatenate([left.real, left.imag]) @ parts


def ours_sampled(a, b, c):
    system = systems.sample(systems.ss(a, b, c), _DT)
    return jnp.sum(jnp.sin(system.A)) + jnp.sum(jnp.cos(system.B))


CASES = {
    "h2, continuous": (lambda a, b, c: systems.h2_norm(systems.ss(a, b, c)), h2_continuous),
    "h2, discrete": (lambda a, b, c: systems.h2_norm(systems.ss(jax.scipy.linalg.expm(a), b, c, dt=1.0)), h2_discrete),
    "Hankel": (lambda a, b, c: jnp.sum(systems.hankel_singular_values(systems.ss(a, b, c))), hankel_sum),
    "gain at zero": (
        lambda a, b, c: jnp.sum(jnp.sin(systems.dc_gain(systems.ss(a, b, c)))),
        lambda a, b, c: np.sum(np.sin(gain(0.0, a, b, c))),
    ),
    "hold": (ours_sampled, sampled),
    "peak": (lambda a, b, c: systems.hinf_norm(systems.ss(a, b, c)), peak),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_complex_steps(name):
    ours, formula = CASES[name]
    arrays = (_A, _B, _C)
    value, gradients = jax.jit(jax.value_and_grad(ours, argnums=(0, 1, 2)))(*map(jnp.asarray, arrays))
    # Both values are rounded; the square of an imaginary part of 1e-30 is not seen.
    np.testing.assert_allclose(value, np.real(formula(*arrays)), rtol=1e-12)
    for k, gradient in enumerate(gradients):
        for index in np.ndindex(arrays[k].shape):
            moved = [array.astype(complex) for array in arrays]
            moved[k][index] += 1j * _STEP
            slope = np.imag(formula(*moved)) / _STEP
            # Twelve digits of the largest entry: the formulas solve systems of condition 1e2 to 1e3.
            np.testing.assert_allclose(gradient[index], slope, rtol=1e-11, atol=1e-12 * np.max(np.abs(gradient)))
