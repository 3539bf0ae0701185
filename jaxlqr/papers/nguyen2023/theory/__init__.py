"""Formulas of nguyen2023 as printed and as corrected: Theorem 5 and its lemmas, the derivative of Adam's step."""

from jaxlqr.papers.nguyen2023.theory.convergence import Bound as Bound
from jaxlqr.papers.nguyen2023.theory.convergence import StationarityBound as StationarityBound
from jaxlqr.papers.nguyen2023.theory.convergence import adapted_smoothness as adapted_smoothness
from jaxlqr.papers.nguyen2023.theory.convergence import cross_entropy as cross_entropy
from jaxlqr.papers.nguyen2023.theory.convergence import cross_entropy_gradient as cross_entropy_gradient
from jaxlqr.papers.nguyen2023.theory.convergence import cross_entropy_hessian as cross_entropy_hessian
from jaxlqr.papers.nguyen2023.theory.convergence import cross_entropy_lipschitz as cross_entropy_lipschitz
from jaxlqr.papers.nguyen2023.theory.convergence import gradient_variance as gradient_variance
from jaxlqr.papers.nguyen2023.theory.convergence import printed_cross_entropy_gradient as printed_cross_entropy_gradient
from jaxlqr.papers.nguyen2023.theory.convergence import printed_cross_entropy_hessian as printed_cross_entropy_hessian
from jaxlqr.papers.nguyen2023.theory.convergence import stationarity_floor as stationarity_floor
from jaxlqr.papers.nguyen2023.theory.convergence import theorem_5 as theorem_5
from jaxlqr.papers.nguyen2023.theory.convergence import weight_norm as weight_norm
from jaxlqr.papers.nguyen2023.theory.optimizer import adam_action_jacobian as adam_action_jacobian
