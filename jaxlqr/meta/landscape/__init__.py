"""The landscape of the meta-objective: its values, stationary points, and certificates of global optimality."""

from jaxlqr.meta.landscape.certificate import Certificate as Certificate
from jaxlqr.meta.landscape.certificate import certify as certify
from jaxlqr.meta.landscape.multistart import multistart as multistart
from jaxlqr.meta.landscape.objective import evaluate as evaluate
from jaxlqr.meta.landscape.plane import Plane as Plane
from jaxlqr.meta.landscape.plane import extent as extent
from jaxlqr.meta.landscape.plane import plane_of_curvature as plane_of_curvature
from jaxlqr.meta.landscape.plane import plane_through as plane_through
from jaxlqr.meta.landscape.points import Kind as Kind
from jaxlqr.meta.landscape.points import StationaryPoints as StationaryPoints
from jaxlqr.meta.landscape.points import classify as classify
from jaxlqr.meta.landscape.points import excess as excess
from jaxlqr.meta.landscape.points import is_epsilon_global as is_epsilon_global
from jaxlqr.meta.landscape.stationary import stationary_points as stationary_points
