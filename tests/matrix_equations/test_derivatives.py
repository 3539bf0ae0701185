"""Derivatives of every solver in every argument, of order one and two, against finite differences and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxlqr


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def with_radius(a, radius):
    return a * (radius / np.max(np.abs(np.linalg.eigvals(a))))


A = with_radius(normal(0, 3, 3), 0.8)
HURWITZ = normal(1, 3, 3) - 3.5 * jnp.eye(3)
B, E, S = normal(2, 3, 2), jnp.eye(3) + 0.2 * normal(3, 3, 3), 0.1 * normal(4, 3, 2)
Q, R = jnp.diag(jnp.array([1.0, 2.0, 3.0])), jnp.array([[2.0, 0.3], [0.3, 1.0]])
SINGULAR_R = jnp.array([[1.0, 1.0], [1.0, 1.0]])


def discrete_are(a, b, q, r, e, s):
    return jaxlqr.solve_discrete_are(a, b, q, r, e, s)


def continuous_are(a, b, q, r, e, s):
    return jaxlqr.solve_continuous_are(a, b, q, r, e, s)


PROBLEMS = {
    "discrete Lyapunov, stable": (jaxlqr.solve_discrete_lyapunov, (A, normal(5, 3, 3))),
    "discrete Lyapunov, unstable": (jaxlqr.solve_discrete_lyapunov, (3.0 * A, normal(5, 3, 3))),
    "discrete Lyapunov, near marginal": (jaxlqr.solve_discrete_lyapunov, (A * (0.999 / 0.8), Q)),
    "discrete Lyapunov, kronecker": (
        functools.partial(jaxlqr.solve_discrete_lyapunov, method="kronecker"), (A, normal(5, 3, 3))),
    "continuous Lyapunov, stable": (jaxlqr.solve_continuous_lyapunov, (HURWITZ, normal(5, 3, 3))),
    "continuous Lyapunov, unstable": (jaxlqr.solve_continuous_lyapunov, (HURWITZ + 3.7 * jnp.eye(3), normal(5, 3, 3))),
    "Sylvester": (jaxlqr.solve_sylvester, (normal(6, 3, 3), normal(7, 2, 2), normal(8, 3, 2))),
    "discrete Riccati": (discrete_are, (2 * A, B, Q, R, E, S)),
    "discrete Riccati, singular R": (discrete_are, (2 * A, B, Q, SINGULAR_R, E, S)),
    "continuous Riccati": (continuous_are, (HURWITZ + 3 * jnp.eye(3), B, Q, R, E, S)),
    "discrete gain": (lambda *args: jaxlqr.discrete_lqr(*args).gain, (2 * A, B, Q, R, S)),
    "continuous gain": (lambda *args: jaxlqr.continuous_lqr(*args).gain, (HURWITZ + 3 * jnp.eye(3), B, Q, R, S)),
}  # fmt: skip
# All orders in all arguments compile for some ten seconds a problem.
FAST = ("discrete Lyapunov, stable", "continuous Lyapunov, stable")
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in PROBLEMS]


def scalar(name):
    """A generic linear functional of the solution, and the arguments."""
    solve, args = PROBLEMS[name]
    weights = normal(20, *jax.eval_shape(solve, *args).shape)
    return (lambda *args: jnp.sum(weights * solve(*args))), args


def directions(args):
    return tuple(normal(30 + i, *arg.shape) for i, arg in enumerate(args))


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives_against_differences(name):
    f, args = scalar(name)
    u, v = directions(args), directions(args[::-1])[::-1]
    gradient = jax.jit(jax.grad(f, argnums=tuple(range(len(args)))))
    value_at = jax.jit(f)

    def inner(x, y):
        return sum(float(jnp.sum(a * b)) for a, b in zip(x, y, strict=True))

    def moved(h):
        return tuple(a + h * d for a, d in zip(args, u, strict=True))

    g = gradient(*args)
    # Five-point differences: the error is h^4 times the fifth derivative plus eps / h; both are below 1e-8 of the
    # value unless the equation is nearly singular, so h follows the distance to that.
    h = 1e-4 if "near marginal" in name else 2e-3
    h = h / max(1.0, max(float(jnp.linalg.norm(d)) for d in u))
    points = [moved(k * h) for k in (-2, -1, 1, 2)]
    weights = np.array([1, -8, 8, -1]) / (12 * h)
    first = float(np.dot(weights, [value_at(*p) for p in points]))
    np.testing.assert_allclose(inner(g, u), first, rtol=2e-5)
    second = float(np.dot(weights, [inner(gradient(*p), v) for p in points]))

    def along_v(*x):
        return jax.jvp(f, x, v)[1]

    everything = tuple(range(len(args)))
    forward_over_reverse = jax.jit(lambda x: jax.jvp(jax.grad(f, argnums=everything), x, u)[1])(args)
    reverse_over_forward = jax.jit(jax.grad(along_v, argnums=everything))(*args)
    reverse_over_reverse = jax.jit(
        jax.grad(
            lambda *x: sum(jnp.sum(a * b) for a, b in zip(jax.grad(f, everything)(*x), v, strict=True)), everything
        )
    )(*args)
    np.testing.assert_allclose(inner(forward_over_reverse, v), second, rtol=2e-5)
    # The three orders are different programs for the same number: they agree to rounding times the conditioning.
    np.testing.assert_allclose(inner(reverse_over_forward, u), inner(forward_over_reverse, v), rtol=1e-9)
    np.testing.assert_allclose(inner(reverse_over_reverse, u), inner(forward_over_reverse, v), rtol=1e-9)
    for index, leaf in enumerate(g):
        assert float(jnp.linalg.norm(leaf)) > 1e-3, f"the gradient in argument {index} is zero"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["discrete Lyapunov, stable", "Sylvester", "discrete Riccati", "continuous Riccati"])
def test_check_grads_both_modes(name):
    solve, args = PROBLEMS[name]
    check_grads(solve, args, order=2, modes=["fwd", "rev"], rtol=1e-4)  # JAX's own differences have step 1e-5


@pytest.mark.cpu
def test_discrete_lyapunov_gradient_is_the_adjoint_equation():
    q, weights = normal(5, 3, 3), normal(6, 3, 3)
    a_bar, q_bar = jax.grad(lambda a, q: jnp.sum(weights * jaxlqr.solve_discrete_lyapunov(a, q)), (0, 1))(A, q)
    # y = a' y a + w; then the gradient in q is y and the one in a is y a x' + y' a x.
    y = jaxlqr.solve_discrete_lyapunov(A.T, weights, method="schur")
    x = jaxlqr.solve_discrete_lyapunov(A, q, method="schur")
    np.testing.assert_allclose(q_bar, y, rtol=1e-12)
    np.testing.assert_allclose(a_bar, y @ A @ x.T + y.T @ A @ x, rtol=1e-11)


@pytest.mark.cpu
def test_discrete_riccati_tangent_is_a_closed_loop_lyapunov_equation():
    a, dq = 2 * A, Q + 0.3
    x, dx = jax.jvp(lambda q: jaxlqr.solve_discrete_are(a, B, q, R), (Q,), (dq,))
    gain = np.linalg.solve(R + B.T @ x @ B, B.T @ x @ a)
    closed = a - B @ gain
    np.testing.assert_allclose(dx, jaxlqr.solve_discrete_lyapunov(closed.T, dq, method="schur"), rtol=1e-10)


def test_derivatives_are_right_for_asymmetric_perturbations():
    """The gradient in q and r of a function of their Hermitian parts is symmetric."""
    gradients = jax.grad(lambda q, r: jnp.sum(normal(9, 3, 3) * discrete_are(2 * A, B, q, r, E, S)), (0, 1))(Q, R)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, gradient.T, atol=1e-12 * float(jnp.max(jnp.abs(gradient))))


COMPLEX = A + 0.3j * normal(10, 3, 3)


@pytest.mark.parametrize(
    ("solve", "args"),
    [
        (jaxlqr.solve_discrete_lyapunov, (COMPLEX, normal(5, 3, 3) + 1j * normal(11, 3, 3))),
        (jaxlqr.solve_sylvester, (COMPLEX, COMPLEX[:2, :2] + 2, normal(12, 3, 2) + 0j)),
        (jaxlqr.solve_discrete_are, (2 * COMPLEX, B + 0.5j, Q + 0j, R + 0j)),
        pytest.param(jaxlqr.solve_continuous_are, (COMPLEX, B + 0.5j, Q + 0j, R + 0j), marks=pytest.mark.slow),
    ],
    ids=["discrete Lyapunov", "Sylvester", "discrete Riccati", "continuous Riccati"],
)
def test_complex_derivatives(solve, args):
    tangents = tuple(normal(40 + i, *x.shape) + 1j * normal(50 + i, *x.shape) for i, x in enumerate(args))
    weights = normal(60, *args[-1].shape if len(args) == 3 else (3, 3))

    def f(*args):
        return jnp.sum(weights * jnp.abs(solve(*args)) ** 2)

    _, slope = jax.jit(lambda x, t: jax.jvp(f, x, t))(args, tangents)
    h = 1e-5  # central differences: h^2 from truncation, eps / h from rounding, both 1e-10
    above, below = (jax.jit(f)(*(x + sign * h * t for x, t in zip(args, tangents, strict=True))) for sign in (1, -1))
    np.testing.assert_allclose(slope, (above - below) / (2 * h), rtol=1e-6)
    gradient = jax.jit(jax.grad(f, argnums=tuple(range(len(args)))))(*args)
    # JAX's convention for real f of complex z: df = Re sum(gradient * dz).
    reverse = sum(float(jnp.sum((g * t).real)) for g, t in zip(gradient, tangents, strict=True))
    np.testing.assert_allclose(reverse, slope, rtol=1e-9)


INFEASIBLE = {
    "discrete Lyapunov, stable": (jnp.eye(3), Q),
    "Sylvester": (jnp.eye(3), -jnp.eye(2), normal(8, 3, 2)),
    "discrete Riccati": (2 * jnp.eye(3), 0 * B, Q, R, E, S),
    "continuous Riccati": (2 * jnp.eye(3), 0 * B, Q, R, E, S),
}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in INFEASIBLE]
)
def test_an_infeasible_lane_touches_no_other(name):
    f, good = scalar(name)
    everything = tuple(range(len(good)))
    lanes = [good, INFEASIBLE[name], tuple(1.01 * x for x in good)]
    stacked = tuple(jnp.stack(parts) for parts in zip(*lanes, strict=True))
    feasible = tuple(jnp.stack([x, y]) for x, y in zip(lanes[0], lanes[2], strict=True))

    def second(*args):
        return jax.jvp(jax.grad(f, argnums=everything), args, directions(args))[1]

    for transform in (f, jax.grad(f, argnums=everything), second):
        batched = jax.jit(jax.vmap(transform))
        for leaf, reference in zip(
            jax.tree.leaves(batched(*stacked)), jax.tree.leaves(batched(*feasible)), strict=True
        ):
            assert bool(jnp.all(jnp.isnan(leaf[1])))
            # Another batch size is another program: equal to rounding. Bit equality for one size is tested in
            # test_batches.py.
            np.testing.assert_allclose(leaf[jnp.array([0, 2])], reference, rtol=1e-9, atol=1e-12)
