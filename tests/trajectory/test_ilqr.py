"""iLQR against a dense Newton solve, finite differences, an LQR problem, and its own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr import SolveStatus
from jaxlqr.trajectory import ilqr, tvlqr
from jaxlqr.trajectory.curvature import Numbers, damped_solve, slope_along
from jaxlqr.trajectory.expansion import Problem, expand, follow, reduced_gradient, rollout, total_cost
from jaxlqr.trajectory.linear_quadratic import backward

T, X0, U0 = 12, jnp.array([1.0, -0.4]), jnp.zeros((12, 1))
PARAMS = {"length": jnp.array(0.8), "goal": jnp.array([0.3, 0.1])}


def dynamics(x, u, t, p):
    return x + 0.1 * jnp.stack([x[1], u[0] - jnp.sin(x[0]) / p["length"] + 0.2 * x[1] * u[0]])


def cost(x, u, t, p):
    return 0.1 * (jnp.sum((x - p["goal"]) ** 2) + 0.5 * u[0] ** 2 + 0.3 * x[0] * u[0])


def final_cost(x, p):
    return 2 * jnp.sum((x - p["goal"]) ** 2)


PROBLEM = Problem(cost, dynamics, final_cost)
NUMBERS = Numbers(jnp.array(1e-12), jnp.array(0.0), jnp.array(1e-8))


def run(x0, params, **options):
    return ilqr(cost, dynamics, x0, U0, params=params, final_cost=final_cost, tolerance=1e-13, **options)


def dense_minimum(x0, params):
    """Newton's method on J of all controls, with dense autodiff Hessians."""

    def objective(U):
        return total_cost(PROBLEM, rollout(PROBLEM, x0, U.reshape(T, 1), params), params)

    step = jax.jit(lambda U: U - jnp.linalg.solve(jax.hessian(objective)(U), jax.grad(objective)(U)))
    U = jnp.zeros(T)
    for _ in range(8):
        U = step(U)
    return U, jax.jit(jax.hessian(objective))(U)


@pytest.mark.parametrize("ddp", [False, True])
def test_minimum_is_that_of_dense_newton(ddp):
    result = run(X0, PARAMS, ddp=ddp).check()
    U, hessian = dense_minimum(X0, PARAMS)
    assert np.linalg.eigvalsh(hessian)[0] > 0
    np.testing.assert_allclose(result.controls[:, 0], U, rtol=0, atol=1e-11)
    steps = int(result.iterations)
    assert np.all(np.diff(result.history["cost"][: steps + 1]) <= 1e-14)
    assert np.all(np.isnan(result.history["cost"][steps + 1 :]))
    if ddp:
        assert steps <= 6


def test_linear_quadratic_problem_takes_one_full_step():
    A, B = jnp.array([[1.0, 0.2], [-0.1, 1.1]]), jnp.array([[0.0], [0.5]])

    def lq_cost(x, u, t, p):
        return x @ x + x[0] * u[0] + u @ u + p @ x

    linear = jnp.array([0.3, -0.2])
    result = ilqr(lq_cost, lambda x, u, t, p: A @ x + B @ u, X0, jnp.ones((T, 1)), params=linear).check()
    assert int(result.iterations) == 1
    assert float(result.history["step_length"][0]) == 1.0
    # Erratum N3: the full step decreases the cost by exactly half of the slope, which "< theta / 2" refuses.
    problem = Problem(lq_cost, lambda x, u, t, p: A @ x + B @ u, lambda x, p: jnp.zeros(()))

    def along(s):
        return total_cost(problem, rollout(problem, X0, 1 + s * (result.controls - 1), linear), linear)

    before, theta = jax.jvp(along, (0.0,), (1.0,))
    assert float(along(1.0) - before) == pytest.approx(float(theta / 2), rel=1e-12)  # rounding

    def every(a, steps=T):
        return jnp.broadcast_to(a, (steps, *a.shape))

    Q = every(2 * jnp.eye(2), T + 1).at[-1].set(0)
    S = every(jnp.array([[1.0], [0.0]]))
    q = every(linear, T + 1).at[-1].set(0)
    wanted = tvlqr(every(A), every(B), Q, every(2 * jnp.eye(1)), X0, S=S, q=q)
    np.testing.assert_allclose(result.controls, wanted.controls, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.gains, wanted.gains, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.cost, wanted.cost, rtol=1e-13)


@jax.jit
def around_a_trajectory(damping):
    """What the next test compares, of one backward pass around a trajectory; compiled once for both dampings."""
    nominal = rollout(PROBLEM, X0, jnp.full((T, 1), 0.3), PARAMS)
    stages, final, gradient = expand(PROBLEM, nominal, PARAMS, dynamics_curvature=None)
    policies, values = backward(stages, final, lambda Q, b: damped_solve(Q, b, damping, NUMBERS, jnp.ones(1)))
    after = values.v[1:]
    qu = stages.r + jnp.einsum("tij,ti->tj", stages.B, after)
    Quu = stages.R + jnp.einsum("tij,tik,tkl->tjl", stages.B, values.V[1:], stages.B)
    Qxu = stages.S + jnp.einsum("tij,tik,tkl->tjl", stages.A, values.V[1:], stages.B)
    Qxx = stages.Q + jnp.einsum("tij,tik,tkl->tjl", stages.A, values.V[1:], stages.A)
    # (80) leaves out K dx / d eps.
    states = jax.jacfwd(lambda s: follow(PROBLEM, nominal, policies, s, PARAMS)[0].states)(0.0)[:-1]
    return {
        "gradient": gradient,
        "reduced gradient": reduced_gradient(PROBLEM, X0, nominal.controls, PARAMS),
        "slope": slope_along(stages, final, policies),
        "along": jax.jacfwd(lambda s: follow(PROBLEM, nominal, policies, s, PARAMS)[1])(0.0),
        "theta": jnp.sum(qu * policies.k),
        "printed": -jnp.einsum("ti,tij,tj->", qu, Quu, qu),
        "states": jnp.einsum("ti,tij,tj->", qu, policies.K, states),
        # (69) is the value of the policy of (67), and of no regularised one.
        "V": Qxx - jnp.einsum("tij,tjk->tik", Qxu, policies.K) - values.V[:-1],
        "v": stages.q
        + jnp.einsum("tij,ti->tj", stages.A, after)
        + jnp.einsum("tij,tj->ti", Qxu, policies.k)
        - values.v[:-1],
    }


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_slope_is_the_derivative_along_the_line_and_the_printed_one_is_not(damping):
    found = around_a_trajectory(jnp.array(damping))
    slope, theta = found["slope"], found["theta"]
    np.testing.assert_allclose(found["gradient"], found["reduced gradient"], rtol=1e-12)  # a hundred roundings
    np.testing.assert_allclose(slope, found["along"], rtol=1e-12)  # as above
    if damping == 0:
        np.testing.assert_allclose(theta, slope, rtol=1e-12)  # as above
    else:  # the identity of N1 needs an exact minimiser
        assert abs(theta / slope - 1) > 1e-3
    assert abs(found["printed"] / slope - 1) > 0.3
    # With the motion of the states, the sum that (79) prints is another number.
    assert abs((theta - found["states"]) / slope - 1) > 1e-2
    error = max(float(jnp.abs(found[name]).max()) for name in ("V", "v"))
    assert error < 1e-12 if damping == 0 else error > 1e-3  # rounding


def test_implicit_derivatives_are_those_of_the_dense_minimum():
    def ours(x0, params):
        return run(x0, params).controls[:, 0]

    def gradient(x0, params, U):
        return jax.grad(lambda V: total_cost(PROBLEM, rollout(PROBLEM, x0, V[:, None], params), params))(U)

    U, hessian = dense_minimum(X0, PARAMS)
    mixed = jax.jit(jax.jacfwd(gradient, argnums=(0, 1)))(X0, PARAMS, U)
    wanted = jax.tree.map(lambda block: -jnp.linalg.solve(hessian, block.reshape(T, -1)).reshape(block.shape), mixed)
    forward = jax.jit(jax.jacfwd(ours, argnums=(0, 1)))(X0, PARAMS)
    reverse = jax.jit(jax.jacrev(ours, argnums=(0, 1)))(X0, PARAMS)
    for got in (forward, reverse):
        for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)
            assert float(jnp.abs(theirs).max()) > 1e-3


def scalar(x0, params):
    """Depends on every differentiable part of the result."""
    result = run(x0, params)
    return jnp.sum(jnp.sin(result.controls)) + result.cost + jnp.sum(result.gains) + jnp.sum(result.states**2)


def test_derivatives_of_all_outputs_twice_and_by_differences():
    gradient = jax.jit(jax.grad(scalar, argnums=(0, 1)))
    at = gradient(X0, PARAMS)
    step = 1e-5
    direction = (jnp.array([0.6, -0.8]), {"length": jnp.array(0.5), "goal": jnp.array([1.0, -0.3])})
    ahead, behind = (jax.tree.map(lambda x, d, h=h: x + h * d, (X0, PARAMS), direction) for h in (step, -step))
    evaluate = jax.jit(scalar)
    slope = (evaluate(*ahead) - evaluate(*behind)) / (2 * step)
    pairs = zip(jax.tree.leaves(at), jax.tree.leaves(direction), strict=True)
    np.testing.assert_allclose(sum(jnp.vdot(g, d) for g, d in pairs), slope, rtol=1e-7)
    differences = jax.tree.map(lambda a, b: (a - b) / (2 * step), gradient(*ahead), gradient(*behind))
    product = jax.jit(lambda *y: jax.jvp(jax.grad(scalar, argnums=(0, 1)), y, direction)[1])(X0, PARAMS)
    for got, wanted in zip(jax.tree.leaves(product), jax.tree.leaves(differences), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7)


def test_batch_equals_loop_and_a_run_that_fails_spoils_no_other():
    starts = jnp.stack([X0, jnp.array([jnp.nan, 0.0]), jnp.array([2.0, 0.5])])

    def controls(x0):
        result = run(x0, PARAMS)
        return jnp.sum(result.controls), result

    gradients, results = jax.jit(jax.vmap(jax.grad(controls, has_aux=True)))(starts)
    assert list(results.status) == [SolveStatus.CONVERGED, SolveStatus.COST_NOT_FINITE, SolveStatus.CONVERGED]
    assert np.isfinite(gradients[jnp.array([0, 2])]).all()
    assert np.isnan(gradients[1]).all()
    for lane in (0, 2):
        np.testing.assert_allclose(results.controls[lane], run(starts[lane], PARAMS).controls, rtol=0, atol=1e-11)
    with pytest.raises(RuntimeError, match=r"1 of 3 iLQR runs COST_NOT_FINITE \(first: \[1\]\)"):
        results.check()


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_no_derivative_where_not_converged(mode):
    def controls(x0):
        return ilqr(cost, dynamics, x0, U0, params=PARAMS, final_cost=final_cost, max_steps=1, tolerance=0.0).controls

    assert np.isnan(mode(controls)(X0)).all()


def test_pytrees_are_the_same_as_vectors():
    def tree_dynamics(x, u, t, p):
        flat = dynamics(jnp.stack([x["angle"], x["rate"][0]]), u["torque"][None], t, p)
        return {"angle": flat[0], "rate": flat[1:]}

    def tree_cost(x, u, t, p):
        return cost(jnp.stack([x["angle"], x["rate"][0]]), u["torque"][None], t, p)

    start = {"angle": X0[0], "rate": X0[1:]}
    result = ilqr(tree_cost, tree_dynamics, start, {"torque": U0[:, 0]}, params=PARAMS).check()
    flat = ilqr(cost, dynamics, X0, U0, params=PARAMS)
    np.testing.assert_allclose(result.controls["torque"], flat.controls[:, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.states["rate"], flat.states[:, 1:], rtol=0, atol=1e-12)


def test_every_status_has_its_advice():
    with pytest.raises(RuntimeError, match=r"MAX_STEPS: .*the gradient was not yet small"):
        ilqr(cost, dynamics, X0, U0, params=PARAMS, max_steps=1, tolerance=0.0).check()

    def kinked(x, u, t, p):  # its derivative at 0 says that moving down helps, and it does not
        return 1 + jnp.abs(u[0]) + 1e-3 * u[0]

    def still(x, u, t, p):
        return x

    with pytest.raises(RuntimeError, match="NO_DECREASE: no step decreased"):
        ilqr(lambda x, u, t, p: jnp.where(u[0] == 0, u[0], 1 + u[0] ** 2), still, X0, U0).check()
    assert int(ilqr(kinked, still, X0, U0).status) != SolveStatus.COST_NOT_FINITE


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_a_value_that_is_closed_over_is_differentiated_as_a_parameter_is(mode):
    def closed(length):
        def around(x, u, t, p):
            return dynamics(x, u, t, PARAMS | {"length": length})

        return ilqr(cost, around, X0, U0, params=PARAMS, final_cost=final_cost, tolerance=1e-13).controls

    def passed(length):
        return run(X0, PARAMS | {"length": length}).controls

    wanted = mode(passed)(PARAMS["length"])
    assert float(jnp.abs(wanted).max()) > 1e-3
    np.testing.assert_allclose(mode(closed)(PARAMS["length"]), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"U0": jnp.zeros((0, 1))}, ValueError, "T >= 1"),
        ({"U0": jnp.zeros((3, 1), int)}, TypeError, "U0 must hold floating"),
        ({"dynamics": lambda x, u, t, p: x[:1]}, ValueError, r"dynamics must return a state like x0, float64\[2\]"),
        ({"cost": lambda x, u, t, p: x}, ValueError, "cost must return a floating scalar"),
        ({"final_cost": lambda x, p: x}, ValueError, "final_cost must return a floating scalar"),
        ({"max_steps": 0}, ValueError, "max_steps must be an integer of at least 1"),
    ],
)
def test_bad_input_is_named(change, error, words):
    arguments = {"cost": cost, "dynamics": dynamics, "x0": X0, "U0": U0, "params": PARAMS} | change
    with pytest.raises(error, match=words):
        ilqr(**arguments)


def test_dynamics_that_return_nan_are_a_status():
    result = ilqr(cost, lambda x, u, t, p: x / 0.0 - x / 0.0, X0, U0, params=PARAMS)
    assert int(result.status) == SolveStatus.COST_NOT_FINITE
    assert int(result.iterations) == 0
