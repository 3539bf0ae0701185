"""Where tasks come from."""

from jaxlqr.families.boeing import boeing as boeing
from jaxlqr.families.boeing import boeing_initial_gain as boeing_initial_gain
from jaxlqr.families.common import check_common_dynamics as check_common_dynamics
from jaxlqr.families.common import combinations as combinations
from jaxlqr.families.common import common_dynamics as common_dynamics
from jaxlqr.families.common import scalar as scalar
from jaxlqr.families.heterogeneity import perturb as perturb
