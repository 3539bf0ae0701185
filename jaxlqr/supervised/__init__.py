"""Supervised tasks on finite data: linear and two-layer predictors, their risks and functional derivatives."""

from jaxlqr.supervised.network import TwoLayer as TwoLayer
from jaxlqr.supervised.network import two_layer as two_layer
from jaxlqr.supervised.network import two_layer_network as two_layer_network
from jaxlqr.supervised.risks import Risk as Risk
from jaxlqr.supervised.risks import frechet_derivative as frechet_derivative
from jaxlqr.supervised.risks import linear as linear
from jaxlqr.supervised.task import SupervisedTask as SupervisedTask
from jaxlqr.supervised.task import make_supervised_tasks as make_supervised_tasks
