"""Choices of ``jaxlqr landscape``, checked before any work."""

import math
from dataclasses import dataclass

from jaxlqr.core.limits import check_count, check_seed

PLANES = ("curvature", "optima")


@dataclass(frozen=True, kw_only=True)
class LandscapeSettings:
    """Choices of :func:`jaxlqr.commands.landscape.landscape`; the options of the command have the same names.

    Attributes:
        inner_step: adaptation step size; None takes 0.1 / L, with L the largest Hessian eigenvalue over tasks at the
            first gain.
        plane: ``"curvature"``, through the best point found along the leading eigenvectors of the meta-Hessian there;
            ``"optima"``, through it and the optimal gains of two tasks. None takes the former.
        resolution: points along each side of the map; for a scalar gain, 20 times as many along the curve.
        starts: of the search for stationary points.
        steps: of each optimiser.
        frames: of an animation over the inner step, geometric from a tenth to ten times ``inner_step``; 0 for none.
        seed: of the starts.

    >>> LandscapeSettings(plane="optimal")
    Traceback (most recent call last):
    ValueError: plane must be "curvature" or "optima", got 'optimal'.
    """

    inner_step: float | None = None
    plane: str | None = None
    resolution: int = 160
    starts: int = 256
    steps: int = 200
    frames: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.inner_step is not None and not (self.inner_step > 0 and math.isfinite(self.inner_step)):
            raise ValueError(f"the inner step size must be positive and finite, got {self.inner_step}.")
        if self.plane is not None and self.plane not in PLANES:
            raise ValueError(f'plane must be "curvature" or "optima", got {self.plane!r}.')
        # The most of each keeps arrays and figures below a gigabyte, and the work below some hours.
        for what, value, least, most in (
            ("resolution", self.resolution, 8, 2048),
            ("number of starts", self.starts, 1, 100_000),
            ("number of steps", self.steps, 1, 1_000_000),
            ("number of frames", self.frames, 0, 1000),
        ):
            check_count(value, f"the {what}", least, most)
        check_seed(self.seed)
