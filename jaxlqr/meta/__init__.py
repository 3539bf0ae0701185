"""Learning across tasks, for any loss and any oracle."""

from jaxlqr.meta.feasible import FeasibleLoss as FeasibleLoss
from jaxlqr.meta.feasible import mean_over_feasible as mean_over_feasible
from jaxlqr.meta.maml import adapt as adapt
from jaxlqr.meta.maml import maml_gradient as maml_gradient
from jaxlqr.meta.maml import maml_loss as maml_loss
from jaxlqr.meta.objective import Maml as Maml
from jaxlqr.meta.objective import Mean as Mean
from jaxlqr.meta.objective import Objective as Objective

_LAZY = ("landscape", "trajectory_weighting", "weighting")


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'jaxlqr.meta' has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"jaxlqr.meta.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
