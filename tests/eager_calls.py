"""One small call of every public function that computes: what is called here is compiled at its first call only.

Those of the papers are in ``tests/papers/eager_calls.py``.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxlqr
from jaxlqr import estimation, families, feedback, lqr, matrix_equations, mdp, meta, supervised, systems, trajectory
from jaxlqr.lqr import closed_form, rollout, stabilize
from jaxlqr.meta import landscape, newton, weighting
from jaxlqr.meta.trajectory_weighting import tow
from tests.eager_estimation import equation_calls, estimation_calls
from tests.eager_feedback import feedback_calls
from tests.eager_systems import norms_calls, systems_calls

KEY = jax.random.key(0)
TASK = jaxlqr.make_task([[0.9, 0.1], [0.0, 0.5]], [[0.0], [1.0]])
TASKS = jaxlqr.stack_tasks([TASK, jaxlqr.make_task([[0.9, 0.1], [0.0, 0.4]], [[0.0], [1.0]])])
COMMON = jaxlqr.stack_tasks(
    [TASK, jaxlqr.make_task([[0.9, 0.1], [0.0, 0.5]], [[0.0], [1.0]], [[2.0, 0.0], [0.0, 1.0]])]
)
SCALARS = families.scalar(a=[0.9, 0.8])
K = jnp.array([[0.1, 0.2]])
k = jnp.array([[0.5]])
Calls = dict[str, Callable[[], Any]]


def _equations() -> Calls:
    a, b, eye = TASK.A, TASK.B, jnp.eye(2)
    module, one = matrix_equations, jnp.eye(1)
    stable = a - 2 * eye
    return {
        "solve_discrete_lyapunov": lambda: module.solve_discrete_lyapunov(a, eye),
        "discrete_lyapunov_result": lambda: module.discrete_lyapunov_result(a, eye),
        "stable_discrete_lyapunov": lambda: module.stable_discrete_lyapunov(a, eye),
        "is_schur_stable": lambda: module.is_schur_stable(a),
        "gramian_trace": lambda: module.gramian_trace(a, eye, eye),
        "continuous_gramian_trace": lambda: module.continuous_gramian_trace(stable, eye, eye),
        "solve_continuous_lyapunov": lambda: module.solve_continuous_lyapunov(stable, eye),
        "continuous_lyapunov_result": lambda: module.continuous_lyapunov_result(stable, eye),
        "solve_sylvester": lambda: module.solve_sylvester(stable, stable, eye),
        "sylvester_result": lambda: module.sylvester_result(stable, stable, eye),
        "solve_discrete_are": lambda: module.solve_discrete_are(a, b, eye, one),
        "discrete_are_result": lambda: module.discrete_are_result(a, b, eye, one),
        "discrete_lqr": lambda: module.discrete_lqr(a, b, eye, one),
        "solve_continuous_are": lambda: module.solve_continuous_are(a, b, eye, one),
        "continuous_are_result": lambda: module.continuous_are_result(a, b, eye, one),
        "continuous_lqr": lambda: module.continuous_lqr(a, b, eye, one),
    }


def _lqr() -> Calls:
    return {
        "cost": lambda: jaxlqr.cost(K, TASK),
        "grad of cost": lambda: jax.grad(jaxlqr.cost)(K, TASK),
        "vmap of cost": lambda: jax.vmap(jaxlqr.cost, (None, 0))(K, TASKS),
        "hessian of cost": lambda: jax.hessian(jaxlqr.cost)(K, TASK),
        "hessian_vector_product": lambda: jaxlqr.hessian_vector_product(K, K, TASK),
        "continuous_cost": lambda: lqr.continuous_cost(K, TASK),
        "spectral_abscissa": lambda: lqr.spectral_abscissa(K, TASK),
        "spectral_radius": lambda: jaxlqr.spectral_radius(K, TASK),
        "is_stabilizing": lambda: jaxlqr.is_stabilizing(K, TASK),
        "optimal_gain": lambda: jaxlqr.optimal_gain(TASK),
        "optimal_cost": lambda: jaxlqr.optimal_cost(TASK),
        "make_task": lambda: jaxlqr.make_task(TASK.A, TASK.B),
        "continuous_task": lambda: jaxlqr.lqr.continuous_task(TASK.A, TASK.B, dt=0.1),
        "stack_tasks": lambda: jaxlqr.stack_tasks([TASK, TASK]),
        "RolloutCost": lambda: jaxlqr.RolloutCost(horizon=4, num_rollouts=2)(K, TASK),
    }


def _closed_form() -> Calls:
    task = jax.tree.map(lambda leaf: leaf[0], SCALARS)
    return {
        "gradient": lambda: closed_form.gradient(K, TASK),
        "hessian_quadratic_form": lambda: closed_form.hessian_quadratic_form(K, K, TASK),
        "hessian_vector_product": lambda: closed_form.hessian_vector_product(K, K, TASK),
        "cost_change": lambda: closed_form.cost_change(K, 1.1 * K, TASK),
        "scalar_cost": lambda: closed_form.scalar_cost(k, task),
    }


def _rollout() -> Calls:
    return {
        "gaussian_initial_state": lambda: rollout.gaussian_initial_state(KEY, TASK),
        "rollout": lambda: rollout.rollout(K, TASK, jnp.ones(2), jnp.zeros((3, 2))),
    }


def _stabilize() -> Calls:
    return {
        "average_task": lambda: stabilize.average_task(TASKS),
        "average_task_gain": lambda: stabilize.average_task_gain(TASKS),
        "check_stabilizes_all": lambda: stabilize.check_stabilizes_all(K, TASKS),
    }


def _mdp() -> Calls:
    mdps = mdp.stack_mdps([families.bandit([0.0, 1.0]), families.bandit([0.5, 1.0])])
    single, tasks = families.bandit([0.0, 1.0]), mdp.make_tasks(mdps)
    theta, even = jnp.zeros((1, 2)), jnp.array([[0.5, 0.5]])
    task, exact = mdp.make_tasks(single), mdp.ExactValues()
    sampled = mdp.SampledProximalLoss(step_size=1.0, num_visits=4, horizon=3, values=exact)
    return {
        "linear_energy": lambda: mdp.linear_energy(theta, None),
        "evaluate": lambda: mdp.evaluate(single, even),
        "visitation": lambda: mdp.visitation(single, even),
        "visitation_from": lambda: mdp.visitation_from(single, even, 0, 1),
        "meta_gradient": lambda: mdp.meta_gradient(theta, tasks, 1.0),
        "make_mdp": lambda: mdp.make_mdp([[[1.0]]], [[0.0]], gamma=0.5),
        "make_tasks": lambda: mdp.make_tasks(mdps),
        "stack_mdps": lambda: mdp.stack_mdps([single, single]),
        "optimal_policy": lambda: mdp.optimal_policy(single),
        "policy": lambda: mdp.policy(theta),
        "proximal_step": lambda: mdp.proximal_step(single, even, 1.0),
        "mdp_return": lambda: mdp.mdp_return(theta, task),
        "mdp_loss": lambda: mdp.mdp_loss(theta, task),
        "simulate": lambda: mdp.simulate(KEY, single, even, jnp.zeros(3, int), 4),
        "ProximalLoss": lambda: mdp.ProximalLoss(1.0)(theta, task),
        "SampledProximalLoss": lambda: sampled(theta, task),
        "ExactValues": lambda: exact(KEY, single, even),
        "MonteCarloValues": lambda: mdp.MonteCarloValues(num_rollouts=3, horizon=4)(KEY, single, even),
        "TemporalDifferenceValues": lambda: mdp.TemporalDifferenceValues(num_sweeps=3)(KEY, single, even),
    }


def _meta() -> Calls:
    oracle = jaxlqr.ZerothOrderOracle(num_samples=3, radius=1e-3)
    return {
        "adapt": lambda: meta.adapt(jaxlqr.cost, K, TASK, 1e-3),
        "maml_loss": lambda: meta.maml_loss(jaxlqr.cost, K, TASKS, inner_step_size=1e-3),
        "grad of maml_loss": lambda: jax.grad(meta.maml_loss, 1)(jaxlqr.cost, K, TASKS, inner_step_size=1e-3),
        "maml_gradient": lambda: meta.maml_gradient(jaxlqr.cost, K, TASKS, inner_step_size=1e-3),
        "mean_over_feasible": lambda: meta.mean_over_feasible(jaxlqr.cost, K, TASKS),
        "FeasibleLoss": lambda: jaxlqr.FeasibleLoss(jaxlqr.cost)(K, TASK),
        "maml_gradient from costs": lambda: meta.maml_gradient(
            jaxlqr.cost, K, TASKS, inner_step_size=1e-3, oracle=oracle, key=KEY
        ),
        "maml_gradient of a local function": lambda: meta.maml_gradient(
            lambda gain, task: jaxlqr.cost(gain, task), K, TASKS, inner_step_size=1e-3
        ),
    }


def _oracles() -> Calls:
    exact, loss = jaxlqr.ExactOracle(), jaxlqr.cost
    sampled = jaxlqr.ZerothOrderOracle(num_samples=3, radius=1e-3)
    return {
        "ExactOracle": lambda: exact.gradient(loss, K, TASK),
        "ExactOracle.hessian_vector_product": lambda: exact.hessian_vector_product(loss, K, K, TASK),
        "ExactOracle.expand": lambda: exact.expand(loss, K, TASK).hessian_vector_product(K),
        "ZerothOrderOracle": lambda: sampled.gradient(loss, K, TASK, KEY),
        "ZerothOrderOracle.hessian_vector_product": lambda: sampled.hessian_vector_product(loss, K, K, TASK, KEY),
        "ZerothOrderOracle.expand": lambda: sampled.expand(loss, K, TASK, KEY).hessian_vector_product(K),
    }


def _landscape() -> Calls:
    grid = np.linspace(0.05, 1.5, 40).reshape(-1, 1, 1)
    points = landscape.stationary_points(closed_form.scalar_cost, grid, SCALARS, 1e-2)
    plane = landscape.plane_through(K, 2 * K, jnp.array([[0.0, 0.1]]))
    starts, loss = jnp.stack([K, 2 * K]), closed_form.scalar_cost
    return {
        "certify": lambda: landscape.certify(jaxlqr.cost, K, TASKS, 1e-3),
        "multistart": lambda: landscape.multistart(jaxlqr.cost, starts, TASKS, 1e-3, num_steps=2),
        "evaluate": lambda: landscape.evaluate(loss, grid, SCALARS, 1e-2),
        "extent": lambda: landscape.extent(jaxlqr.cost, plane, TASKS, 1e-3),
        "plane_of_curvature": lambda: landscape.plane_of_curvature(jaxlqr.cost, K, TASKS, 1e-3),
        "plane_through": lambda: landscape.plane_through(K, 2 * K, jnp.array([[0.0, 0.1]])),
        "classify": lambda: landscape.classify([[1.0, 2.0]]),
        "excess": lambda: landscape.excess(points),
        "is_epsilon_global": lambda: landscape.is_epsilon_global(points, 1.0),
        "stationary_points": lambda: landscape.stationary_points(loss, grid, SCALARS, 1e-2),
    }


def _weighting() -> Calls:
    losses = jnp.array([1.0, 0.0])
    return {
        "uniform": lambda: weighting.uniform(losses),
        "exploration": lambda: weighting.exploration(losses),
        "exploitation": lambda: weighting.exploitation(losses),
    }


def _quadratic(x: jax.Array, task: jax.Array) -> jax.Array:
    return task[1] * (x - task[0]) ** 2


def _trajectory() -> Calls:
    one = jnp.ones((3, 1, 1))
    batches = jnp.broadcast_to(jnp.array([[1.0, 4.0], [-1.0, 0.5]]), (5, 2, 2))

    def dynamics(x, u, t, length):
        return x + 0.1 * jnp.array([x[1], u[0] - jnp.sin(x[0]) / length])

    def cost(x, u, t, length):
        return 0.1 * (x @ x + u @ u)

    return {
        "tvlqr": lambda: trajectory.tvlqr(one, one, jnp.ones((4, 1, 1)), one, jnp.array([1.0])),
        "ilqr": lambda: trajectory.ilqr(cost, dynamics, jnp.array([1.0, 0.0]), jnp.zeros((4, 1)), params=1.0),
        "tow": lambda: tow(_quadratic, jnp.array(0.0), batches, optimizer=_SGD, beta=1.0),
        "newton_optimum": lambda: newton.newton_optimum(jaxlqr.cost, K, TASKS, 1e-3, max_steps=2),
    }


_SGD = optax.sgd(0.05)


def _supervised() -> Calls:
    tasks = families.logistic_nonconvex()
    task = jax.tree.map(lambda leaf: leaf[0], tasks)
    risk, theta = supervised.Risk(kind="logistic"), jnp.ones(tasks.x.shape[-1])
    network = supervised.two_layer_network(KEY, width=4, num_inputs=2)
    return {
        "Risk": lambda: risk(theta, task),
        "frechet_derivative": lambda: supervised.frechet_derivative(risk, theta, task),
        "linear": lambda: supervised.linear(theta, task.x),
        "make_supervised_tasks": lambda: supervised.make_supervised_tasks(np.ones((1, 2, 1)), np.ones((1, 2))),
        "two_layer": lambda: supervised.two_layer(network.initial, jnp.ones(2)),
        "two_layer_network": lambda: supervised.two_layer_network(KEY, width=4, num_inputs=2),
        "TwoLayer": lambda: network(network.initial, jnp.ones(2)),
        "TwoLayer.features": lambda: network.features(network.initial, jnp.ones(2)),
        "TwoLayer.project": lambda: network.project(2 * network.initial),
    }


def _families() -> Calls:
    return {
        "boeing": families.boeing,
        "boeing_initial_gain": families.boeing_initial_gain,
        "check_common_dynamics": lambda: families.check_common_dynamics(COMMON),
        "combinations": lambda: families.combinations(KEY, [np.eye(2), np.eye(2)], 3),
        "common_dynamics": lambda: families.common_dynamics([[0.9]], [[1.0]], [[[1.0]]], [[[1.0]]]),
        "scalar": lambda: families.scalar(a=[0.9, 0.8]),
        "perturb": lambda: families.perturb(KEY, TASK, 3, 0.01),
        "gridworld_goals": lambda: families.gridworld_goals(KEY, 2, size=3),
        "text_map": lambda: families.text_map(["SG"]),
        "logistic_nonconvex": families.logistic_nonconvex,
        "sinusoid": lambda: families.sinusoid(KEY, 2),
        "bandit": lambda: families.bandit([0.0, 1.0]),
        "garnet": lambda: families.garnet(KEY, 2, 4, 2),
        "riverswim": families.riverswim,
        "two_ended_chain": lambda: families.two_ended_chain(2),
    }


def _training() -> Calls:
    steps = {"num_steps": 2, "output": jaxlqr.Output(progress=False)}
    return {
        "meta_train": lambda: jaxlqr.meta_train(
            jaxlqr.cost, K, TASKS, objective=jaxlqr.Maml(inner_step_size=1e-3), outer_step_size=1e-3, **steps
        ),
        "policy_gradient": lambda: jaxlqr.policy_gradient(jaxlqr.cost, K, TASK, step_size=1e-3, **steps),
        "automatic_steps": lambda: jaxlqr.training.automatic_steps(jaxlqr.cost, K, TASKS),
    }


#: Public modules and the calls of their functions; a name may be followed by what is special about the call.
ROOMS: dict[str, tuple[ModuleType, Callable[[], Calls]]] = {
    "matrix_equations": (matrix_equations, lambda: _equations() | equation_calls()),
    "systems": (systems, lambda: systems_calls() | norms_calls()),
    "estimation": (estimation, estimation_calls),
    "lqr": (jaxlqr.lqr, _lqr),
    "feedback": (feedback, feedback_calls),
    "closed_form": (closed_form, _closed_form),
    "rollout": (rollout, _rollout),
    "stabilize": (stabilize, _stabilize),
    "mdp": (mdp, _mdp),
    "meta": (meta, _meta),
    "oracles": (jaxlqr.oracles, _oracles),
    "landscape": (landscape, _landscape),
    "weighting": (weighting, _weighting),
    "trajectory": (trajectory, _trajectory),
    "supervised": (supervised, _supervised),
    "families": (families, _families),
    "training": (jaxlqr.training, _training),
}
