"""Tabular Markov decision processes: exact values, visitation, the proximal step, and the gradient through it."""

from jaxlqr.mdp.energy import linear_energy as linear_energy
from jaxlqr.mdp.evaluation import Evaluation as Evaluation
from jaxlqr.mdp.evaluation import evaluate as evaluate
from jaxlqr.mdp.evaluation import visitation as visitation
from jaxlqr.mdp.evaluation import visitation_from as visitation_from
from jaxlqr.mdp.gradient import meta_gradient as meta_gradient
from jaxlqr.mdp.model import MDP as MDP
from jaxlqr.mdp.model import MDPTask as MDPTask
from jaxlqr.mdp.model import make_mdp as make_mdp
from jaxlqr.mdp.model import make_tasks as make_tasks
from jaxlqr.mdp.model import stack_mdps as stack_mdps
from jaxlqr.mdp.optimal import optimal_policy as optimal_policy
from jaxlqr.mdp.policy import policy as policy
from jaxlqr.mdp.policy import proximal_step as proximal_step
from jaxlqr.mdp.returns import ProximalLoss as ProximalLoss
from jaxlqr.mdp.returns import mdp_loss as mdp_loss
from jaxlqr.mdp.returns import mdp_return as mdp_return
from jaxlqr.mdp.sampling import SampledProximalLoss as SampledProximalLoss
from jaxlqr.mdp.simulation import ExactValues as ExactValues
from jaxlqr.mdp.simulation import MonteCarloValues as MonteCarloValues
from jaxlqr.mdp.simulation import TemporalDifferenceValues as TemporalDifferenceValues
from jaxlqr.mdp.simulation import simulate as simulate
