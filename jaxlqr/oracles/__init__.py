"""Oracles compute derivatives by automatic differentiation, or estimate them from cost queries alone."""

from jaxlqr.oracles.exact import ExactOracle as ExactOracle
from jaxlqr.oracles.protocol import Expansion as Expansion
from jaxlqr.oracles.protocol import Oracle as Oracle
from jaxlqr.oracles.protocol import StochasticLoss as StochasticLoss
from jaxlqr.oracles.zeroth_order import ZerothOrderOracle as ZerothOrderOracle
