"""Hankel values, penalties and balanced reductions: against SLICOT, closed forms and bounds, and their derivatives."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlqr import systems
from tests.systems.cases import fortran, in_other_units, random_system

TIMES = pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])


def slicot_values(system):
    ctrlsys = pytest.importorskip("ctrlsys")
    a, b, c, _ = fortran(system)
    kind, boundary = ("D", 1.0) if system.is_discrete else ("C", 0.0)
    _, stable, values, info = ctrlsys.ab13ad(kind, "N", len(a), b.shape[1], len(c), boundary, a, b, c)
    assert info == 0
    assert stable == len(a)
    return values


def balanced_system(values, seed=0, dt=None):
    """A system that is balanced, with these Hankel values, in mixed coordinates, as Moore's parametrisation has it.

    For one input and output, b_i = c_i and a_ij = -b_i b_j / (sigma_i + sigma_j) make both Gramians diag(sigma); for
    equal values, one input and output for each state.
    """
    sigma = np.asarray(values, float)
    n = len(sigma)
    rng = np.random.default_rng(seed)
    b = rng.uniform(0.5, 1.5, size=(n, n)) if len(set(values)) < n else rng.uniform(0.5, 1.5, size=(n, 1))
    a = -(b @ b.T) / (sigma[:, None] + sigma[None, :])
    t = rng.normal(size=(n, n))
    return systems.ss(np.linalg.solve(t, a @ t), np.linalg.solve(t, b), b.T @ t, dt=dt)


@TIMES
def test_values_are_those_of_slicot_and_do_not_depend_on_units(discrete):
    system = random_system(3, 6, discrete=discrete)
    values = systems.hankel_singular_values(system)
    np.testing.assert_allclose(values, slicot_values(system), rtol=1e-9)  # eps times the largest beside the smallest
    scaled, factor = in_other_units(system)
    np.testing.assert_allclose(systems.hankel_singular_values(scaled), factor * values, rtol=1e-9)  # as above


def test_small_values_of_a_nearly_unobservable_system_keep_their_digits():
    sigma = [1.0, 1e-3, 1e-6, 1e-9]
    system = balanced_system(sigma)
    # The mixing of coordinates rounds to eps: relative to the values, eps times its condition over the value. Square
    # roots of eigenvalues of P Q would lose what is below 1e-8.
    np.testing.assert_allclose(systems.hankel_singular_values(system), sigma, rtol=1e-4)
    np.testing.assert_allclose(systems.hankel_singular_values(system)[:3], sigma[:3], rtol=1e-7)


@TIMES
def test_truncation_is_that_of_slicot_and_keeps_its_bound(discrete):
    ctrlsys = pytest.importorskip("ctrlsys")
    system = random_system(4, 6, 2, 2, discrete=discrete)
    a, b, c, d = fortran(system)
    kind = "D" if discrete else "C"
    ar, br, cr, _, order, _, info = ctrlsys.ab09ad(kind, "B", "N", "F", 6, 2, 2, 3, a, b, c, 0.0)
    assert (order, info) == (3, 0)
    theirs = systems.ss(ar[:3, :3], br[:3], cr[:, :3], d, dt=system.dt)
    ours = systems.balanced_truncation(system, 3)
    dc = systems.balanced_residualization(system, 3)
    # A truncated discrete system is not balanced itself: Pernebo, Silverman, IEEE Trans. Automat. Control 27 (1982).
    for reduced in (dc,) if discrete else (ours, dc):
        values = systems.hankel_singular_values(system)[:3]
        np.testing.assert_allclose(systems.controllability_gramian(reduced), np.diag(values), atol=1e-9)
        np.testing.assert_allclose(systems.observability_gramian(reduced), np.diag(values), atol=1e-9)
    points = np.exp(1j * np.linspace(0, 3, 40)) if discrete else 1j * np.logspace(-2, 2, 40)

    def response(model, s):
        a, b, c, d = fortran(model)
        return c @ np.linalg.solve(s * np.eye(len(a)) - a, b) + d

    errors = []
    for s in points:
        np.testing.assert_allclose(response(ours, s), response(theirs, s), atol=1e-10)
        errors.append([np.linalg.norm(response(system, s) - response(model, s), 2) for model in (ours, dc)])
    bound = float(systems.truncation_bound(system, 3))
    assert bound == pytest.approx(2 * np.sum(slicot_values(system)[3:]), rel=1e-9)
    assert np.max(errors) <= bound
    assert np.max(errors) > 0.1 * bound  # it is a bound of this size, not of any
    at_zero = 1.0 if discrete else 0.0
    np.testing.assert_allclose(response(dc, at_zero), response(system, at_zero), rtol=1e-9)


def along(function, system, seed=0):
    """``function`` on a line through ``system``, as a function of a number."""
    rng = np.random.default_rng(seed)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), system)
    if system.is_discrete:
        direction = dataclasses.replace(direction, dt=jnp.zeros_like(system.dt))
    return jax.jit(lambda t: function(jax.tree.map(lambda x, y: x + t * y, system, direction)))


def check_two_derivatives(function, h=1e-3):
    slope, bend = jax.jit(jax.jacfwd(function)), jax.jit(jax.jacfwd(jax.jacrev(function)))

    def difference(f):
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    # Fourth order: 1e-12 of the fifth derivative, and rounding over the step.
    np.testing.assert_allclose(slope(0.0), difference(function), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(bend(0.0), difference(slope), rtol=1e-6, atol=1e-6)
    assert np.max(np.abs(bend(0.0))) > 1e-2


def entries(system):
    return jnp.concatenate([leaf.ravel() for leaf in (system.A, system.B, system.C, system.D)])


def test_derivatives_of_values():
    check_two_derivatives(along(systems.hankel_singular_values, random_system(6, 3)))


@pytest.mark.slow
@TIMES
def test_derivatives_of_values_penalties_and_every_entry_of_reductions(discrete):
    system = random_system(6, 4, 2, 2, discrete=discrete)

    def everything(system):
        return jnp.concatenate(
            [
                systems.hankel_singular_values(system),
                jnp.stack([systems.hankel_tail(system, 2), systems.hankel_log_det(system, 0.5)]),
                entries(systems.balanced_truncation(system, 2)),
                entries(systems.balanced_residualization(system, 2)),
            ]
        )

    check_two_derivatives(along(everything, system), h=1e-4 if discrete else 1e-3)


@pytest.mark.slow
def test_penalties_have_both_derivatives_where_values_are_equal():
    system = balanced_system([2.0, 1.0, 1.0])
    np.testing.assert_allclose(systems.hankel_singular_values(system), [2.0, 1.0, 1.0], rtol=1e-10)

    def penalties(system):
        return jnp.stack(
            [systems.hankel_nuclear_norm(system), systems.hankel_tail(system, 1), systems.hankel_log_det(system, 0.5)]
        )

    check_two_derivatives(along(penalties, system), h=1e-4)


def test_penalties_have_derivatives_where_values_are_zero():
    hidden = systems.ss([[-1.0, 0.0], [0.0, -2.0]], [[1.0], [1.0]], [[1.0, 0.0]])
    h = 1e-5
    for penalty in (systems.hankel_nuclear_norm, lambda system: systems.hankel_log_det(system, 0.1)):
        gradient = jax.grad(penalty)(hidden)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
        up, down = (dataclasses.replace(hidden, C=jnp.array([[1.0, move]])) for move in (h, -h))
        # The difference of both sides: |move| of the value that was zero, the kink, cancels in it.
        difference = (penalty(up) - penalty(down)) / (2 * h)
        assert float(gradient.C[0, 1]) == pytest.approx(float(difference), rel=1e-6)
        assert abs(float(difference)) > 0.01
    zero = systems.ss([[-1.0]], [[0.0]], [[0.0]])
    gradients = jax.tree.leaves(jax.grad(systems.hankel_nuclear_norm)(zero))
    assert all(bool(jnp.all(leaf == 0)) for leaf in gradients)


def test_no_reduction_is_made_up():
    hidden = systems.ss([[-1.0, 0.0], [0.0, -2.0]], [[1.0], [1.0]], [[1.0, 0.0]], outputs=["y"], states=["a", "b"])
    with pytest.raises(RuntimeError, match="NO_FINITE_SYSTEM"):
        systems.balanced_truncation(hidden, 2).check()
    one = systems.balanced_truncation(hidden, 1).check()
    assert one.outputs == ("y",)
    assert one.states is None
    unstable = dataclasses.replace(hidden, A=-hidden.A)
    assert bool(jnp.all(jnp.isnan(systems.balanced_truncation(unstable, 1).A)))
    assert bool(jnp.all(jnp.isnan(systems.hankel_singular_values(unstable))))
    assert jnp.isposinf(systems.truncation_bound(unstable, 1))
    assert jnp.isposinf(systems.hankel_log_det(unstable, 1.0))
    with pytest.raises(ValueError, match="order must be at most the number of states, 2, got 3"):
        systems.balanced_truncation(hidden, 3)
    with pytest.raises(ValueError, match="order must be an integer"):
        systems.hankel_tail(hidden, 0)


def test_a_penalty_makes_a_system_small():
    """Training with a penalty on the Hankel values after the second leaves a system of two states, nearly the same."""
    sigma = np.array([1.0, 0.5, 0.02, 0.01])
    b = np.ones((4, 1))
    system = systems.ss(-(b @ b.T) / (sigma[:, None] + sigma[None, :]), b, b.T)
    optimizer = optax.adam(0.03)

    def loss(c):
        error = systems.h2_norm(dataclasses.replace(system, C=c - system.C))
        return error**2 + 2 * systems.hankel_tail(dataclasses.replace(system, C=c), 2)

    @jax.jit
    def train(c):
        def step(carry, _):
            c, state = carry
            updates, state = optimizer.update(jax.grad(loss)(c), state)
            return (optax.apply_updates(c, updates), state), None

        return jax.lax.scan(step, (c, optimizer.init(c)), None, length=60)[0][0]

    small = dataclasses.replace(system, C=train(system.C))
    assert float(systems.hankel_tail(small, 2)) < 0.5 * float(systems.hankel_tail(system, 2))
    error = systems.h2_norm(dataclasses.replace(system, C=small.C - system.C))
    assert float(error) < 0.3 * float(systems.h2_norm(system))


def test_float32_and_lanes():
    good = random_system(3, 6)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), good)
    values = systems.hankel_singular_values(single)
    assert values.dtype == jnp.float32
    exact = systems.hankel_singular_values(good)
    np.testing.assert_allclose(values, exact, atol=1e-5 * float(exact[0]))  # a hundred roundings of the largest
    stack = systems.stack_systems([good, dataclasses.replace(good, A=-good.A)])
    lanes = jax.vmap(systems.hankel_singular_values)(stack)
    np.testing.assert_allclose(lanes[0], exact, rtol=1e-9)  # as above
    assert bool(jnp.all(jnp.isnan(lanes[1])))


@pytest.mark.slow
@TIMES
@pytest.mark.parametrize("n", [1, 20, 60, 200])
def test_values_of_all_sizes(n, discrete):
    system = random_system(8, n, 3, 2, discrete=discrete)
    ours, theirs = systems.hankel_singular_values(system), slicot_values(system)
    np.testing.assert_allclose(ours, theirs, atol=1e-11 * float(ours[0]))  # small values are rounding of the largest
