"""Connections against python-control, in loops that are singular or badly scaled, with derivatives."""

import dataclasses

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlqr import SolveStatus, systems

RNG = np.random.default_rng(0)


def random_system(n, m, p, **options):
    a = RNG.standard_normal((n, n)) - 2 * np.eye(n)
    return systems.ss(
        a, RNG.standard_normal((n, m)), RNG.standard_normal((p, n)), RNG.standard_normal((p, m)), **options
    )


ONE, TWO, THREE = random_system(3, 2, 2), random_system(2, 2, 2), random_system(1, 2, 2)
PLANT, CONTROLLER = random_system(3, 3, 4), random_system(2, 2, 1)
GAIN = RNG.standard_normal((2, 2))
HERE = systems.to_control
CASES = {
    "series": (lambda: systems.series(ONE, TWO, THREE), lambda: control.series(HERE(ONE), HERE(TWO), HERE(THREE))),
    "parallel": (lambda: systems.parallel(ONE, TWO), lambda: control.parallel(HERE(ONE), HERE(TWO))),
    "append": (lambda: systems.append(ONE, CONTROLLER), lambda: control.append(HERE(ONE), HERE(CONTROLLER))),
    "feedback": (lambda: systems.feedback(ONE, TWO), lambda: control.feedback(HERE(ONE), HERE(TWO))),
    "positive": (lambda: systems.feedback(ONE, TWO, sign=1), lambda: control.feedback(HERE(ONE), HERE(TWO), 1)),
    "unity": (lambda: systems.feedback(ONE), lambda: control.feedback(HERE(ONE), np.eye(2))),
    "gain": (lambda: systems.feedback(ONE, GAIN), lambda: control.feedback(HERE(ONE), control.ss([], [], [], GAIN))),
    "gain ahead": (lambda: systems.series(GAIN, ONE), lambda: control.series(control.ss([], [], [], GAIN), HERE(ONE))),
    "lft": (lambda: systems.lft(PLANT, CONTROLLER), lambda: HERE(PLANT).lft(HERE(CONTROLLER))),
    "lft, gain": (lambda: systems.lft(PLANT, GAIN[:1]), lambda: HERE(PLANT).lft(control.ss([], [], [], GAIN[:1]))),
}


@pytest.mark.parametrize("name", CASES)
def test_connections_are_those_of_control(name):
    mine, theirs = CASES[name][0](), CASES[name][1]()
    points = [0.3 + 0.7j, 2.0 - 1.5j, 5j]
    for point in points:
        a, b, c, d = (np.asarray(leaf) for leaf in (mine.A, mine.B, mine.C, mine.D))
        value = c @ np.linalg.solve(point * np.eye(len(a)) - a, b) + d
        np.testing.assert_allclose(value, theirs(point, squeeze=False), rtol=1e-11, atol=1e-11)
    assert mine.num_states == theirs.nstates
    assert int(mine.status) == 0


def test_names_survive_connections():
    plant = dataclasses.replace(ONE, states=("a", "b", "c"), inputs=("u", "v"), outputs=("y", "z"))
    other = dataclasses.replace(TWO, states=("d", "e"), inputs=("y", "z"), outputs=("p", "q"))
    assert systems.series(plant, other).outputs == ("p", "q")
    assert systems.series(plant, other).states == ("a", "b", "c", "d", "e")
    assert systems.feedback(plant, GAIN).states == ("a", "b", "c")
    assert systems.append(plant, other).inputs == ("u", "v", "y", "z")
    assert systems.append(plant, plant).inputs is None
    assert systems.parallel(plant, TWO).inputs == ("u", "v")
    assert systems.lft(dataclasses.replace(PLANT, inputs=("w1", "w2", "u")), CONTROLLER).inputs == ("w1", "w2")


def static(d):
    d = np.asarray(d, float)
    return systems.ss([[-1.0]], np.ones((1, d.shape[1])), np.ones((d.shape[0], 1)), d)


UNITS = np.array([[1e6, 1.0, 1e-6]])
SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, -1.0, 0.5], [4.0, 3.0, 6.5]]) / 7  # I - D is singular below
LOOPS = {
    "one": (static([[1.0]]), [[1.0]], True),
    "nearly one": (static([[1.0]]), [[1.0 + 1e-9]], False),
    "rank": (static(np.eye(3) - SINGULAR), np.eye(3), True),
    "rank, other units": (static((np.eye(3) - SINGULAR) * UNITS.T / UNITS), np.eye(3), True),
    "regular, other units": (static((np.eye(3) + np.ones((3, 3))) * UNITS.T / UNITS), np.eye(3) / 2, False),
    # The gain of 1e12 makes I - D2 D1 large, not singular.
    "large": (static([[1e12]]), [[1.0]], False),
    "large and small": (static(np.diag([1e12, 1e-12])), np.eye(2), False),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_singular_loop_is_nan_and_says_so_in_all_units(name):
    first, second, singular = LOOPS[name]
    loop = systems.feedback(first, second, sign=1)
    assert bool(loop.status) == singular
    if not singular:
        assert loop.check() is loop
        return
    assert np.isnan(loop.A).all()
    with pytest.raises(RuntimeError, match="algebraic loop is singular"):
        loop.check()


def test_a_singular_lane_spoils_no_other_and_no_derivative():
    plant = static([[1.0]])

    def total(gain):
        loop = systems.feedback(plant, gain[None, None], sign=1)
        return jnp.sum(loop.A) + jnp.sum(loop.D), loop.status

    (values, status), slopes = jax.vmap(jax.value_and_grad(total, has_aux=True))(jnp.array([1.0, 0.5, 3.0]))
    assert status.tolist() == [SolveStatus.NO_FINITE_SYSTEM, 0, 0]
    assert np.isfinite(values).tolist() == [False, True, True]
    np.testing.assert_allclose(slopes[1], 8.0, rtol=1e-14)  # of A = -1 + g / (1 - g) and D = 1 / (1 - g)


@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_derivatives_in_both_modes(order):
    def all_of_them(one, two, plant):
        connected = systems.series(systems.feedback(one, two), systems.parallel(one, two))
        return jax.tree.leaves([connected, systems.lft(plant, two)])

    # Smaller, so that no algebraic loop is nearly singular and central differences have digits.
    arguments = jax.tree.map(lambda leaf: 0.3 * leaf, (THREE, TWO, random_system(1, 3, 3)))
    check_grads(jax.jit(all_of_them), arguments, order=order, modes=("fwd", "rev"), rtol=1e-4, atol=1e-4)


def test_a_stack_is_a_loop_and_float32_stays():
    gains = jnp.asarray(RNG.standard_normal((3, 2, 2)))
    stack = jax.vmap(lambda gain: systems.feedback(ONE, gain))(gains)
    for i, gain in enumerate(gains):
        np.testing.assert_allclose(stack.A[i], systems.feedback(ONE, gain).A, rtol=1e-12)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (ONE, TWO))
    mine = systems.feedback(*single)
    assert mine.A.dtype == jnp.float32
    np.testing.assert_allclose(mine.A, systems.feedback(ONE, TWO).A, rtol=1e-4, atol=1e-5)  # a condition of ten


def test_sampling_times_must_agree():
    here, there = random_system(1, 1, 1, dt=0.3), random_system(1, 1, 1, dt=0.2)
    assert float(systems.series(here, dataclasses.replace(here, dt=jnp.asarray(0.1 * 3))).dt) == 0.3
    with pytest.raises(ValueError, match=r"one sampling time, got 0.3 and 0.2"):
        systems.series(here, there)
    joined = jax.jit(systems.series)(here, there)
    assert int(joined.status) == SolveStatus.NO_FINITE_SYSTEM
    assert int(jax.jit(systems.series)(here, here).status) == 0


REFUSED = {
    "domains": (lambda: systems.series(ONE, random_system(1, 2, 2, dt=0.1)), "one time domain, got continuous"),
    "series": (lambda: systems.series(PLANT, ONE), "second must have as many inputs as first has outputs, 4, got 2"),
    "parallel": (lambda: systems.parallel(PLANT, ONE), r"as many outputs and inputs as first, \(4, 3\)"),
    "feedback": (lambda: systems.feedback(PLANT, ONE), "second must have 4 inputs and 3 outputs"),
    "sign": (lambda: systems.feedback(ONE, TWO, sign=2), "sign must be -1 or 1, got 2"),
    "lft": (lambda: systems.lft(ONE, TWO), "controller must have fewer outputs and inputs"),
    "matrices only": (lambda: systems.series(GAIN, GAIN), "at least one StateSpace"),
    "a vector": (lambda: systems.series(ONE, np.ones(2)), r"a static gain must be a matrix .* got shape \(2,\)"),
    "text": (lambda: systems.series(ONE, "gain"), "a part must be a StateSpace or a matrix, got str"),
    "a stack": (lambda: systems.series(systems.stack_systems([ONE, ONE]), TWO), "must be one system.*jax.vmap"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_get_one_sentence(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
