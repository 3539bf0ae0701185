"""Supervised tasks on finite data: linear and two-layer predictors, their risks and functional derivatives; few-shot
episodes of images, and the losses of MAML and prototypical networks on them."""

from jaxlqr.supervised.conv_network import ConvNetwork as ConvNetwork
from jaxlqr.supervised.few_shot import Design as Design
from jaxlqr.supervised.few_shot import Episode as Episode
from jaxlqr.supervised.few_shot import ImageClasses as ImageClasses
from jaxlqr.supervised.few_shot import PrototypicalRisk as PrototypicalRisk
from jaxlqr.supervised.few_shot import QueryRisk as QueryRisk
from jaxlqr.supervised.few_shot import SupportRisk as SupportRisk
from jaxlqr.supervised.few_shot import episodes as episodes
from jaxlqr.supervised.network import TwoLayer as TwoLayer
from jaxlqr.supervised.network import two_layer as two_layer
from jaxlqr.supervised.network import two_layer_network as two_layer_network
from jaxlqr.supervised.risks import Risk as Risk
from jaxlqr.supervised.risks import frechet_derivative as frechet_derivative
from jaxlqr.supervised.risks import linear as linear
from jaxlqr.supervised.task import SupervisedTask as SupervisedTask
from jaxlqr.supervised.task import make_supervised_tasks as make_supervised_tasks
