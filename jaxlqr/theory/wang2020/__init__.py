"""Optimality gaps of meta-learning with one adaptation step: Theorems 3.5 and 4.4, as printed and as they hold."""

from jaxlqr.theory.wang2020.ball import best_in_ball as best_in_ball
from jaxlqr.theory.wang2020.neural import kernel_features as kernel_features
from jaxlqr.theory.wang2020.neural import linearisation as linearisation
from jaxlqr.theory.wang2020.neural import tangent_kernel as tangent_kernel
from jaxlqr.theory.wang2020.reinforcement import C_0 as C_0
from jaxlqr.theory.wang2020.reinforcement import GapBound as GapBound
from jaxlqr.theory.wang2020.reinforcement import f_omega as f_omega
from jaxlqr.theory.wang2020.reinforcement import gap_densities as gap_densities
from jaxlqr.theory.wang2020.reinforcement import meta_visitation as meta_visitation
from jaxlqr.theory.wang2020.reinforcement import theorem_3_5 as theorem_3_5
from jaxlqr.theory.wang2020.supervised import meta_features as meta_features
from jaxlqr.theory.wang2020.supervised import theorem_4_4 as theorem_4_4
