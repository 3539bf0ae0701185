"""One linear-quadratic task: its cost, derivatives, optimum and rollouts. Gains act as u = -K x."""

from jaxlqr.lqr import closed_form as closed_form
from jaxlqr.lqr.continuous import continuous_cost as continuous_cost
from jaxlqr.lqr.continuous import spectral_abscissa as spectral_abscissa
from jaxlqr.lqr.cost import cost as cost
from jaxlqr.lqr.cost import hessian_vector_product as hessian_vector_product
from jaxlqr.lqr.cost import is_stabilizing as is_stabilizing
from jaxlqr.lqr.cost import spectral_radius as spectral_radius
from jaxlqr.lqr.optimal import optimal_cost as optimal_cost
from jaxlqr.lqr.optimal import optimal_gain as optimal_gain
from jaxlqr.lqr.rollout import RolloutCost as RolloutCost
from jaxlqr.lqr.sampled import SampledTask as SampledTask
from jaxlqr.lqr.sampled import continuous_task as continuous_task
from jaxlqr.lqr.task import LQRTask as LQRTask
from jaxlqr.lqr.task import make_task as make_task
from jaxlqr.lqr.task import stack_tasks as stack_tasks
