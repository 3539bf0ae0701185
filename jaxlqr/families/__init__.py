"""Where tasks come from."""

from jaxlqr.families.boeing import boeing as boeing
from jaxlqr.families.boeing import boeing_initial_gain as boeing_initial_gain
from jaxlqr.families.common import check_common_dynamics as check_common_dynamics
from jaxlqr.families.common import combinations as combinations
from jaxlqr.families.common import common_dynamics as common_dynamics
from jaxlqr.families.common import scalar as scalar
from jaxlqr.families.files import LoadedTasks as LoadedTasks
from jaxlqr.families.files import load_gain as load_gain
from jaxlqr.families.files import load_tasks as load_tasks
from jaxlqr.families.gridworld import from_gymnasium as from_gymnasium
from jaxlqr.families.gridworld import gridworld_goals as gridworld_goals
from jaxlqr.families.gridworld import text_map as text_map
from jaxlqr.families.heterogeneity import perturb as perturb
from jaxlqr.families.recording import LQR_RECORDING as LQR_RECORDING
from jaxlqr.families.regression import logistic_nonconvex as logistic_nonconvex
from jaxlqr.families.regression import sinusoid as sinusoid
from jaxlqr.families.system_files import load_system as load_system
from jaxlqr.families.system_files import save_system as save_system
from jaxlqr.families.tabular import bandit as bandit
from jaxlqr.families.tabular import garnet as garnet
from jaxlqr.families.tabular import riverswim as riverswim
from jaxlqr.families.tabular import two_ended_chain as two_ended_chain
