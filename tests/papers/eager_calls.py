"""One small call of every public function of the papers, as ``tests/eager_calls.py`` has of the library."""

from collections.abc import Callable
from types import ModuleType

import jax.numpy as jnp

from jaxlqr import families, mdp, supervised
from jaxlqr.papers.musavi2023 import theory as musavi2023
from jaxlqr.papers.nguyen2023 import few_shot
from jaxlqr.papers.nguyen2023 import theory as nguyen2023
from jaxlqr.papers.toso2024 import theory as toso2024
from jaxlqr.papers.wang2020 import theory as wang2020
from tests.eager_calls import COMMON, KEY, TASK, TASKS, Calls, K


def _musavi2023() -> Calls:
    return {
        "condition_1": lambda: musavi2023.condition_1(K, COMMON),
        "delta": lambda: musavi2023.delta(K, TASK),
        "delta_bar": lambda: musavi2023.delta_bar(K, TASK),
        "iteration_bound": lambda: musavi2023.iteration_bound(1.0, 10.0, 0.1),
        "inner_step_limit": lambda: musavi2023.inner_step_limit(K, TASKS),
        "outer_step_limit": lambda: musavi2023.outer_step_limit(K, TASKS, 1e-6),
        "meta_smoothness": lambda: musavi2023.meta_smoothness(K, TASKS, 1e-6),
        "meta_smoothness_radius": lambda: musavi2023.meta_smoothness_radius(K, TASKS, 1e-6),
        "smoothness": lambda: musavi2023.smoothness(K, TASK),
        "CertifiedSteps": lambda: musavi2023.CertifiedSteps().inner(K, COMMON, jnp.asarray(0)),
    }


def _nguyen2023() -> Calls:
    x, S, y, zero = jnp.array([0.1, 0.2]), jnp.eye(2), jnp.array([1.0, 0.0]), jnp.zeros(2)
    rates = {"learning_rate": 0.1, "epsilon": 1.0}
    limits = {"bound": 1.0, "delta": 0.5, "num_tasks": 3, "alpha": 0.1, "smoothness": 1.0, "sigma": 0.1}
    calls = {
        name: getattr(nguyen2023, name)
        for name in dir(nguyen2023)
        if "cross_entropy" in name and "lipschitz" not in name
    }
    return {name: lambda f=function: f(x, S, y) for name, function in calls.items()} | {
        "gradient_variance": lambda: nguyen2023.gradient_variance(1.0, 0.5, 3, 0.1, 1.0),
        "theorem_5": lambda: nguyen2023.theorem_5(**limits, first_loss=1.0, num_updates=10),
        "adapted_smoothness": lambda: nguyen2023.adapted_smoothness(1.0, 1.0, 1.0, 0.0),
        "cross_entropy_lipschitz": lambda: nguyen2023.cross_entropy_lipschitz(S),
        "stationarity_floor": lambda: nguyen2023.stationarity_floor(1.0, 0.5, 3, 0.1),
        "weight_norm": lambda: nguyen2023.weight_norm(0.5, 3),
        "adam_action_jacobian": lambda: nguyen2023.adam_action_jacobian(jnp.eye(2), y, zero, zero, 1, **rates),
    }


def _toso2024() -> Calls:
    h, room = toso2024.constants(K, TASKS), jnp.ones(2)
    few = {"num_draws": 4, "num_starts": 2, "num_steps": 2}
    module = toso2024
    return {
        "attack": lambda: module.attack(KEY, "corrected", 1, 1, **few),
        "random_margins": lambda: module.random_margins(KEY, 4, "corrected", 1, 1),
        "constants": lambda: module.constants(K, TASKS),
        "hessian_parts": lambda: module.hessian_parts(K, TASKS),
        "accuracy_tolerance": lambda: module.accuracy_tolerance(0.01, room),
        "bias_rates": lambda: module.bias_rates(h, (1, 2)),
        "iterations": lambda: module.iterations(h, room, 0.1, 0.1),
        "num_samples": lambda: module.num_samples(h, jnp.array(1.5), (1, 2), 1e-3, 0.1, 0.05),
        "optimality_bounds": lambda: module.optimality_bounds(K, TASKS),
        "sample_bounds": lambda: module.sample_bounds(h, jnp.array(1.5), (1, 2), 1e-3),
        "smoothing_radius": lambda: module.smoothing_radius(h, 0.1, (1, 2)),
        "stability_tolerance": lambda: module.stability_tolerance(room),
        "step_size_limits": lambda: module.step_size_limits(h, 1),
        "gradient_heterogeneity_bound": lambda: module.gradient_heterogeneity_bound(K, TASKS),
        "heterogeneity": lambda: module.heterogeneity(TASKS),
        "margins": lambda: module.margins(K, TASKS, K),
        "quantities": lambda: module.quantities(K, TASKS),
        "promises": lambda: module.promises(K[None], TASKS),
        "sample_sublevel": lambda: module.sample_sublevel(KEY, K, TASKS, 2),
        "sublevel_suprema": lambda: module.sublevel_suprema(KEY, K, TASKS, num_samples=2),
        "CertifiedSteps": lambda: module.CertifiedSteps().inner(K, TASKS, jnp.asarray(0)),
    }


def _wang2020() -> Calls:
    tasks = mdp.make_tasks(mdp.stack_mdps([families.bandit([0.0, 1.0]), families.bandit([0.2, 0.6])]))
    theta, best = jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]])
    points = families.logistic_nonconvex()
    omega, risk = jnp.zeros(points.x.shape[-1]), supervised.Risk(kind="logistic")
    network = supervised.two_layer_network(KEY, width=4, num_inputs=2)
    x = jnp.array([[1.0, 0.5], [0.2, 1.0]])
    return {
        "best_in_ball": lambda: wang2020.best_in_ball(jnp.eye(2), jnp.array([3.0, 4.0]), jnp.ones(2), 1.0),
        "kernel_features": lambda: wang2020.kernel_features(jnp.eye(2)),
        "linearisation": lambda: wang2020.linearisation(network, network.initial, x, jnp.full(2, 0.5)),
        "tangent_kernel": lambda: wang2020.tangent_kernel(x),
        "C_0": lambda: wang2020.C_0(theta, tasks, 1.0),
        "f_omega": lambda: wang2020.f_omega(best, theta, tasks, 1.0),
        "gap_densities": lambda: wang2020.gap_densities(best, theta, tasks, 1.0),
        "meta_visitation": lambda: wang2020.meta_visitation(theta, tasks, 1.0),
        "theorem_3_5": lambda: wang2020.theorem_3_5(best, theta, tasks, 1.0, 1.0),
        "theorem_3_5, l1": lambda: wang2020.theorem_3_5(best, theta, tasks, 1.0, 1.0, form="l1"),
        "meta_features": lambda: wang2020.meta_features(omega, points, 0.1, risk),
        "theorem_4_4": lambda: wang2020.theorem_4_4(omega + 1, omega, points, 0.1, 1.0, risk=risk),
    }


def _few_shot() -> Calls:
    images = few_shot.ImageClasses(
        pixels=jnp.zeros((6, 4, 8, 8), jnp.uint8), counts=jnp.full(6, 4), groups=jnp.zeros(6, int), group_names=("a",)
    )
    design = few_shot.Design(ways=2, shots=1, queries=1)
    return {"episodes": lambda: few_shot.episodes(KEY, images, design, (2,))}


#: Public modules and the calls of their functions; a name may be followed by what is special about the call.
ROOMS: dict[str, tuple[ModuleType, Callable[[], Calls]]] = {
    "musavi2023": (musavi2023, _musavi2023),
    "nguyen2023": (nguyen2023, lambda: _nguyen2023() | _few_shot()),
    "toso2024": (toso2024, _toso2024),
    "wang2020": (wang2020, _wang2020),
}
