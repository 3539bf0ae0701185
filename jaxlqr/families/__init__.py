"""Where tasks come from."""

from jaxlqr.families.boeing import boeing as boeing
from jaxlqr.families.boeing import boeing_initial_gain as boeing_initial_gain
from jaxlqr.families.heterogeneity import perturb as perturb
