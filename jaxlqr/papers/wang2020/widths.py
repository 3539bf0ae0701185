"""Two-layer networks of growing width, trained in a ball: feature drift, linearisation error, residuals.

Policies on Garnets and regressors of sinusoids on a circle. Each network is trained by projected gradient steps; the
gap of an early iterate to the last one is bounded by Theorems 3.5 and 4.4, and the residual of the bound is taken over
the ball of three classes: the gradients at the early iterate, for which the theorems hold, those at initialisation, and
the limit of the latter at infinite width, the neural tangent kernel.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.families import garnet
from jaxlqr.mdp import MDPTask, ProximalLoss, make_tasks
from jaxlqr.meta import Maml
from jaxlqr.papers.units import Units
from jaxlqr.papers.wang2020.theory import (
    best_in_ball,
    f_omega,
    kernel_features,
    linearisation,
    meta_features,
    meta_visitation,
    tangent_kernel,
    theorem_3_5,
    theorem_4_4,
)
from jaxlqr.supervised import Risk, SupervisedTask, TwoLayer, make_supervised_tasks, two_layer, two_layer_network
from jaxlqr.training import Output, meta_train, no_metrics, within_ball

WIDTHS = (16, 64, 256, 1024, 4096)
NUM_NETWORKS = 10
NUM_TASKS, NUM_STATES, NUM_ACTIONS, NUM_INPUTS, NUM_POINTS = 3, 6, 3, 5, 16
NUM_STEPS, EARLY = 60, 5
RADIUS = 3.0  # of the ball of weights
LINEAR_RADIUS = {"policy": 3.0, "regressor": 0.2}  # of the ball of linear functions; in 0.5 the latter all fit
ETA = {"policy": 3.0, "regressor": 0.1}
STEP_SIZE = {"policy": 5.0, "regressor": 0.2}
FEATURES = ("omega", "initial", "kernel")
QUANTITIES = ("drift", "error", *(f"residual_{name}" for name in FEATURES), "target", "gap", "bound")


class _Problem(NamedTuple):
    loss: Any
    inner_step: float
    num_inner_steps: int
    tasks: Any
    inputs: Array  # [N, d]


def sweep(
    key: Array, widths: tuple[int, ...], num_networks: int, progress: bool | None, units: Units
) -> dict[str, Any]:
    """Each of QUANTITIES as an array [widths, networks], for policies and regressors."""
    told: dict[str, Any] = {}
    for kind, problem in (("policy", _policies(key)), ("regressor", _regressors(key))):
        rows = [
            units(f"{kind} {width}", partial(_at_width, key, kind, problem, width, num_networks, progress))
            for width in widths
        ]
        told[kind] = {name: np.stack([row[name] for row in rows]) for name in QUANTITIES}
    return told


def slopes(widths: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
    """Slope of log rows [widths, networks] against log width, of each network [networks]."""
    return np.polyfit(np.log(widths), np.log(rows), 1)[0]


def _policies(key: Array) -> _Problem:
    mdp_key, input_key = jax.random.split(key)
    mdps = garnet(mdp_key, NUM_TASKS, NUM_STATES, NUM_ACTIONS, gammas=(0.5, 0.9))
    inputs = jax.random.normal(input_key, (NUM_STATES, NUM_ACTIONS, NUM_INPUTS))
    inputs = inputs / jnp.linalg.norm(inputs, axis=-1, keepdims=True)
    tasks = make_tasks(mdps, features=inputs, energy=two_layer)
    return _Problem(ProximalLoss(ETA["policy"]), 0.0, 0, tasks, inputs.reshape(-1, NUM_INPUTS))


def _regressors(key: Array) -> _Problem:
    angles = np.linspace(0, 2 * np.pi, NUM_POINTS, endpoint=False)
    x = np.stack([np.cos(angles), np.sin(angles), np.ones_like(angles)], axis=1) / np.sqrt(2)
    phases = np.asarray(jax.random.uniform(key, (NUM_TASKS, 1), maxval=2 * np.pi))
    tasks = make_supervised_tasks(np.broadcast_to(x, (NUM_TASKS, *x.shape)), np.sin(2 * angles[None] + phases))
    return _Problem(Risk(kind="squared", predictor=two_layer), ETA["regressor"], 1, tasks, jnp.asarray(x))


def _at_width(
    key: Array, kind: str, problem: _Problem, width: int, count: int, progress: bool | None
) -> dict[str, np.ndarray]:
    import optax

    keys = jax.random.split(jax.random.fold_in(key, width), count)
    initial = jax.vmap(lambda k: two_layer_network(k, width, problem.inputs.shape[1]).initial)(keys)

    def repeated(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf, (count, *leaf.shape))

    optimizer = within_ball(optax.sgd(STEP_SIZE[kind]), RADIUS)
    train = partial(
        meta_train,
        problem.loss,
        initial,
        jax.tree.map(repeated, problem.tasks),
        objective=Maml(inner_step_size=problem.inner_step, num_inner_steps=problem.num_inner_steps),
        optimizer=optimizer,
        batched=True,
        guard=None,
        output=Output(metrics=no_metrics, every=EARLY + 1, progress=progress),
    )
    early, late = (train(num_steps=number).params for number in (EARLY, NUM_STEPS))
    told = (_of_policies if kind == "policy" else _of_regressors)(initial, early, late, problem.tasks, problem.inputs)
    return {name: np.asarray(rows) for name, rows in told.items()}


@jax.jit
def _of_policies(initial: Array, early: Array, late: Array, tasks: MDPTask, x: Array) -> dict[str, Array]:
    eta = ETA["policy"]

    def one(weights: tuple[Array, Array, Array]) -> dict[str, Array]:
        start, omega, star = weights
        network = TwoLayer(start, radius=RADIUS)
        rho = meta_visitation(omega, tasks, eta)[1].ravel()
        told = theorem_3_5(star, omega, tasks, eta, LINEAR_RADIUS["policy"], form="sharp")
        features = {
            "omega": network.features(omega, x),
            "initial": network.features(start, x),
            "kernel": kernel_features(tangent_kernel(x)),
        }
        target = f_omega(star, omega, tasks, eta).ravel()
        moved = linearisation(network, star, x, rho)
        return _told("policy", moved, features, target, rho, told.gap, told.bound)

    return jax.lax.map(one, (initial, early, late))


@jax.jit
def _of_regressors(initial: Array, early: Array, late: Array, tasks: SupervisedTask, x: Array) -> dict[str, Array]:
    eta, risk = ETA["regressor"], Risk(kind="squared", predictor=two_layer)
    rho = jnp.mean(tasks.probability, axis=0)

    def one(weights: tuple[Array, Array, Array]) -> dict[str, Array]:
        start, omega, star = weights
        network = TwoLayer(start, radius=RADIUS)
        told = theorem_4_4(star, omega, tasks, eta, LINEAR_RADIUS["regressor"], risk=risk, form="task_indexed")

        def through_step(phi: Array, kernel: Array) -> Array:
            # (I - eta Hessian) phi of the linearised network [M N, .]: the squared loss has the Hessian phi' p phi.
            moved = jax.vmap(lambda p: phi - eta * kernel @ (p[:, None] * phi))(tasks.probability)
            return moved.reshape(-1, phi.shape[1])

        first, limit = network.features(start, x), tangent_kernel(x)
        features = {
            "omega": meta_features(omega, tasks, eta, risk).reshape(-1, start.size),
            "initial": through_step(first, first @ first.T),
            "kernel": through_step(kernel_features(limit), limit),
        }
        stepped = [
            jax.vmap(lambda task, w=w: risk.predictor(w - eta * jax.grad(risk)(w, task), task.x))(tasks)
            for w in (omega, star)
        ]
        measure = jnp.tile(rho, len(tasks.y)) / len(tasks.y)
        moved = linearisation(network, star, x, rho)
        return _told("regressor", moved, features, (stepped[0] - stepped[1]).ravel(), measure, told.gap, told.bound)

    return jax.lax.map(one, (initial, early, late))


def _told(
    kind: str, moved: Any, features: dict[str, Array], target: Array, rho: Array, gap: Array, bound: Array
) -> dict:
    left = {
        f"residual_{name}": best_in_ball(phi, target, rho, LINEAR_RADIUS[kind]).residual
        for name, phi in features.items()
    }
    size = jnp.sqrt(jnp.sum(rho * target**2))
    return {"drift": moved.drift, "error": moved.error, "target": size, "gap": gap, "bound": bound} | left
