"""Differentiable matrix equations; this room knows nothing of control."""

from jaxlqr.matrix_equations.lyapunov import is_schur_stable as is_schur_stable
from jaxlqr.matrix_equations.lyapunov import solve_discrete_lyapunov as solve_discrete_lyapunov
from jaxlqr.matrix_equations.lyapunov import stable_discrete_lyapunov as stable_discrete_lyapunov
from jaxlqr.matrix_equations.riccati import lqr_gain as lqr_gain
from jaxlqr.matrix_equations.riccati import solve_discrete_are as solve_discrete_are
