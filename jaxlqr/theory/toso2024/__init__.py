"""The constants, bounds and sample sizes of toso2024, as printed and as corrected, and how tight they are."""

from jaxlqr.theory.toso2024.attack import attack as attack
from jaxlqr.theory.toso2024.attack import random_margins as random_margins
from jaxlqr.theory.toso2024.constants import Constants as Constants
from jaxlqr.theory.toso2024.constants import constants as constants
from jaxlqr.theory.toso2024.guarantees import OptimalityBounds as OptimalityBounds
from jaxlqr.theory.toso2024.guarantees import StepSizeLimits as StepSizeLimits
from jaxlqr.theory.toso2024.guarantees import iterations as iterations
from jaxlqr.theory.toso2024.guarantees import num_samples as num_samples
from jaxlqr.theory.toso2024.guarantees import optimality_bounds as optimality_bounds
from jaxlqr.theory.toso2024.guarantees import smoothing_radius as smoothing_radius
from jaxlqr.theory.toso2024.guarantees import step_size_limits as step_size_limits
from jaxlqr.theory.toso2024.heterogeneity import gradient_heterogeneity_bound as gradient_heterogeneity_bound
from jaxlqr.theory.toso2024.heterogeneity import heterogeneity as heterogeneity
from jaxlqr.theory.toso2024.margins import margins as margins
from jaxlqr.theory.toso2024.quantities import Quantities as Quantities
from jaxlqr.theory.toso2024.quantities import quantities as quantities
from jaxlqr.theory.toso2024.rule import CertifiedSteps as CertifiedSteps
from jaxlqr.theory.toso2024.rule import promises as promises
from jaxlqr.theory.toso2024.sublevel import sample_sublevel as sample_sublevel
from jaxlqr.theory.toso2024.sublevel import sublevel_constants as sublevel_constants
