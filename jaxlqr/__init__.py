"""Differentiable control on JAX: exact and zeroth-order derivatives of LQR costs, and meta-learning on them."""

__version__ = "0.1.0"

from jaxlqr import families as families
from jaxlqr import systems as systems
from jaxlqr.core import environment as environment
from jaxlqr.core.status import SolveStatus as SolveStatus
from jaxlqr.lqr import LQRTask as LQRTask
from jaxlqr.lqr import RolloutCost as RolloutCost
from jaxlqr.lqr import closed_form as closed_form
from jaxlqr.lqr import cost as cost
from jaxlqr.lqr import hessian_vector_product as hessian_vector_product
from jaxlqr.lqr import is_stabilizing as is_stabilizing
from jaxlqr.lqr import make_task as make_task
from jaxlqr.lqr import optimal_cost as optimal_cost
from jaxlqr.lqr import optimal_gain as optimal_gain
from jaxlqr.lqr import spectral_radius as spectral_radius
from jaxlqr.lqr import stack_tasks as stack_tasks
from jaxlqr.matrix_equations import EquationResult as EquationResult
from jaxlqr.matrix_equations import continuous_are_result as continuous_are_result
from jaxlqr.matrix_equations import continuous_lqr as continuous_lqr
from jaxlqr.matrix_equations import continuous_lyapunov_result as continuous_lyapunov_result
from jaxlqr.matrix_equations import discrete_are_result as discrete_are_result
from jaxlqr.matrix_equations import discrete_lqr as discrete_lqr
from jaxlqr.matrix_equations import discrete_lyapunov_result as discrete_lyapunov_result
from jaxlqr.matrix_equations import solve_continuous_are as solve_continuous_are
from jaxlqr.matrix_equations import solve_continuous_lyapunov as solve_continuous_lyapunov
from jaxlqr.matrix_equations import solve_discrete_are as solve_discrete_are
from jaxlqr.matrix_equations import solve_discrete_lyapunov as solve_discrete_lyapunov
from jaxlqr.matrix_equations import solve_sylvester as solve_sylvester
from jaxlqr.matrix_equations import sylvester_result as sylvester_result
from jaxlqr.meta import FeasibleLoss as FeasibleLoss
from jaxlqr.meta import Maml as Maml
from jaxlqr.meta import Mean as Mean
from jaxlqr.meta import adapt as adapt
from jaxlqr.meta import maml_gradient as maml_gradient
from jaxlqr.meta import maml_loss as maml_loss
from jaxlqr.meta import mean_over_feasible as mean_over_feasible
from jaxlqr.oracles import ExactOracle as ExactOracle
from jaxlqr.oracles import ZerothOrderOracle as ZerothOrderOracle
from jaxlqr.systems import zero_order_hold as zero_order_hold
from jaxlqr.training import Guard as Guard
from jaxlqr.training import Limits as Limits
from jaxlqr.training import Output as Output
from jaxlqr.training import TrainingResult as TrainingResult
from jaxlqr.training import meta_train as meta_train
from jaxlqr.training import policy_gradient as policy_gradient

# Rooms that are imported when they are used: they would double the time to import this package.
_LAZY = ("estimation", "feedback", "plots", "trajectory")


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'jaxlqr' has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"jaxlqr.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
