"""Compiled training loops with a safeguard, a history and a progress bar."""

from jaxlqr.training.automatic import automatic_steps as automatic_steps
from jaxlqr.training.ball import within_ball as within_ball
from jaxlqr.training.checkpoint import CheckpointError as CheckpointError
from jaxlqr.training.checkpoint import Checkpoints as Checkpoints
from jaxlqr.training.learners import meta_train as meta_train
from jaxlqr.training.learners import policy_gradient as policy_gradient
from jaxlqr.training.metrics import Recording as Recording
from jaxlqr.training.metrics import no_metrics as no_metrics
from jaxlqr.training.metrics import record_for as record_for
from jaxlqr.training.options import Guard as Guard
from jaxlqr.training.options import Limits as Limits
from jaxlqr.training.options import Output as Output
from jaxlqr.training.result import TrainingResult as TrainingResult
from jaxlqr.training.steps import BacktrackingSteps as BacktrackingSteps
from jaxlqr.training.steps import CheckedStepRule as CheckedStepRule
from jaxlqr.training.steps import FixedSteps as FixedSteps
from jaxlqr.training.steps import ScheduledSteps as ScheduledSteps
from jaxlqr.training.steps import StepRule as StepRule
