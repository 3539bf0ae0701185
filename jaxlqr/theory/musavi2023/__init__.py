"""Step sizes that keep every task stable, and the smoothness of the cost: musavi2023, Lemmas 1 to 4, Condition 1."""

from jaxlqr.theory.musavi2023.limits import Condition1 as Condition1
from jaxlqr.theory.musavi2023.limits import condition_1 as condition_1
from jaxlqr.theory.musavi2023.limits import delta as delta
from jaxlqr.theory.musavi2023.limits import delta_bar as delta_bar
from jaxlqr.theory.musavi2023.limits import inner_step_limit as inner_step_limit
from jaxlqr.theory.musavi2023.limits import iteration_bound as iteration_bound
from jaxlqr.theory.musavi2023.limits import outer_step_limit as outer_step_limit
from jaxlqr.theory.musavi2023.rule import CertifiedSteps as CertifiedSteps
from jaxlqr.theory.musavi2023.smoothness import Smoothness as Smoothness
from jaxlqr.theory.musavi2023.smoothness import meta_smoothness as meta_smoothness
from jaxlqr.theory.musavi2023.smoothness import meta_smoothness_radius as meta_smoothness_radius
from jaxlqr.theory.musavi2023.smoothness import smoothness as smoothness
