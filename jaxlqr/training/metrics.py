"""Metrics that training records."""

from jax import Array

from jaxlqr.oracles.protocol import PyTree


def no_metrics(params: PyTree, task: PyTree) -> dict[str, Array]:
    """As ``metrics`` of :func:`jaxlqr.meta_train`: record the loss alone, not the metrics of the task's own type."""
    return {}
