"""Differentiable matrix equations; this room knows nothing of control."""

from jaxlqr.matrix_equations.gains import Regulator as Regulator
from jaxlqr.matrix_equations.gains import continuous_lqr as continuous_lqr
from jaxlqr.matrix_equations.gains import discrete_lqr as discrete_lqr
from jaxlqr.matrix_equations.gramians import gramian_trace as gramian_trace
from jaxlqr.matrix_equations.lyapunov import continuous_lyapunov_result as continuous_lyapunov_result
from jaxlqr.matrix_equations.lyapunov import discrete_lyapunov_result as discrete_lyapunov_result
from jaxlqr.matrix_equations.lyapunov import is_schur_stable as is_schur_stable
from jaxlqr.matrix_equations.lyapunov import solve_continuous_lyapunov as solve_continuous_lyapunov
from jaxlqr.matrix_equations.lyapunov import solve_discrete_lyapunov as solve_discrete_lyapunov
from jaxlqr.matrix_equations.lyapunov import stable_discrete_lyapunov as stable_discrete_lyapunov
from jaxlqr.matrix_equations.results import EquationResult as EquationResult
from jaxlqr.matrix_equations.results import SolveStatus as SolveStatus
from jaxlqr.matrix_equations.riccati import continuous_are_result as continuous_are_result
from jaxlqr.matrix_equations.riccati import discrete_are_result as discrete_are_result
from jaxlqr.matrix_equations.riccati import solve_continuous_are as solve_continuous_are
from jaxlqr.matrix_equations.riccati import solve_discrete_are as solve_discrete_are
from jaxlqr.matrix_equations.sylvester import solve_sylvester as solve_sylvester
from jaxlqr.matrix_equations.sylvester import sylvester_result as sylvester_result
