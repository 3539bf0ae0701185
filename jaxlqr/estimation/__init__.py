"""Linear Gaussian models inside a likelihood: stationary covariances, Kalman filters, models of expectations."""

from jaxlqr.estimation.likelihood import log_likelihood as log_likelihood
from jaxlqr.estimation.linear_re import LinearRESolution as LinearRESolution
from jaxlqr.estimation.linear_re import solve_linear_re as solve_linear_re
from jaxlqr.estimation.results import FilterResult as FilterResult
from jaxlqr.estimation.results import Forecast as Forecast
from jaxlqr.estimation.results import SmootherResult as SmootherResult
from jaxlqr.estimation.smoothing import forecast as forecast
from jaxlqr.estimation.smoothing import kalman_filter as kalman_filter
from jaxlqr.estimation.smoothing import smoother as smoother
from jaxlqr.estimation.stationary import Estimator as Estimator
from jaxlqr.estimation.stationary import SteadyStateKalman as SteadyStateKalman
from jaxlqr.estimation.stationary import lqe as lqe
from jaxlqr.estimation.stationary import stationary_covariance as stationary_covariance
from jaxlqr.estimation.stationary import steady_state_kalman as steady_state_kalman
