"""Optimal trajectories: linear-quadratic in one pass, nonlinear by iteration."""

from jaxlqr.core.status import SolveStatus
from jaxlqr.trajectory.ilqr import ilqr as ilqr
from jaxlqr.trajectory.result import IlqrResult as IlqrResult
from jaxlqr.trajectory.tvlqr import TVLQRSolution as TVLQRSolution
from jaxlqr.trajectory.tvlqr import tvlqr as tvlqr

# Programs outside this repository that report a run by the name of its status import this: the one second name.
IlqrStatus = SolveStatus
