"""Small calls of the room estimation, and of the equations that it needs; see eager_calls.py."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxlqr import estimation, matrix_equations

Calls = dict[str, Callable[[], Any]]


def equation_calls() -> Calls:
    a, eye, other = jnp.array([[0.9, 0.1], [0.0, 0.5]]), jnp.eye(2), jnp.array([[-1.1, 0.1], [0.0, -1.5]])
    module = matrix_equations
    return {
        "solve_generalized_sylvester": lambda: module.solve_generalized_sylvester(a, eye, other, a, eye),
        "generalized_sylvester_result": lambda: module.generalized_sylvester_result(a, eye, other, a, eye),
        "solve_quadratic_matrix_equation": lambda: module.solve_quadratic_matrix_equation(a, -3 * eye, eye),
        "quadratic_matrix_equation_result": lambda: module.quadratic_matrix_equation_result(a, -3 * eye, eye),
    }


def estimation_calls() -> Calls:
    A, B = jnp.eye(2), jnp.array([[-0.5, 0.0], [-1.0, -2.0]])
    a, one, y, module = jnp.array([[0.5]]), jnp.eye(1), jnp.array([[1.0], [jnp.nan], [2.0]]), estimation
    system = (a, one, one, one)
    return {
        "stationary_covariance": lambda: module.stationary_covariance(a, one),
        "steady_state_kalman": lambda: module.steady_state_kalman(*system),
        "lqe": lambda: module.lqe(a, one, one, one, one),
        "log_likelihood": lambda: module.log_likelihood(y, *system),
        "log_likelihood in blocks": lambda: module.log_likelihood(jnp.ones((40, 1)), *system),
        "log_likelihood, diffuse": lambda: module.log_likelihood(y, *system, diffuse=True),
        "log_likelihood, parallel": lambda: module.log_likelihood(y, *system, method="parallel"),
        "kalman_filter": lambda: module.kalman_filter(y, *system),
        "smoother": lambda: module.smoother(y, *system, diffuse=True),
        "forecast": lambda: module.forecast(y, *system, 2),
        "solve_linear_re": lambda: estimation.solve_linear_re(A, B, 1),
    }
