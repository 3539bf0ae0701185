"""One small call of every public function of jaxlqr.feedback, for tests/eager_calls.py."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlqr import feedback

ONE = jnp.ones((1, 1))
PLANT = feedback.lqg_plant(1.1 * ONE, ONE, ONE, ONE, ONE, ONE, ONE, dt=1.0)
CONTROLLER = feedback.lqg(PLANT)
GAIN = jnp.array([[0.6]])
TWICE = feedback.stack_plants([PLANT, PLANT])
Calls = dict[str, Callable[[], Any]]


def feedback_calls() -> Calls:
    """By name, as in tests/eager_calls.py."""
    dynamic, fir, pid = feedback.dynamic(PLANT, 1), feedback.fir(PLANT, 2), feedback.pid(PLANT)
    noise = feedback.MultiplicativeNoise(0.1 * ONE[None], 0.1 * ONE[None])
    static, scheduled = feedback.static(PLANT), feedback.scheduled(TWICE, feedback.periodic_plant(TWICE))
    masked = feedback.structured(PLANT, mask=[[1.0]])
    return {
        "generalized_plant": lambda: feedback.generalized_plant(ONE, ONE, ONE, ONE, ONE),
        "lqg_plant": lambda: feedback.lqg_plant(ONE, ONE, ONE, ONE, ONE, ONE, ONE),
        "stack_plants": lambda: feedback.stack_plants([PLANT, PLANT]),
        "closed_loop": lambda: feedback.closed_loop(CONTROLLER, PLANT),
        "h2_cost": lambda: feedback.h2_cost(GAIN, PLANT),
        "h2_cost, dynamic": lambda: feedback.h2_cost(CONTROLLER, PLANT),
        "grad of h2_cost": lambda: jax.grad(feedback.h2_cost)(GAIN, PLANT),
        "hinf_cost": lambda: feedback.hinf_cost(GAIN, PLANT),
        "lqg": lambda: feedback.lqg(PLANT),
        "lqg_result": lambda: feedback.lqg_result(PLANT),
        "loop_margins": lambda: feedback.loop_margins(GAIN, PLANT),
        "multiplicative_cost": lambda: feedback.multiplicative_cost(GAIN, PLANT, noise),
        "periodic_plant": lambda: feedback.periodic_plant(TWICE),
        "finite_horizon_plant": lambda: feedback.finite_horizon_plant(TWICE, initial=ONE),
        "scheduled": lambda: scheduled(scheduled.initial(key=0)),
        "with_integral_action": lambda: feedback.with_integral_action(PLANT, ONE, weight=ONE),
        "with_reference": lambda: feedback.with_reference(PLANT, ONE, 0.5 * ONE, ONE, weight=ONE, noise=ONE),
        "synthesize": lambda: feedback.synthesize(PLANT, static, num_starts=2, max_steps=3, progress=False),
        "static": lambda: feedback.static(PLANT).initial(key=0),
        "structured": lambda: masked(masked.initial(key=0)),
        "dynamic": lambda: dynamic(dynamic.initial(key=0)),
        "fir": lambda: fir(fir.initial(key=0)),
        "pid": lambda: pid(pid.initial(key=0)),
        "observer_based": lambda: feedback.observer_based(PLANT).initial(key=0),
    }
