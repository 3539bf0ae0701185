"""Learning across tasks, for any loss and any oracle."""

from jaxlqr.meta import landscape as landscape
from jaxlqr.meta import trajectory_weighting as trajectory_weighting
from jaxlqr.meta import weighting as weighting
from jaxlqr.meta.objective import adapt as adapt
from jaxlqr.meta.objective import maml_gradient as maml_gradient
from jaxlqr.meta.objective import maml_loss as maml_loss
