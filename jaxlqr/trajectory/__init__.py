"""Optimal trajectories: linear-quadratic in one pass, nonlinear by iteration."""

from jaxlqr.trajectory.ilqr import ilqr as ilqr
from jaxlqr.trajectory.result import IlqrResult as IlqrResult
from jaxlqr.trajectory.result import IlqrStatus as IlqrStatus
from jaxlqr.trajectory.tvlqr import TVLQRSolution as TVLQRSolution
from jaxlqr.trajectory.tvlqr import tvlqr as tvlqr
