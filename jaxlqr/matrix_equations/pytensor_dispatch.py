"""PyTensor's Lyapunov, Sylvester and Riccati operations, computed by the solvers of this room in its JAX mode."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.optional import optional
from jaxlqr.matrix_equations.lyapunov import solve_discrete_lyapunov
from jaxlqr.matrix_equations.riccati import solve_discrete_are
from jaxlqr.matrix_equations.sylvester import solve_sylvester

_PURPOSE = "register_in_pytensor"


def register_in_pytensor() -> None:
    r"""None. After this call PyTensor's JAX mode computes its matrix equations by this package.

    The functions of ``pytensor.tensor.linalg`` and what computes them:

    - ``solve_discrete_lyapunov``, :math:`A X A^H - X + Q = 0`: :func:`solve_discrete_lyapunov`;
    - ``solve_sylvester``, :math:`A X + X B = Q`, and ``solve_continuous_lyapunov``: :func:`solve_sylvester`;
    - ``solve_discrete_are``: :func:`solve_discrete_are`.

    Without this call PyTensor 3.0 reduces the first two to a Schur form by LAPACK, and its JAX mode has no Riccati
    equation. PyTensor keeps its own formulas for gradients, which solve the same equations. Matrices are [n, n],
    batches have leading axes, and a failure is NaN. The call concerns functions that this process compiles later with
    ``mode="JAX"``. A second call changes nothing.

    ``pytensor.wrap_jax`` makes an operation with gradients of any other function of this package.

    Raises:
        MissingExtraError: if PyTensor is not installed.

    Source: Kao, Hennequin, arXiv 2011.11430 (2020), PyTensor's gradients.
    """
    register = optional("pytensor.link.jax.dispatch.basic", "pytensor", _PURPOSE).jax_funcify.register
    operations = optional("pytensor.tensor.linalg.solvers.linear_control", "pytensor", _PURPOSE)
    over_leading_axes = jnp.vectorize(solve_discrete_lyapunov, signature="(n,n),(n,n)->(n,n)")
    register(operations.SolveBilinearDiscreteLyapunov, _computed_by(over_leading_axes))
    # PyTensor itself maps these two over leading axes.
    register(operations.SolveSylvester, _computed_by(solve_sylvester))
    register(operations.SolveDiscreteARE, _computed_by(solve_discrete_are))


def _computed_by(solver: Callable[..., Array]) -> Callable[..., Callable[..., Array]]:
    """What PyTensor calls with an operation, for the function that computes it."""

    def dispatch(operation: Any, **_: Any) -> Callable[..., Array]:
        return solver

    return dispatch
