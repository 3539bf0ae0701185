"""One small call of every public function of jaxlqr.systems, for tests/eager_calls.py."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlqr import systems

SYSTEM = systems.ss([[0.0, 1.0], [-1.0, -0.5]], [[0.0], [1.0]], [[1.0, 0.0]])
TWICE = systems.ss([[-1.0]], [[1.0, 1.0]], [[1.0], [1.0]])


Calls = dict[str, Callable[[], Any]]


def systems_calls() -> Calls:
    """By name, as in tests/eager_calls.py."""
    return {
        "ss": lambda: systems.ss([[0.5]], [[1.0]]),
        "stack_systems": lambda: systems.stack_systems([SYSTEM, SYSTEM]),
        "to_control": lambda: (systems.to_control(SYSTEM), SYSTEM.A)[1],
        "sample": lambda: systems.sample(SYSTEM, 0.1),
        "sample, tustin": lambda: systems.sample(SYSTEM, 0.1, method="tustin"),
        "sample_noise": lambda: systems.sample_noise(SYSTEM.A, jnp.eye(2), 0.1),
        "sample_cost": lambda: systems.sample_cost(SYSTEM.A, SYSTEM.B, jnp.eye(2), jnp.eye(1), None, 0.1),
        "series": lambda: systems.series(SYSTEM, [[2.0]]),
        "parallel": lambda: systems.parallel(SYSTEM, [[2.0]]),
        "append": lambda: systems.append(SYSTEM, [[2.0]]),
        "feedback": lambda: systems.feedback(SYSTEM),
        "lft": lambda: systems.lft(TWICE, [[2.0]]),
        "poles": lambda: systems.poles(SYSTEM),
        "zeros": lambda: systems.zeros(SYSTEM),
        "dc_gain": lambda: systems.dc_gain(SYSTEM),
        "damping": lambda: systems.damping(SYSTEM),
        "frequency_response": lambda: systems.frequency_response(SYSTEM, jnp.ones(3)),
        "step_response": lambda: systems.step_response(SYSTEM, 3, dt=0.1),
        "impulse_response": lambda: systems.impulse_response(SYSTEM, 3, dt=0.1),
        "simulate": lambda: systems.simulate(SYSTEM, jnp.ones((3, 1)), dt=0.1),
        "zero_order_hold": lambda: systems.zero_order_hold(SYSTEM.A, SYSTEM.B, 0.1),
    }


def norms_calls() -> Calls:
    """Of Gramians, norms, margins and reduction."""
    return {
        "controllability_gramian": lambda: systems.controllability_gramian(SYSTEM),
        "observability_gramian": lambda: systems.observability_gramian(SYSTEM),
        "h2_norm": lambda: systems.h2_norm(SYSTEM),
        "grad of h2_norm": lambda: jax.grad(systems.h2_norm)(SYSTEM),
        "hinf_norm": lambda: systems.hinf_norm(SYSTEM),
        "grad of hinf_norm": lambda: jax.grad(systems.hinf_norm)(SYSTEM),
        "hinf_peak": lambda: systems.hinf_peak(SYSTEM),
        "stability_margins": lambda: systems.stability_margins(SYSTEM),
        "hankel_singular_values": lambda: systems.hankel_singular_values(SYSTEM),
        "hankel_nuclear_norm": lambda: systems.hankel_nuclear_norm(SYSTEM),
        "grad of hankel_nuclear_norm": lambda: jax.grad(systems.hankel_nuclear_norm)(SYSTEM),
        "hankel_tail": lambda: systems.hankel_tail(SYSTEM, 1),
        "hankel_log_det": lambda: systems.hankel_log_det(SYSTEM, 0.1),
        "truncation_bound": lambda: systems.truncation_bound(SYSTEM, 1),
        "balanced_truncation": lambda: systems.balanced_truncation(SYSTEM, 1),
        "balanced_residualization": lambda: systems.balanced_residualization(SYSTEM, 1),
    }
