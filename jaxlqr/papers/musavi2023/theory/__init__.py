"""Step sizes that keep every task stable, and the smoothness of the cost: musavi2023, Lemmas 1 to 4, Condition 1."""

from jaxlqr.papers.musavi2023.theory.limits import Condition1 as Condition1
from jaxlqr.papers.musavi2023.theory.limits import condition_1 as condition_1
from jaxlqr.papers.musavi2023.theory.limits import delta as delta
from jaxlqr.papers.musavi2023.theory.limits import delta_bar as delta_bar
from jaxlqr.papers.musavi2023.theory.limits import inner_step_limit as inner_step_limit
from jaxlqr.papers.musavi2023.theory.limits import iteration_bound as iteration_bound
from jaxlqr.papers.musavi2023.theory.limits import outer_step_limit as outer_step_limit
from jaxlqr.papers.musavi2023.theory.rule import CertifiedSteps as CertifiedSteps
from jaxlqr.papers.musavi2023.theory.smoothness import Smoothness as Smoothness
from jaxlqr.papers.musavi2023.theory.smoothness import meta_smoothness as meta_smoothness
from jaxlqr.papers.musavi2023.theory.smoothness import meta_smoothness_radius as meta_smoothness_radius
from jaxlqr.papers.musavi2023.theory.smoothness import smoothness as smoothness
