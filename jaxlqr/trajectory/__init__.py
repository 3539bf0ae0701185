"""Optimal trajectories: linear-quadratic in one pass, nonlinear by iteration."""

from jaxlqr.trajectory.tvlqr import TVLQRSolution as TVLQRSolution
from jaxlqr.trajectory.tvlqr import tvlqr as tvlqr
