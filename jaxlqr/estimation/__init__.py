"""Linear models inside a likelihood: models of rational expectations."""

from jaxlqr.estimation.linear_re import LinearRESolution as LinearRESolution
from jaxlqr.estimation.linear_re import LinearREStatus as LinearREStatus
from jaxlqr.estimation.linear_re import solve_linear_re as solve_linear_re
