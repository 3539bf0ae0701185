"""Both costs against the linear fractional transformation, SciPy, the state-feedback cost and simulation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxlqr
from jaxlqr import feedback, systems
from tests.feedback.cases import lqg_matrices, random_plant, stabilising

TIMES = pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])


def gramian_cost(controller, plant):
    """tr(C P C' + D D') of the closed loop of ``systems.lft``, by SciPy."""
    loop = systems.lft(plant.system, controller)
    a, b, c, d = (np.asarray(leaf) for leaf in (loop.A, loop.B, loop.C, loop.D))
    if plant.is_discrete:
        return np.trace(c @ scipy.linalg.solve_discrete_lyapunov(a, b @ b.T) @ c.T) + np.sum(d**2)
    return np.trace(c @ scipy.linalg.solve_continuous_lyapunov(a, -b @ b.T) @ c.T)


@TIMES
def test_costs_of_dynamic_controllers(discrete):
    plant = random_plant(0, discrete=discrete)
    controller = stabilising(plant)
    assert feedback.h2_cost(controller, plant) == pytest.approx(gramian_cost(controller, plant), rel=1e-11)  # roundings
    loop = systems.lft(plant.system, controller)
    assert feedback.hinf_cost(controller, plant) == pytest.approx(float(systems.hinf_norm(loop)), rel=1e-11)
    closed = feedback.closed_loop(controller, plant)
    for name in "ABCD":
        np.testing.assert_allclose(getattr(closed, name), getattr(loop, name), rtol=1e-12, atol=1e-13)  # roundings


@TIMES
def test_costs_of_gains(discrete):
    plant = random_plant(1, p=3, discrete=discrete, direct=discrete)
    square = dataclasses.replace(plant, C2=jnp.eye(3))
    gain = jaxlqr.discrete_lqr if discrete else jaxlqr.continuous_lqr
    best = gain(plant.A, plant.B2, plant.C1.T @ plant.C1, plant.D12.T @ plant.D12, plant.C1.T @ plant.D12).gain
    value = feedback.h2_cost(best, square)
    assert value == pytest.approx(gramian_cost(-best, square), rel=1e-11)  # roundings
    expected = systems.hinf_norm(systems.lft(square.system, -best))
    assert feedback.hinf_cost(best, square) == pytest.approx(float(expected), rel=1e-11)


def test_state_feedback_is_the_cost_of_a_task():
    a, b, _, q, r, sigma, _ = lqg_matrices(2)
    task = jaxlqr.LQRTask(*map(jnp.asarray, (a, b, q, r, sigma)))
    plant = feedback.lqg_plant(a, b, np.eye(3), q, r, sigma, np.zeros((3, 3)), dt=1.0)
    gain = jaxlqr.optimal_gain(task) * 0.9
    ours, slope = jax.value_and_grad(feedback.h2_cost)(gain, plant)
    theirs, expected = jax.value_and_grad(jaxlqr.cost)(gain, task)
    assert ours == pytest.approx(float(theirs), rel=1e-13)  # the factors of Q, R and Sigma0 are rounded
    np.testing.assert_allclose(slope, expected, rtol=1e-11, atol=1e-12 * float(theirs))
    running = feedback.lqg_plant(a - np.eye(3), b, np.eye(3), q, r, sigma, np.zeros((3, 3)))
    continuous = dataclasses.replace(task, A=task.A - jnp.eye(3))
    assert feedback.h2_cost(gain, running) == pytest.approx(
        float(jaxlqr.lqr.continuous_cost(gain, continuous)), rel=1e-12
    )


def test_the_cost_is_the_average_of_a_simulation_with_a_cross_penalty():
    a, b, c, q, r, w, v = lqg_matrices(3, n=2, m=1, p=1)
    cross = 0.02 * np.ones((2, 1))
    plant = feedback.lqg_plant(0.5 * a, b, c, q, r, w, v, N=cross, dt=1.0)
    gain, steps, lanes = np.array([[0.05]]), 400, 2000
    rng = np.random.default_rng(0)
    x, total = np.zeros((lanes, 2)), np.zeros(lanes)
    for step in range(steps):
        noise = rng.multivariate_normal(np.zeros(1), v, lanes)
        u = -(x @ c.T + noise) @ gain.T
        if step >= 50:  # the transient has decayed below the standard error
            total += np.einsum("ti,ij,tj->t", x, q, x) + np.einsum("ti,ij,tj->t", u, r, u)
            total += 2 * np.einsum("ti,ij,tj->t", x, cross, u)
        x = x @ (0.5 * a).T + u @ b.T + rng.multivariate_normal(np.zeros(2), w, lanes)
    means = total / (steps - 50)
    error = means.std() / np.sqrt(lanes)
    value = float(feedback.h2_cost(jnp.asarray(gain), plant))
    assert error < 0.01 * value  # a bias of 5 % is five standard errors
    assert abs(means.mean() - value) < 5 * error


@pytest.mark.parametrize(
    ("name", "discrete"),
    [
        ("h2_cost", False),
        ("h2_cost", True),
        pytest.param("hinf_cost", False, marks=pytest.mark.slow),
        pytest.param("hinf_cost", True, marks=pytest.mark.slow),
    ],
)
def test_derivatives(name, discrete):
    """Along a direction in which all matrices move, both modes and both orders of second derivatives, in one
    program."""
    plant = random_plant(4, n=2, m=1, p=1, r=2, q=2, discrete=discrete)
    controller, cost = stabilising(plant), getattr(feedback, name)
    parts = ("A", "B1", "B2", "C1", "C2", "D12", "D21") + (("D11",) if discrete else ())
    inputs = {name: getattr(plant, name) for name in parts}
    matrices = {name: getattr(controller, name) for name in ("A", "B", "C") + (("D",) if discrete else ())}
    rng = np.random.default_rng(0)
    at = (matrices, inputs)
    along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), at)

    def along_line(t):
        moved, other = jax.tree.map(lambda leaf, step: leaf + t * step, at, along)
        return cost(dataclasses.replace(controller, **moved), dataclasses.replace(plant, **other))

    def forward(t):
        return jax.jvp(along_line, (t,), (jnp.ones_like(t),))[1]

    @jax.jit
    def everything(t):
        first, second = jax.value_and_grad(forward)(t)
        value, slope = jax.value_and_grad(along_line)(t)
        bend = jax.jvp(jax.grad(along_line), (t,), (jnp.ones_like(t),))[1]
        return value, jnp.stack([slope, first]), jnp.stack([bend, second])

    step = 1e-4
    values, slopes, _ = zip(*(everything(jnp.array(t)) for t in (-step, step)), strict=True)
    value, slope, bend = everything(jnp.array(0.0))
    scale = abs(float(value))
    np.testing.assert_allclose(slope, (values[1] - values[0]) / (2 * step), rtol=1e-5, atol=1e-6 * scale)  # step^2
    np.testing.assert_allclose(bend, (slopes[1][0] - slopes[0][0]) / (2 * step), rtol=1e-5, atol=1e-5 * scale)
    leaves = jax.grad(lambda m, i: cost(dataclasses.replace(controller, **m), dataclasses.replace(plant, **i)), (0, 1))(
        *at
    )
    assert all(float(jnp.max(jnp.abs(leaf))) > 0 for leaf in jax.tree.leaves(leaves))


@TIMES
def test_a_stack_is_a_loop_and_an_unstable_lane_disturbs_no_other(discrete):
    plants = [random_plant(seed, discrete=discrete) for seed in (5, 6)]
    controllers = [stabilising(plant) for plant in plants]
    controllers.append(dataclasses.replace(controllers[0], A=controllers[0].A + 50 * jnp.eye(3)))
    stack = feedback.stack_plants([*plants, plants[0]])
    lanes = systems.stack_systems(controllers)
    for cost in (feedback.h2_cost, feedback.hinf_cost):
        values, slopes = jax.vmap(jax.value_and_grad(cost))(lanes, stack)
        expected = [float(cost(c, p)) for c, p in zip(controllers, plants, strict=False)]
        np.testing.assert_allclose(values[:2], expected, rtol=1e-11)  # another order of sums
        assert values[2] == jnp.inf
        assert all(bool(jnp.all(jnp.isfinite(slopes.A[i])) == (i < 2)) for i in range(3))


@TIMES
def test_units_change_nothing(discrete):
    plant = random_plant(7, discrete=discrete)
    controller = stabilising(plant)
    rng = np.random.default_rng(0)
    x, u, y = (10.0 ** rng.integers(-9, 7, size) for size in (3, 2, 2))
    scaled = dataclasses.replace(
        plant,
        A=plant.A * x[None, :] / x[:, None],
        B1=plant.B1 / x[:, None],
        B2=plant.B2 * u[None, :] / x[:, None],
        C1=plant.C1 * x[None, :],
        C2=plant.C2 * x[None, :] / y[:, None],
        D12=plant.D12 * u[None, :],
        D21=plant.D21 / y[:, None],
    )
    other = dataclasses.replace(
        controller, B=controller.B * y[None, :], C=controller.C / u[:, None], D=controller.D * y[None, :] / u[:, None]
    )
    for cost in (feedback.h2_cost, feedback.hinf_cost):
        assert cost(other, scaled) == pytest.approx(
            float(cost(controller, plant)), rel=1e-8
        )  # n roundings, condition 1e3


def test_float32():
    double = random_plant(8, discrete=True)
    single = random_plant(8, discrete=True, dtype=jnp.float32)
    controller = stabilising(double)
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), controller)
    for cost in (feedback.h2_cost, feedback.hinf_cost):
        value = cost(rounded, single)
        assert value.dtype == jnp.float32
        assert value == pytest.approx(float(cost(controller, double)), rel=1e-4)  # the loop is near the boundary
    with pytest.raises(TypeError, match=r"controller must have the precision of the plant, float64, got float32"):
        feedback.h2_cost(rounded, double)


def test_noise_that_reaches_the_penalised_outputs_at_once_is_infinite_in_continuous_time_only():
    one = jnp.ones((1, 1))
    for dt, finite in ((None, False), (1.0, True)):
        plant = feedback.lqg_plant(0 * one - 0.5, one, one, one, one, one, one, dt=dt)
        assert bool(jnp.isfinite(feedback.h2_cost(0.1 * one, plant))) == finite
        assert jnp.isfinite(feedback.h2_cost(0 * one, plant))
        assert jnp.isfinite(feedback.hinf_cost(0.1 * one, plant))
    # D11 that the controller cancels: the rounding of 0.1 * 0.3 is no noise.
    plant = feedback.generalized_plant(-one, one, one, one, one, 0.1 * 0.3 * one, 0.1 * one, one)
    assert jnp.isfinite(feedback.h2_cost(0.3 * one, plant))


@TIMES
def test_the_discount_is_a_weighted_sum(discrete):
    plant = random_plant(9, discrete=discrete)
    controller, rate = stabilising(plant), 0.8
    loop = feedback.closed_loop(controller, plant)
    a, b, c, d = (np.asarray(leaf) for leaf in (loop.A, loop.B, loop.C, loop.D))
    if discrete:
        q = scipy.linalg.solve_discrete_lyapunov(np.sqrt(rate) * a, b @ b.T)
        expected = np.trace(c @ q @ c.T) + np.sum(d**2)
    else:
        shifted = a + np.log(rate) / 2 * np.eye(len(a))
        expected = np.trace(c @ scipy.linalg.solve_continuous_lyapunov(shifted, -b @ b.T) @ c.T)
    assert feedback.h2_cost(controller, plant, discount=rate) == pytest.approx(expected, rel=1e-11)  # roundings
    assert jnp.isfinite(feedback.h2_cost(jnp.zeros((2, 2)), plant, discount=0.5))  # the plant itself is unstable
    assert feedback.h2_cost(jnp.zeros((2, 2)), plant) == jnp.inf


def test_mistakes():
    plant = random_plant(10, discrete=True)
    controller = stabilising(plant)
    one = np.ones((1, 1))
    faults = [
        (
            lambda: feedback.generalized_plant(one, one, np.ones((2, 1)), one, one),
            "B2 must have shape .n, m. with n = 1",
        ),
        (lambda: feedback.generalized_plant(one * np.nan, one, one, one, one), "A must be finite, got nan"),
        (lambda: feedback.lqg_plant(one, one, one, -one, one, one, one), "Q must be positive semidefinite, got an eig"),
        (lambda: feedback.lqg_plant(one, one, one, one, one, one, -one), "V must be positive semidefinite"),
        (lambda: feedback.h2_cost(np.ones((2, 3)), plant), r"controller must have shape \(2, 2\), .* got \(2, 3\)"),
        (lambda: feedback.h2_cost(plant, controller), "plant must be a GeneralizedPlant, got StateSpace"),
        (lambda: feedback.h2_cost(controller, feedback.stack_plants([plant])), "plant must be one plant"),
        (lambda: feedback.h2_cost(dataclasses.replace(controller, dt=None), plant), "in the time domain of the plant"),
        (lambda: feedback.hinf_cost(dataclasses.replace(controller, dt=jnp.array(0.2)), plant), "one sampling time"),
        (lambda: feedback.h2_cost(controller, plant, discount=0), "discount must be a positive, finite number, got 0"),
        (lambda: feedback.stack_plants([plant, random_plant(0, n=2, discrete=True)]), "the same sizes"),
        (lambda: feedback.stack_plants([]), "at least one plant"),
    ]
    for call, message in faults:
        with pytest.raises(ValueError, match=message):
            call()
    traced = jax.jit(lambda dt: feedback.h2_cost(dataclasses.replace(controller, dt=dt), plant))
    assert traced(jnp.array(0.2)) == jnp.inf
    assert jnp.isfinite(traced(jnp.array(0.1)))


def test_penalties_in_other_units_and_their_derivatives():
    a, b, c, q, r, w, v = (jnp.asarray(x) for x in lqg_matrices(11))
    d = 10.0 ** jnp.array([-9, 0, 6])

    def value(q, r, w, v):
        return feedback.h2_cost(0.02 * jnp.ones((2, 2)), feedback.lqg_plant(0.5 * a, b, c, q, r, w, v, dt=1.0))

    plant = feedback.lqg_plant(a, b, c, q * d[:, None] * d[None, :], r, w, v, dt=1.0)
    scaled = (plant.C1.T @ plant.C1) / d[:, None] / d[None, :]
    np.testing.assert_allclose(scaled, q, rtol=1e-12)  # roundings
    slope = jax.jit(jax.grad(value, (0, 1, 2, 3)))
    weights = (q, r, w, v)
    along = jax.tree.map(lambda leaf: (leaf + leaf.T) / 7 + 0.1, weights)
    step = 1e-5

    def moved(t):
        return jax.tree.map(lambda leaf, move: leaf + t * move, weights, along)

    ends = [value(*moved(t)) for t in (-step, step)]
    first = sum(float(jnp.sum(a * b)) for a, b in zip(slope(*weights), along, strict=True))
    assert first == pytest.approx(float(ends[1] - ends[0]) / (2 * step), rel=1e-6)  # step^2 and rounding
    bends = [slope(*moved(t)) for t in (-step, step)]
    second = jax.jvp(slope, weights, along)[1]
    for bend, high, low in zip(second, bends[1], bends[0], strict=True):
        np.testing.assert_allclose(bend, (high - low) / (2 * step), rtol=1e-5, atol=1e-5)
    singular = jnp.diag(jnp.array([1.0, 0.0, 2.0]))
    assert jnp.isfinite(value(singular, r, w, v))
    assert not bool(jnp.all(jnp.isfinite(jax.grad(value)(singular, r, w, v))))  # documented: no silent zero
