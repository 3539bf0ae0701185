"""Linear systems that can be differentiated: state space, sampling, connections, responses."""

from jaxlqr.systems._connections import append as append
from jaxlqr.systems._connections import feedback as feedback
from jaxlqr.systems._connections import lft as lft
from jaxlqr.systems._connections import parallel as parallel
from jaxlqr.systems._connections import series as series
from jaxlqr.systems._gramians import controllability_gramian as controllability_gramian
from jaxlqr.systems._gramians import h2_norm as h2_norm
from jaxlqr.systems._gramians import observability_gramian as observability_gramian
from jaxlqr.systems._sampling import SampledCost as SampledCost
from jaxlqr.systems._sampling import sample as sample
from jaxlqr.systems._sampling import sample_cost as sample_cost
from jaxlqr.systems._sampling import sample_noise as sample_noise
from jaxlqr.systems._sampling import zero_order_hold as zero_order_hold
from jaxlqr.systems._state_space import StateSpace as StateSpace
from jaxlqr.systems._state_space import ss as ss
from jaxlqr.systems._state_space import stack_systems as stack_systems
from jaxlqr.systems._state_space import to_control as to_control
from jaxlqr.systems._status import SystemStatus as SystemStatus
