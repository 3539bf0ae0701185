"""Optimality gaps of meta-learning with one adaptation step: Theorems 3.5 and 4.4, as printed and as they hold."""

from jaxlqr.papers.wang2020.theory.ball import best_in_ball as best_in_ball
from jaxlqr.papers.wang2020.theory.neural import kernel_features as kernel_features
from jaxlqr.papers.wang2020.theory.neural import linearisation as linearisation
from jaxlqr.papers.wang2020.theory.neural import tangent_kernel as tangent_kernel
from jaxlqr.papers.wang2020.theory.reinforcement import C_0 as C_0
from jaxlqr.papers.wang2020.theory.reinforcement import GapBound as GapBound
from jaxlqr.papers.wang2020.theory.reinforcement import f_omega as f_omega
from jaxlqr.papers.wang2020.theory.reinforcement import gap_densities as gap_densities
from jaxlqr.papers.wang2020.theory.reinforcement import meta_visitation as meta_visitation
from jaxlqr.papers.wang2020.theory.reinforcement import theorem_3_5 as theorem_3_5
from jaxlqr.papers.wang2020.theory.supervised import meta_features as meta_features
from jaxlqr.papers.wang2020.theory.supervised import theorem_4_4 as theorem_4_4
