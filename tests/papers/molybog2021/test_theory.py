"""The theorems of molybog2021: what holds of them, and counterexamples to what does not."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families import scalar
from jaxlqr.lqr.closed_form import scalar_cost
from jaxlqr.meta import landscape

# Tasks whose inner step lies slightly below 1 / min C'': (a, q, r), inner step, the spurious minimum and its value.
SPURIOUS = [((0.6, 0.001, 20.0), 0.03, 0.3342, 0.112115), ((1.0, 1.0, 1.0), 0.2, 0.8740, 1.618207)]


def interval(a):
    """Gains that stabilise a scalar task with b = 1, without the ends."""
    return np.linspace(a - 1, a + 1, 4003)[1:-1].reshape(-1, 1, 1)


def curvature(gains, a, q, r):
    """C'' of a scalar task with b = sigma0 = 1, from partial fractions in x = a - k: strictly convex in the gain."""
    x = a - gains
    left, right = ((1 - a) ** 2 + q / r) / 2, ((1 + a) ** 2 + q / r) / 2
    return 2 * r * (left / (1 - x) ** 3 + right / (1 + x) ** 3)


@pytest.mark.parametrize(("task", "step", "gain", "value"), SPURIOUS)
def test_one_scalar_task_may_have_a_spurious_minimum_which_no_certificate_covers(task, step, gain, value):
    """Erratum L4: where the inner step is slightly below 1 / min C'', which is not at the optimum."""
    a, q, r = task
    tasks = scalar(a=a, q=q, r=r)
    found = landscape.stationary_points(scalar_cost, interval(a), tasks, step)
    best = float(jaxlqr.optimal_gain(jax.tree.map(lambda leaf: leaf[0], tasks))[0, 0])
    minima, values = found.params[found.minima].ravel(), found.values[found.minima]
    order = np.argsort(values)
    np.testing.assert_allclose(minima[order], [best, gain], atol=5e-5)  # gain has four digits
    assert values[order[1]] == pytest.approx(value, rel=1e-5)  # value has six
    ratios = step * curvature(minima[order], a, q, r)
    assert ratios[0] > 1  # so the optimum is no limit point of the kind that Theorem 2 asks for either
    assert ratios[1] == pytest.approx(1, abs=1e-9)  # Newton's method leaves about 1e-12
    # Rounding puts the ratio on either side of one; the point is certified on neither.
    for offset in (0.0, 1e-12, -1e-12, 1e-9, -1e-9):
        certificate = landscape.certify(scalar_cost, jnp.full((1, 1), minima[order[1]] + offset), tasks, step)
        assert bool(certificate.is_stationary & certificate.is_minimum)
        assert not bool(certificate.holds)


def test_training_ends_at_the_spurious_minimum():
    """Erratum L4: at seventy times the least value, from a start that stabilises well."""
    (a, q, r), step, gain, _ = SPURIOUS[0]
    tasks = scalar(a=a, q=q, r=r)
    result = jaxlqr.meta_train(
        scalar_cost,
        jnp.array([[0.45]]),
        tasks,
        num_steps=100,
        objective=jaxlqr.Maml(inner_step_size=step),
        outer_step_size=0.1,
    ).check()
    assert float(result.params[0, 0]) == pytest.approx(gain, abs=5e-5)  # gain has four digits
    reached = float(jaxlqr.maml_loss(scalar_cost, result.params, tasks, inner_step_size=step))
    assert reached > 70 * float(jaxlqr.maml_loss(scalar_cost, jnp.array([[5e-5]]), tasks, inner_step_size=step))


def test_theorem_2_holds_for_scalar_gains():
    """Its hypothesis at one stationary point, eta C'' < 1, excludes spurious minima, which are common without it."""
    rng = np.random.default_rng(0)
    spurious, covered = [], []
    for _ in range(40):
        a, q, r = rng.uniform(-2, 2), 10 ** rng.uniform(-3, 1), 10 ** rng.uniform(-1, 1)
        least = curvature(interval(a), a, q, r).min()
        step = rng.choice([0.5, 0.9, 0.97, 0.99]) / least
        found = landscape.stationary_points(scalar_cost, interval(a), scalar(a=a, q=q, r=r), step)
        values = found.values[found.minima]
        spurious.append(np.ptp(values) > 1e-9 * values.min())
        # A fold, where the ratio is one up to rounding, is not covered.
        covered.append(np.any(step * curvature(found.params.ravel(), a, q, r) < 1 - 1e-9))
    assert sum(spurious) > 8
    assert sum(covered) > 8
    assert not np.any(np.array(spurious) & np.array(covered))


def test_the_curvature_of_a_scalar_cost_is_that_closed_form():
    (a, q, r), gains = SPURIOUS[0][0], jnp.linspace(-0.3, 1.5, 7)
    task = jaxlqr.make_task([[a]], [[1.0]], [[q]], [[r]])
    second = jax.vmap(jax.grad(jax.grad(lambda gain: jaxlqr.cost(gain.reshape(1, 1), task))))(gains)
    np.testing.assert_allclose(second, curvature(np.asarray(gains), a, q, r), rtol=1e-10)  # rounding of a solve


def ratio(x):
    return (x - 0.3) ** 2 / (1 + (x - 0.3) ** 2)


# Global functions whose second derivative is bounded: the function, its bound M, and its least value.
BOUNDED = {"ratio": (ratio, 2.0, 0.0), "sine": (jnp.sin, 1.0, -1.0)}


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(BOUNDED, BOUNDED)))
def test_theorem_1_holds_for_losses_with_a_bounded_hessian(outer, inner):
    """f and g need not be the same; above 1 / M, where f and g differ, a spurious minimum appears."""
    (f, _, least), (g, bound, _) = BOUNDED[outer], BOUNDED[inner]
    x = jnp.linspace(-9, 9, 90001)

    def excess(step):
        h = np.asarray(jax.vmap(lambda x: f(x - step * jax.grad(g)(x)))(x))
        minima = h[1:-1][(h[1:-1] < h[:-2]) & (h[1:-1] <= h[2:])]
        assert len(minima) > 0
        return minima.max() - least

    for share in (0.5, 0.99):
        assert excess(share / bound) < 1e-7  # the grid's spacing of 2e-4 squared, times the curvature
    if outer != inner:
        assert excess(1.2 / bound) > 0.9


def excess_over_corners(value, num_dimensions, size):
    """Height of the worst local minimiser on [0, 1]^n above the least value, of a strictly concave function.

    A strictly concave function has its local minimisers among the corners. A corner is one, by the paper's Definition
    of a local minimiser, if no point of the set within ``size`` of it is lower.
    """
    corners = [np.array(corner) for corner in itertools.product((0.0, 1.0), repeat=num_dimensions)]
    moves = [np.array(move) for move in itertools.product(np.linspace(-size, size, 5), repeat=num_dimensions)]
    minimisers = [x for x in corners if all(value(x) <= value(np.clip(x + move, 0, 1)) for move in moves)]
    return max(value(x) for x in minimisers) - min(value(x) for x in corners)


def concave(slope):
    """x -> -|x|^2 + slope' x: one stationary point, slope / 2, with the Hessian -2 I, so Assumption 1 holds."""
    return lambda x: -np.sum(x**2) + np.sum(slope * x)


def test_theorem_3_and_lemma_5_fail_at_the_boundary():
    """Erratum L6: l(x, t) = -x^2 + t x on [0, 1] is global at t = 0, and 0.9-global for no t in (0, 0.1)."""
    assert excess_over_corners(concave(0.0), 1, 1e-3) == 0
    for t in (0.09, 1e-3, 1e-9):
        assert excess_over_corners(concave(t), 1, 0.1 * t) > 0.9
        # Lemma 5: so is the mean of l(., t) and of l(., t / 2), and neither is near 0-global.
        both = [concave(t), concave(t / 2)]
        assert excess_over_corners(lambda x, both=both: (both[0](x) + both[1](x)) / 2, 1, 0.1 * t) > 0.9


def test_proposition_3_fails_at_the_boundary():
    """Erratum L6: on the unit square every l(., t) with small t is 1.1-global; the mean of two of them is not."""

    def slopes(t):  # continuous in t; one of them is negative unless t is zero
        return np.array([t + abs(t) / 2, abs(t) / 2 - t])

    for t in (0.05, 1e-4):
        each = [concave(slopes(sign * t)) for sign in (1, -1)]
        assert max(excess_over_corners(one, 2, 0.01 * t) for one in each) < 1.1
        assert excess_over_corners(lambda x, each=each: (each[0](x) + each[1](x)) / 2, 2, 0.01 * t) > 1.9
