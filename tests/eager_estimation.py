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
    return {
        "solve_linear_re": lambda: estimation.solve_linear_re(A, B, 1),
    }
