"""The landscape of the meta-objective: its values, stationary points, and certificates of global optimality."""

from jaxlqr.meta.landscape.certificate import Certificate as Certificate
from jaxlqr.meta.landscape.certificate import certify as certify
from jaxlqr.meta.landscape.objective import evaluate as evaluate
from jaxlqr.meta.landscape.stationary import Kind as Kind
from jaxlqr.meta.landscape.stationary import StationaryPoints as StationaryPoints
from jaxlqr.meta.landscape.stationary import classify as classify
from jaxlqr.meta.landscape.stationary import excess as excess
from jaxlqr.meta.landscape.stationary import is_epsilon_global as is_epsilon_global
from jaxlqr.meta.landscape.stationary import stationary_points as stationary_points
